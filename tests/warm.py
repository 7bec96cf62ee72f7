"""Start Python programs in a process that has their libraries already.

Importing an SDK takes more than a second of computing, and the tests start some thousand
programs. While a test has the fixture `warm`, a parent process that has imported the libraries
is forked for each program. The program is still a child of its own, with its own file,
arguments, environment, pipes, signals and exit status.

Starters and solutions are started as a learner starts them: with `python FILE`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

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
# It is what starts the programs.
NOT_LIBRARIES = ("workshop",)

PR_SET_CHILD_SUBREAPER = 36


IMPORT = re.compile(rb"^(?:from ([\w.]+) import\b|import ([\w., ]+))", re.MULTILINE)


@cache
def imported_by(program: Path) -> frozenset[str]:
    """The modules that a file imports at its top, and those that files beside it import.

    Read from the text: to parse some hundred files takes a second in each process.
    """
    found = {
        name.decode().split()[0]
        for source, names in IMPORT.findall(program.read_bytes())
        for name in (source or names).split(b",")
    }
    for name in list(found):
        beside = program.with_name(f"{name}.py")
        if beside.is_file() and beside != program:
            found |= imported_by(beside)
    return frozenset(found)


def kind_of(modules: frozenset[str]) -> int:
    """The index in KINDS of a program that imports these modules."""
    roots = {module.partition(".")[0] for module in modules}
    return next(at for at, kind in enumerate(KINDS) if not kind or not roots.isdisjoint(kind))


def libraries(kind: int) -> list[str]:
    """What the course's programs of this kind import."""
    found: set[str] = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            modules = imported_by(path)
            if kind_of(modules) == kind:
                found |= modules
    return sorted(name for name in found if name.partition(".")[0] not in NOT_LIBRARIES)


def ignore_interrupts() -> None:
    """As `preexec_fn`: begin as `&` starts a program in a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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

    def _parent(self, files: list[Path]) -> socket.socket:
        """The socket of the parent that has what these files import."""
        kind = min(kind_of(imported_by(file)) for file in files)
        if kind not in self._sockets:
            # The parent's own parent takes its children over: so they become ours.
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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

    def start(self, files: list[Path], request: dict[str, Any], streams: list[int]) -> int:
        """Start a program with these for stdin, stdout and stderr. Returns its process id.

        `files` are those that it runs: a driver and a learner's file, for instance.
        """
        # Some tests start programs in several threads: each would begin a parent, of which
        # only the last is used.
        with self._finding:
            parent = self._parent(files)
        read, write = os.pipe()
        with os.fdopen(read, "rb") as said:
            try:
                socket.send_fds(parent, [json.dumps(request).encode()], [*streams, write])
            finally:
                os.close(write)
            # To the end: then the program is our child.
            return int(said.read())

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Meanwhile, subprocess.Popen starts Python files warm."""
        # Elsewhere a process can't be forked as safely, or at all: all starts are cold.
        if sys.platform != "linux":
            yield
            return

        start = self.start

        class Popen(subprocess.Popen[Any]):
            """As subprocess knows it: only the start differs."""

            def _execute_child(
                self, args: Any, executable: Any, preexec_fn: Any, *more: Any
            ) -> None:
                _, pass_fds, cwd, env, _, _, shell, *pipes = more
                stdin, _, _, stdout, _, stderr, *_ = pipes
                new_session = pipes[11]
                warm = (
                    isinstance(args, (list, tuple))
                    and args[0] == sys.executable
                    and Path(args[1]).is_file()
                    and "--reload" not in args  # it starts itself again, by its own file
                    and preexec_fn in (None, ignore_interrupts)
                    and not (executable or pass_fds or shell or new_session)
                )
                if not warm:
                    super()._execute_child(args, executable, preexec_fn, *more)  # pyrefly: ignore[missing-attribute]
                    return
                request = {
                    "arguments": [os.fspath(word) for word in args[1:]],
                    "env": dict(os.environ if env is None else env),
                    "cwd": os.fspath(cwd or Path.cwd()),
                    "sigint_ignored": preexec_fn is ignore_interrupts,
                }
                given = enumerate((stdin, stdout, stderr))
                streams = [number if pipe == -1 else pipe for number, pipe in given]
                others = [Path(word) for word in args[2:] if str(word).endswith(".py")]
                files = [Path(args[1]), *(path for path in others if path.is_file())]
                self.pid = start(files, request, streams)
                self._child_created = True
                self._close_pipe_fds(*pipes[:6])  # pyrefly: ignore[missing-attribute]

        with mock.patch("subprocess.Popen", Popen):
            yield


def start_warm_from_here() -> None:
    """Until it ends, this process starts Python files warm."""
    stack = ExitStack()
    atexit.register(stack.close)
    parents = stack.enter_context(Parents())
    stack.enter_context(parents.starting())
