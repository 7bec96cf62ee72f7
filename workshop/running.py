"""Start a program on a free port, wait until it answers, stop it, keep what it printed.

Programs are started as a learner starts them: by their path, in a process of
their own, with `--port`. Nothing here imports a lesson's code.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from workshop.background_reader import BackgroundReader
from workshop.complaints import Complaint, complaints_in, line_it_ran

HOST = "127.0.0.1"


NO_FILE = Path("/dev/null")  # of a program that is not a Python file


class ProgramError(Exception):
    """The program ended, or did not answer in time. The text says what it printed."""


# Each process takes ports from its own slice, one after another: otherwise two test runs side
# by side would sometimes both find the same port free and both start on it.
_SLICES = 50
_SLICE = 200
_next = itertools.count(random.randrange(_SLICE))
_held: list[socket.socket] = []


@cache
def own_slice() -> int:
    """The number of this process's slice, 0 to 49: it holds the slice's first port."""
    wanted = os.getpid() % _SLICES
    for number in (*range(wanted, _SLICES), *range(wanted)):
        first = socket.socket()
        try:
            first.bind((HOST, 20_000 + number * _SLICE))
        except OSError:
            first.close()
        else:
            _held.append(first)
            return number
    return wanted  # more processes than slices: these two seldom want a port at the same time


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on.

    It is one of 20000 to 29999, below the range from which the kernel takes the
    local ports of outgoing connections: a port from that range could be gone
    again before the program binds it.
    """
    while True:
        port = 20_000 + own_slice() * _SLICE + next(_next) % _SLICE
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        if os.name == "posix":
            # As servers do: connections of a server that has just ended don't count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Program:
    """A running program: where it listens, what it printed, and how to stop it."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, path: Path = NO_FILE
    ) -> None:
        self.process = process
        self.port = port
        self.path = path
        self.url = f"http://{HOST}:{port}"
        self.was_ended = False  # by us: whatever ended before that, ended by itself
        self._printed = bytearray()
        stdout = process.stdout
        assert stdout is not None
        # Read all the time: a full pipe would stop the program in its next print.
        chunks = iter(lambda: os.read(stdout.fileno(), 65_536), b"")
        self._reader = BackgroundReader(chunks, self._printed.extend)

    @property
    def output(self) -> str:
        """What it printed so far, stdout and stderr together."""
        with self._reader.changed:
            return self._printed.decode("utf-8", "replace")

    def complaints(self) -> list[Complaint]:
        """The exceptions and missing awaits of its file that Python has printed so far."""
        return complaints_in(self.output, self.path)

    def line_it_runs(self) -> Complaint | None:
        """End it at once, and say which line it would not come back from.

        None if it only waited for something to do, or has ended.
        """
        self._will_end()
        abort(self.process)
        self._reader.join(1)
        return line_it_ran(self.output, self.path)

    def _will_end(self) -> None:
        self.was_ended = self.was_ended or self.process.poll() is None

    @property
    def ended_by_itself(self) -> bool:
        """Whether it is gone although nobody ended it."""
        return not self.was_ended and self.process.poll() is not None

    def wait_for_output(self, text: str, *, seconds: float = 5.0, after: int = 0) -> str:
        """Wait until `text` has been printed; return all output.

        `after` many bytes of it are looked past. Raises ProgramError when the program ends
        or time runs out first.
        """
        wanted = text.encode()
        if not self._reader.wait(lambda: self._printed.find(wanted, after) >= 0, seconds):
            raise ProgramError(f"It never printed {text!r}. It printed:\n{self.output}")
        return self.output

    def wait_until_listening(self, *, seconds: float) -> None:
        """Wait until its port takes a connection. Raises ProgramError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                pass
            status = self.process.poll()
            if status is None:
                if time.monotonic() < deadline:
                    time.sleep(0.02)  # `wait` would look some six times meanwhile
                    continue
                self.line_it_runs()  # what it prints then says where it was
                raise ProgramError(
                    f"Nothing listened on port {self.port} within {seconds:g} s. "
                    f"The program printed:\n{self.output}"
                )
            self._reader.join(1)
            printed = f":\n{self.output}" if self.output else " nothing."
            raise ProgramError(
                f"The program ended with status {status} before it listened on port "
                f"{self.port}. It printed{printed}"
            )

    def stop(self, how: signal.Signals = signal.SIGTERM, *, seconds: float = 5.0) -> float:
        """Send `how`, wait for the end, return the seconds it took.

        A program that is still there after `seconds` is killed; its
        `process.returncode` is then -9, which a caller can test.
        """
        began = time.monotonic()
        self._will_end()
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        took = time.monotonic() - began
        self._reader.join(1)
        return took

    def close(self) -> None:
        """Stop it, and read no more of what it prints."""
        self.stop(seconds=3)
        if self.process.stdout is not None:
            self.process.stdout.close()


_recordings: list[list[Program]] = []


@contextmanager
def recorded() -> Iterator[list[Program]]:
    """Yield a list that every program started by `running` meanwhile is added to.

    The caller can then show what these programs printed.
    """
    programs: list[Program] = []
    _recordings.append(programs)
    try:
        yield programs
    finally:
        _recordings.remove(programs)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment every program gets: plain UTF-8 output, unbuffered."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "PYTHONFAULTHANDLER": "1",  # for `abort`
        "NO_COLOR": "1",
        **(extra or {}),
    }


def abort(process: subprocess.Popen[bytes]) -> None:
    """End a process that does not answer: it prints first which line it is running.

    `line_it_ran` reads that. The process must have the `environment` of this module.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGABRT)
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def interrupt_afterwards() -> Iterator[None]:
    """Meanwhile an interrupt waits: what is being started must be known before it comes."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # no interrupt comes here
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def running(
    program: Path | str,
    *arguments: str,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 20.0,
    own_session: bool = False,
) -> Iterator[Program]:
    """Run `program` (a Python file) with `--port` and yield it once it listens.

    `seconds` bounds the wait for the port. In its `own_session` it gets no signal that is
    meant for this process and all that it has started. Raises ProgramError when the program
    ends or stays silent. On the way out it gets SIGTERM, then SIGKILL.
    """
    chosen = port if port is not None else free_port()
    command: Sequence[str] = [
        sys.executable,
        str(program),
        "--port",
        str(chosen),
        *arguments,
    ]
    with ExitStack() as stack:
        with interrupt_afterwards():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(env),
                cwd=cwd,
                start_new_session=own_session,
            )
            started = Program(process, chosen, Path(program))
            stack.callback(started.close)
        for programs in _recordings:
            programs.append(started)
        started.wait_until_listening(seconds=seconds)
        yield started
