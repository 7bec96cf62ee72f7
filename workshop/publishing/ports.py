"""Free ports in a replay, in place of those that a lesson shows."""

from __future__ import annotations

import itertools
import random
import re
import socket

from workshop.course import Course
from workshop.running import HOST, own_slice, port_is_free


class Ports:
    """Free ports in place of those that a lesson shows.

    Each has as many digits as the one it stands for, so that widths and lengths of
    what is printed stay the same.
    """

    def __init__(self, course: Course, commands: str) -> None:
        self._course = course
        shown = {int(port) for port in _SHOWN_PORT.findall(commands)}
        for script in _SCRIPT.findall(commands):
            if port := self.default(script):
                shown.add(port)
        self._shown = sorted(shown)
        self._free: dict[int, int] = {}
        for port in sorted(shown):
            if port not in self._free:
                # Programs suggest the next port when theirs is in use: it goes along.
                first = _free_pair(len(str(port)))
                self._free |= {port: first, port + 1: first + 1}

    @property
    def taken(self) -> list[int]:
        """The ports that the lesson shows and that are not free now."""
        return [port for port in self._shown if not port_is_free(port)]

    def default(self, script: str) -> int | None:
        """The port that a script takes when it is not told one; None if it takes none."""
        room, slug, name = script.split("/", 2)
        path = self._course.root / ("scripts" if room == "work" else room) / slug / name
        if not path.is_file():
            return None
        text = path.read_text(encoding="utf-8")
        if (own := re.search(r"\"--port\"[^)]*?\bdefault=(\d+)", text)) is not None:
            return int(own[1])
        return next(
            (each.ports.get(name) for each in self._course.lessons if each.slug == slug), None
        )

    def typed(self, command: str) -> tuple[str, int | None]:
        """The command with free ports, and the port of the server it starts, if any."""
        server: int | None = None

        def with_port(match: re.Match[str]) -> str:
            nonlocal server
            if (port := self.default(match[0])) is None:
                return match[0]
            server = self._free[port]
            return f"{match[0]} --port {server}"

        def free(match: re.Match[str]) -> str:
            return match[0][: -len(match[1])] + str(self._free[int(match[1])])

        if (named := re.search(r"--port[ =](\d+)", command)) is not None:
            if _SCRIPT.search(command) or _UVICORN.search(command):
                server = self._free[int(named[1])]
            return _SHOWN_PORT.sub(free, command), server
        command = _SHOWN_PORT.sub(free, command)
        return _SCRIPT.sub(with_port, command, count=1), server

    def shown(self, line: str) -> str:
        """A line of output with the ports that the lesson shows."""
        back = {str(free): str(port) for port, free in self._free.items()}
        return re.sub(r"(?<!\d)\d{4,5}(?!\d)", lambda match: back.get(match[0], match[0]), line)


_SHOWN_PORT = re.compile(
    r"(?:(?:127\.0\.0\.1|localhost|\[::1\]):|--port[ =]|\bPORT=|-p )(\d{4,5})(?!\d)"
)
_UVICORN = re.compile(r"\buvicorn \w+:\w+")
_SCRIPT = re.compile(r"(?:scripts|solutions|work)/\d\d_\w+/(?:\w+/)*\w+\.py")


# As in `running.free_port`: each process has a slice of its own, in pairs of ports.
_PAIRS = 60
_next_pair = itertools.count(random.randrange(_PAIRS))


def _free_pair(digits: int) -> int:
    """Two free ports side by side, of that many digits; the lower one."""
    while True:
        # 3500 to 9499, or 13500 to 19499.
        first = (3_500 if digits == 4 else 13_500) + own_slice() * _PAIRS * 2
        port = first + next(_next_pair) % _PAIRS * 2
        try:
            for each in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind((HOST, each))
        except OSError:
            continue
        return port
