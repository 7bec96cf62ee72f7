"""Start a program in a process that has its libraries already: for the galleries.

A mistake is the solution but for a line or two, and importing the solution's libraries
costs more than all checks of it. Here a parent process imports them once and is forked for
each program. The program is still a process of its own, with its own file, arguments,
environment, pipes, signals and exit status.

Starters and solutions are started as a learner starts them: with `python FILE`.
"""

from __future__ import annotations

import ast
import contextlib
import faulthandler
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn
from unittest import mock

# With a request go a program's stdin, stdout and stderr, and the pipe on which its process
# id and its exit status come back.
PASSED = 4
MAX_REQUEST = 100_000  # bytes

# What a library imports only when it is used.
LATER = [
    "anyio._backends._asyncio",
    "pydantic.v1",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
]

start_cold = subprocess.Popen


class WarmProgram:
    """A program that the parent started: as much of subprocess.Popen as the checks use."""

    def __init__(self, ours: list[IO[bytes] | None], said: IO[bytes]) -> None:
        self.stdin, self.stdout, self.stderr = ours
        self.pid = int(said.readline())
        self.returncode: int | None = None
        self._said = said
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(timeout=0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._said], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("the program", timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._said.readline())
            return self.returncode

    def send_signal(self, how: int) -> None:
        # It may have ended, though its status has not come yet.
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, how)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process that has the libraries. Close it, or use it in a `with`."""

    def __init__(self, modules: list[str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = start_cold(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                pass_fds=[theirs.fileno()],
                # What an interpreter reads as it starts then holds for its children, too.
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            )

    def __enter__(self) -> Parent:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.wait()

    def start(self, command: list[str], **options: Any) -> Any:
        """As subprocess.Popen: a WarmProgram for a Python file, a Popen for all else.

        With `sigint_ignored` a Python file begins as `&` starts it in a script.
        """
        streams = [options.get(name) for name in ("stdin", "stdout", "stderr")]
        # A stream can also be a file.
        plain = all(one is None or isinstance(one, int) for one in streams)
        if command[0] != sys.executable or not plain:
            return start_cold(command, **options)
        with ExitStack() as stack:
            nothing = stack.enter_context(Path(os.devnull).open("r+b", buffering=0))
            ours: list[IO[bytes] | None] = [None, None, None]
            theirs: list[IO[bytes]] = [nothing, nothing, nothing]
            for number, kind in enumerate(streams):
                if kind == subprocess.PIPE:
                    read, write = pipe()
                    ours[number], given = (read, write) if number else (write, read)
                    theirs[number] = stack.enter_context(given)
                elif kind == subprocess.STDOUT:
                    theirs[number] = theirs[1]
            said, say = pipe()
            stack.enter_context(say)
            cwd = str(options.get("cwd") or Path.cwd())
            env = dict(options.get("env") or os.environ)
            ignored = options.get("sigint_ignored", False)
            request = json.dumps(
                {"arguments": command[1:], "env": env, "cwd": cwd, "sigint_ignored": ignored}
            ).encode()
            files = [one.fileno() for one in (*theirs, say)]
            socket.send_fds(self._requests, [request], files)
        return WarmProgram(ours, said)


def pipe() -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0)


def imported_by(program: Path) -> list[str]:
    """The modules that a file imports at its top."""
    found: list[str] = []
    for node in ast.parse(program.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


class Parents:
    """One parent for each solution. Close them, or use them in a `with`."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._parents: dict[Path, Parent] = {}

    def __enter__(self) -> Parents:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def starting(self, solution: Path) -> Iterator[None]:
        """Meanwhile, subprocess.Popen starts programs with what this solution imports."""
        # Elsewhere a process can't be forked as safely, or at all: all starts are cold.
        if sys.platform != "linux":
            yield
            return
        if solution not in self._parents:
            parent = self._open.enter_context(Parent(imported_by(solution)))
            self._parents[solution] = parent
        with mock.patch("subprocess.Popen", self._parents[solution].start):
            yield


# --- The parent ---------------------------------------------------------------------------


def serve(requests: socket.socket, modules: list[str]) -> None:
    """Fork for each request. Returns when nobody asks any more, and in each program."""
    for module in [*modules, *LATER]:
        # A file beside the program is no library: it is imported by the program itself.
        with contextlib.suppress(ImportError):
            if module not in LATER or module.partition(".")[0] in sys.modules:
                importlib.import_module(module)
    gc.freeze()  # no child looks through what its parent has
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, take_leave)
    while True:
        request, files, _, _ = socket.recv_fds(requests, MAX_REQUEST, PASSED)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            program = os.fork()
            if program == 0:
                options = json.loads(request)
                ignored = options["sigint_ignored"]
                signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else interrupt)
                run(options, files)
                return
            keep(program, files)
        for file in files:
            os.close(file)


def take_leave(*_: object) -> None:
    """Wait for the keepers that have ended: then `time` counts what the programs took."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def keep(program: int, files: list[int]) -> NoReturn:
    """Say the program's id, and its exit status when it ends."""
    *its_own, say = files
    for file in its_own:
        os.close(file)
    os.write(say, b"%d\n" % program)
    _, status = os.waitpid(program, 0)
    os.write(say, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run(request: dict[str, Any], files: list[int]) -> None:
    """Become the program."""
    for number, file in enumerate(files):
        if number < PASSED - 1:
            os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    if "PYTHONUNBUFFERED" not in os.environ:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as theirs:
        serve(theirs, sys.argv[2:])
