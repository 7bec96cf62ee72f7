"""The program under check as a child process."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workshop.background_reader import BackgroundReader
from workshop.checks.lesson_04 import waits
from workshop.checks.lesson_04.messages import Json, Line, as_line, json_object, ping
from workshop.failed import Failed


def environment() -> dict[str, str]:
    """As an MCP client would start it: with PYTHONUNBUFFERED a missing flush would hide."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


class Child:
    """The program under check as a child process, and every byte on its pipes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self._out = bytearray()
        self._log = bytearray()
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self._reader = BackgroundReader(self._read(), self._keep)

    def _read(self) -> Iterator[tuple[bytearray, bytes]]:
        """What comes on either output, and where to keep it, until both have ended."""
        assert self.process.stdout is not None and self.process.stderr is not None
        kept = {
            self.process.stdout.fileno(): self._out,
            self.process.stderr.fileno(): self._log,
        }
        while kept:
            for fileno in select.select(kept, [], [])[0]:
                if piece := os.read(fileno, 65_536):
                    yield kept[fileno], piece
                else:
                    del kept[fileno]

    def _keep(self, came: tuple[bytearray, bytes]) -> None:
        kept, piece = came
        kept += piece

    @property
    def out(self) -> bytes:
        """What has come on stdout so far."""
        with self._reader.changed:
            return bytes(self._out)

    @property
    def log(self) -> str:
        """The end of stderr. Of a traceback: the last place in this file, and the exception."""
        return end_of_log(self.whole_log, self.path)

    @property
    def whole_log(self) -> str:
        """All that has come on stderr so far."""
        with self._reader.changed:
            return self._log.decode("utf-8", "replace")

    @property
    def crashed(self) -> bool:
        """Whether stderr has a traceback on it."""
        with self._reader.changed:
            return b"Traceback (most recent call last):" in self._log

    @property
    def ended(self) -> bool:
        """Whether the program is gone: nothing holds its outputs open any more."""
        return self._reader.ended

    def send(self, raw: bytes) -> None:
        """Write to the program's stdin. If it no longer reads there, that shows up later."""
        assert self.process.stdin is not None
        stdin = self.process.stdin.fileno()
        deadline = time.monotonic() + waits.SHORT
        while raw and (left := deadline - time.monotonic()) > 0:
            try:
                raw = raw[os.write(stdin, raw) :]
            except BlockingIOError:  # the pipe is full
                select.select([], [stdin], [], left)
            except BrokenPipeError:
                return

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, ready: Callable[[bytes], bool], seconds: float | None = None) -> bool:
        """Wait until `ready(stdout)`; False when time runs out or both outputs ended first."""
        seconds = waits.PATIENCE if seconds is None else seconds
        return self._reader.wait(lambda: ready(bytes(self._out)), seconds)

    def wait_for_lines(self, count: int, start: int) -> bool:
        """Wait until so many line ends have come from byte `start` on."""
        return self.wait(lambda out: out.count(b"\n", start) >= count)

    def status(self, seconds: float) -> int | None:
        """The exit status, or None when the program is still there after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def next_line(self, start: int = 0) -> Line | None:
        """The first whole line of stdout from byte `start` on; None when none comes."""
        if not self.wait(lambda out: b"\n" in out[start:]):
            return None
        raw = self.out[start:].partition(b"\n")[0] + b"\n"
        return Line(raw, json_object(raw))

    def ask(self, message: Json | bytes) -> Line:
        """Send a message and return the line that comes. Raises Failed when none does."""
        raw = message if isinstance(message, bytes) else as_line(message)
        start = len(self.out)
        self.send(raw)
        line = self.next_line(start)
        if line is not None:
            return line
        if self.ended:
            hint = "crashed" if self.crashed else "no-connection"
            raise Failed(hint, sent=raw, received=self.log, wanted="a reply")
        raise Failed("no-answer", sent=raw, received=self.out[start:], wanted="a reply")

    def replies_before_pong(self, raw: bytes, died: str) -> list[Line]:
        """Send `raw` and a ping; return the lines that come before the ping's answer.

        The ping saves a long wait to find out that nothing comes. Raises Failed, with the
        hint `died` if the program has ended.
        """
        start = len(self.out)
        self.send(raw + as_line(ping("after")))
        if not self.wait(lambda out: b'"after"' in out[start:] and out.endswith(b"\n")):
            hint = died if self.ended else "no-answer"
            raise Failed(hint, sent=raw, received=self.log, wanted="a server that goes on")
        lines = self.out[start:].splitlines(keepends=True)
        return [Line(line, json_object(line)) for line in lines if b'"after"' not in line]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close_stdin()


def end_of_log(text: str, path: Path) -> str:
    """The last lines of a log; of a traceback, the last place in `path` and the exception."""
    lines = text.splitlines()
    places = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    ours = [index for index in places if lines[index].startswith(f'  File "{path}"')]
    if not ours:
        return "\n".join(lines[-5:])
    start = ours[-1]
    stop = next((index for index in places if index > start), len(lines))
    exception = [line for line in lines[places[-1] + 1 :] if not line.startswith(" ")]
    kept = lines[start:stop] + (exception if stop < len(lines) else [])
    return "\n".join([lines[start].strip().replace(str(path), path.name), *kept[1:]])
