"""Start Python programs in a process that has their libraries already.

Importing an SDK takes more than a second of computing, and the tests start some thousand
programs. While a test has the fixture `warm`, a parent process that has imported the libraries
is forked for each program. The program is still a child of its own, with its own file,
arguments, environment, pipes, signals and exit status. One that starts others with its own
Python gets a parent for them: a process forked with it, before it began.

Starters and solutions are started as a learner starts them: with `python FILE`.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.warm_popen import (
    adopt_orphans,
    ask,
    files_of,
    imported_by,
    popen_class,
)
from workshop.course import ROOT

PARENT = Path(__file__).with_name("warm_parent.py")
ROOMS = ("scripts", "solutions", "tests/servers", "workshop/checks")

# There is a parent for the programs that import one of the first, one for those that import
# the second, and so on. A program should not have much that it does not need: each fork copies
# what keeps account of a process's memory.
KINDS = (
    ("agents", "openai"),
    ("fastapi", "httpx2", "mcp", "mcp_types", "sse_starlette", "starlette", "uvicorn"),
    ("flask",),
    ("aiohttp",),
    ("crossplane", "cryptography", "dockerfile_parse", "jwt", "limits", "trustme", "yaml"),
    ("asyncio", "http"),
    (),
)
# The first is what starts the programs. The second takes long, and few draw.
NOT_LIBRARIES = ("workshop", "matplotlib")


def kind_of(file: Path) -> int:
    """The index in KINDS of a program."""
    roots = {module.partition(".")[0] for module in imported_by(file)}
    return next(at for at, kind in enumerate(KINDS) if not kind or not roots.isdisjoint(kind))


def libraries(kind: int) -> list[str]:
    """What the course's programs of this kind import."""
    found: set[str] = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if kind_of(path) == kind:
                found |= imported_by(path)
    return sorted(name for name in found if name.partition(".")[0] not in NOT_LIBRARIES)


class Parents:
    """One parent for each kind of program, once it is needed. Use it in a `with`."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._sockets: dict[int, socket.socket] = {}
        self._finding = threading.Lock()

    def __enter__(self) -> Parents:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _parent(self, kind: int) -> socket.socket:
        """The socket of the parent that has what programs of this kind import."""
        if kind not in self._sockets:
            adopt_orphans()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, PARENT, str(theirs.fileno()), *libraries(kind)],
                    pass_fds=[theirs.fileno()],
                    # What an interpreter reads as it starts then holds for its children, too.
                    env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
                )
            self._open.callback(process.wait)
            self._open.callback(ours.close)
            self._sockets[kind] = ours
        return self._sockets[kind]

    def start(
        self, request: dict[str, Any], streams: list[int], folder: Path | None = None
    ) -> int:
        """Start a program with these for stdin, stdout and stderr. Returns its process id.

        It has what the programs in `folder` import, too. Without one, and if it starts
        programs itself, what those in its own folder import.
        """
        files = files_of(request)
        if folder is None and request["starts_others"]:
            folder = files[0].parent
        if folder is not None:
            files += folder.rglob("*.py")
        # Some tests start programs in several threads: each would begin a parent, of which
        # only the last is used.
        with self._finding:
            parent = self._parent(min(map(kind_of, files)))
        return ask(parent, request, streams)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Meanwhile, subprocess.Popen starts Python files warm."""
        # Elsewhere a process can't be forked as safely, or at all: all starts are cold.
        if sys.platform != "linux":
            yield
            return
        with mock.patch("subprocess.Popen", popen_class(self.start)):
            yield


def start_warm_from_here() -> None:
    """Until it ends, this process starts Python files warm."""
    stack = ExitStack()
    atexit.register(stack.close)
    parents = stack.enter_context(Parents())
    stack.enter_context(parents.starting())
