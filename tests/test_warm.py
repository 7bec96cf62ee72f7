"""A warm start is like a cold one for the program, and for whoever started it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from tests.warm import Parents
from tests.warm_terminals import warm_terminals
from workshop.course import ROOT
from workshop.publishing.sandbox import sandbox, sandbox_environment
from workshop.publishing.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="All starts are cold here.")

PROGRAM = """
import atexit
import os
import signal
import subprocess
import sys
import time


class Last:
    def __del__(self):
        print("taken apart")


async def forgotten():
    pass


atexit.register(print, "at exit")
last = Last()
last.itself = last
match sys.argv[1:]:
    case ["looks"]:
        print(__name__, os.path.basename(__file__), sys.argv[1:], os.environ["GIVEN"])
    case ["terminal"]:
        print(sys.stdin.isatty(), os.tcgetpgrp(0) == os.getpgrp(), os.get_terminal_size())
    case ["exit", status]:
        sys.exit(int(status))
    case ["text"]:
        sys.exit("It says why.")
    case ["raise"]:
        raise ValueError("It is wrong.")
    case ["forget"]:
        forgotten()
    case ["read"]:
        print("reads", sys.stdin.read().upper())
    case ["killed"]:
        os.kill(os.getpid(), signal.SIGTERM)
    case ["start", *words]:
        started = subprocess.Popen([sys.executable, __file__, *words])
        try:
            print("mine", os.getpgid(started.pid) == os.getpgrp(), flush=True)
            print("ended with", started.wait())
        except KeyboardInterrupt:
            print("interrupted, too")
            # Python forgets its status if the interrupt comes just as the first `wait` returns.
            started.wait()
    case ["wait"]:
        try:
            print("waits", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            # As one piece: `sys.exit` writes the end of its line apart, and whoever started
            # this may write between the two.
            sys.stderr.write("interrupted\\n")
            sys.exit(1)
"""

RUNS = ["looks", "exit 0", "exit 3", "text", "raise", "forget", "read", "killed"]
RUNS += ["start exit 3", "start read", "start killed", "start start looks"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIVEN", "from outside")
    # Else a line is written piece by piece, and two programs' lines become one.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


@pytest.mark.parametrize("words", RUNS)
def test_a_program_ends_as_it_does_when_it_starts_cold(
    words: str, program: Path, parents: Parents
) -> None:
    def run() -> tuple[int, list[str], str]:
        done = subprocess.run(
            [sys.executable, str(program), *words.split()],
            input="given",
            capture_output=True,
            text=True,
        )
        # Two programs may print in any order.
        lines = sorted(done.stdout.splitlines())
        # Of a traceback the last line: above it, files have other names.
        return done.returncode, lines, done.stderr[-20:]

    cold = run()
    with parents.starting():
        assert run() == cold


def test_so_it_does_in_a_terminal(program: Path, parents: Parents) -> None:
    words = ["looks", "exit 0", "exit 3", "text", "terminal", "killed", "wait", "start wait"]
    commands = [f"uv run program.py {each}" for each in words]
    commands += ["echo given | uv run program.py read", "uv run program.py exit 3 | cat"]

    def printed(*, warm: bool) -> list[str]:
        with (
            warm_terminals(parents, program.parent) if warm else nullcontext(),
            sandbox(ROOT) as folder,
            closing(Terminal(folder, sandbox_environment(folder))) as terminal,
        ):
            shutil.copy(program, folder)
            lines: list[str] = []

            def type_in(command: str) -> None:
                terminal.run(command)
                if command.endswith("wait"):
                    said = {"waits", "mine True"} if "start" in command else {"waits"}
                    terminal.wait(lambda: said <= {*terminal.lines()}, time.monotonic() + 30)
                    terminal.interrupt()
                assert terminal.wait(lambda: terminal.at_prompt, time.monotonic() + 30)
                lines.extend([command, *sorted(terminal.lines())])
                terminal.take_all()

            for command in commands:
                type_in(command)
                type_in("echo $?")
            return lines

    cold = printed(warm=False)
    assert "interrupted" in cold
    assert printed(warm=True) == cold
