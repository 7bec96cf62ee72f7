"""How a process asks its warm parent for a program: tests/warm_parent.py answers.

A test asks like this, and so does a program that starts other programs: both start them with
`subprocess.Popen`, and do not notice.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

IMPORT = re.compile(rb"^(?:from ([\w.]+) import\b|import ([\w., ]+))", re.MULTILINE)
PR_SET_CHILD_SUBREAPER = 36

Start = Callable[[dict[str, Any], list[int]], int]
"""Starts what is requested, with these for stdin, stdout and stderr. Returns its process id."""


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
        beside = path_of(name, program)
        if beside.is_file() and beside != program:
            found |= imported_by(beside)
    return frozenset(found)


def path_of(module: str, program: Path) -> Path:
    """Where a module's file is, if it is beside the program."""
    return program.parent / f"{module.replace('.', '/')}.py"


def files_of(request: dict[str, Any]) -> list[Path]:
    """The files that a request's program runs: a driver and a learner's file, for instance.

    None for a shell.
    """
    program, *words = (Path(request["cwd"], word) for word in request["arguments"])
    files = [program, *(word for word in words if word.suffix == ".py")]
    return [file for file in files if file.is_file()]


@cache
def names_python(program: Path) -> bool:
    """Whether a file speaks of its Python, or one beside it that it imports does."""
    beside = (path_of(name, program) for name in imported_by(program))
    files = [program, *(path for path in beside if path.is_file())]
    return any(b"sys.executable" in file.read_bytes() for file in files)


def starts_others(request: dict[str, Any]) -> bool:
    """Whether a program may start others with its own Python."""
    return any(map(names_python, files_of(request)))


def ignore_interrupts() -> None:
    """As `preexec_fn`: begin as `&` starts a program in a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def adopt_orphans() -> None:
    """A warm program's parent is gone at once: from here on it is a child of this process."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def ask(parent: socket.socket, request: dict[str, Any], streams: list[int]) -> int:
    """Have the program started with these for stdin, stdout and stderr. Returns its process id.

    This process must adopt orphans, or one between it and the parent.
    """
    read, write = os.pipe()
    with os.fdopen(read, "rb") as said:
        try:
            socket.send_fds(parent, [json.dumps(request).encode()], [*streams, write])
        finally:
            os.close(write)
        # To the end: then the program is our child.
        return int(said.read())


def popen_class(start: Start) -> type[subprocess.Popen[Any]]:
    """A subprocess.Popen that starts Python files warm, and all else as ever."""

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
                and not (executable or pass_fds or shell)
            )
            if not warm:
                super()._execute_child(args, executable, preexec_fn, *more)  # pyrefly: ignore[missing-attribute]
                return
            request = {
                "arguments": [os.fspath(word) for word in args[1:]],
                "env": dict(os.environ if env is None else env),
                "cwd": os.fspath(cwd or Path.cwd()),
                "sigint_ignored": preexec_fn is ignore_interrupts,
                "new_session": new_session,
            }
            # Found out here, where it is known from one start to the next.
            request["starts_others"] = starts_others(request)
            given = enumerate((stdin, stdout, stderr))
            streams = [number if pipe == -1 else pipe for number, pipe in given]
            self.pid = start(request, streams)
            self._child_created = True
            self._close_pipe_fds(*pipes[:6])  # pyrefly: ignore[missing-attribute]

    return Popen
