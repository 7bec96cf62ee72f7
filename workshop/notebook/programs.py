"""Programs that the notebooks start. When the kernel ends, so do they.

Jupyter interrupts a cell with a signal to the kernel and all that it has started. A server that
another cell started has to go on: it gets a session of its own, which no such signal reaches.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path

from workshop.course import ROOT, Course
from workshop.notebook.pictures import Row, parsed
from workshop.notebook.shown import Conversation, Picture, Quiet, close_on_interrupt, picture
from workshop.running import Program, environment, running


class Started(Quiet):
    """A server that runs: `url`, `port`, `output` (what it printed) and `stop()`."""

    def __init__(
        self, name: str, path: Path, arguments: tuple[str, ...], port: int | None
    ) -> None:
        self._name = name
        self._path = path
        self._running: AbstractContextManager[Program] = running(
            path, *arguments, port=port, cwd=ROOT, seconds=60, own_session=True
        )
        # The `with` ends when another cell calls stop, or when the kernel ends.
        self._program = self._running.__enter__()
        _keep(self._program.process)
        self.port = self._program.port
        self.url = self._program.url

    @property
    def output(self) -> str:
        return self._program.output

    def stop(self) -> None:
        """Stop it, and say how long that took. Stopping it twice does nothing."""
        if _started.get(self._path) is self:
            began = time.monotonic()
            self.end()
            print(f"{self._name} stopped in {time.monotonic() - began:.1f} s.")

    def end(self) -> None:
        _started.pop(self._path, None)
        self._running.__exit__(None, None, None)


_started: dict[Path, Started] = {}


@cache
def _keeper() -> subprocess.Popen[str]:
    """A program that outlives this kernel, if only for a moment."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("keeper.py")],
        stdin=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )


def _keep(process: subprocess.Popen[bytes]) -> None:
    """Have this process end with the kernel, even if the kernel is killed."""
    stdin = _keeper().stdin
    assert stdin is not None
    # If somebody has ended the keeper, a kernel that ends as usual still ends its servers.
    with suppress(BrokenPipeError):
        print(process.pid, file=stdin, flush=True)


def start(program: str, *arguments: str, port: int | None = None) -> Started:
    """Run a program of the course on a free port, or on `port`; return once it listens.

    A program with the same path that still runs is stopped first, so that a cell can run
    again; when the kernel ends, all are stopped. Raises ProgramError.
    """
    path = _path(program)
    if path in _started:
        _started[path].end()
    started = _started[path] = Started(program, path, arguments, port)
    print(f"{program} listens on {started.url}")
    return started


def run(program: str, *arguments: str, seconds: float | None = None) -> None:
    """Run a program of the course to its end, and show what it prints as it prints it.

    One that would never end is ended after `seconds`.
    """
    command = [sys.executable, str(_path(program)), *map(_argument, arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        cwd=ROOT,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        end = threading.Timer(seconds or 0, process.terminate)
        if seconds is not None:
            end.start()
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except BaseException:  # an interrupt
            process.kill()
            raise
        finally:
            end.cancel()


def _path(program: str) -> Path:
    within_work = program.removeprefix("work/")
    return ROOT / program if within_work == program else Course.load().work_root / within_work


def _argument(text: str) -> str:
    """The learner's folder may be elsewhere."""
    return str(_path(text)) if text.startswith("work/") else text


class Child(Quiet):
    """A program that is spoken to through its stdin and stdout, one line at a time."""

    def __init__(self, *command: str) -> None:
        self._talk = Conversation()
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Not `environment()` as it is: here it matters that Python buffers pipes.
            env={k: v for k, v in environment().items() if k != "PYTHONUNBUFFERED"},
            cwd=ROOT,
            start_new_session=True,
        )
        close_on_interrupt(self.end)

    def tell(self, message: object) -> None:
        """Write one line: a JSON value, or a string as it is."""
        assert self.process.stdin is not None
        line = message if isinstance(message, str) else json.dumps(message)
        self._show("sent", line)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> None:
        """Wait for one line. An interrupt ends the program."""
        assert self.process.stdout is not None
        close_on_interrupt(self.end)
        line = self.process.stdout.readline().decode("utf-8", "replace")
        if line:
            self._show("event", line.rstrip("\n"))
        else:
            self._picture().add(Row("note", time.monotonic(), "The pipe has ended."))

    def ask(self, message: object) -> None:
        """Write one line, and wait for one."""
        self.tell(message)
        self.hear()

    def hang_up(self) -> None:
        """Close its stdin: no more lines will come."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def leave(self) -> None:
        """Close its stdin, which is all it takes, and show its exit status."""
        with suppress(BrokenPipeError):
            self.hang_up()
        status = self.process.wait(10)
        said = f"stdin is closed; the server exits with status {status}"
        self._picture().add(Row("note", time.monotonic(), said))

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _show(self, kind: str, line: str) -> None:
        data = line if parsed(line) is not None else ""
        title = "stdin" if kind == "sent" else ""
        row = Row("sent" if kind == "sent" else "event", time.monotonic(), title, line, data)
        self._picture().message(row, self._talk, "")

    def _picture(self) -> Picture:
        return picture(self._began)


_children: dict[tuple[str, ...], Child] = {}


def start_child(*command: str) -> Child:
    """Run Python with these arguments, with a pipe on its stdin and one on its stdout.

    Started again, the one before is ended first.
    """
    if command in _children:
        _children[command].end()
    child = _children[command] = Child(*command)
    return child


@atexit.register
def _end_all() -> None:
    for started in list(_started.values()):
        started.end()
    for child in _children.values():
        child.end()
