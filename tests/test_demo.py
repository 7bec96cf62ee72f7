"""`workshop demo`: what it types, and how it looks and ends in a real tmux."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tests.parts import require
from tests.test_file_changes import Terminal
from workshop import cli
from workshop.course import Course, Lesson
from workshop.demo.control import _is_alive, own_ports
from workshop.demo.steps import YOURS, DemoStep, commands_of, steps_of, with_ports
from workshop.demo.tmux import layout
from workshop.keys import keys
from workshop.publishing.markdown import fences
from workshop.publishing.ports import Ports

COURSE = Course.load()
every_lesson = pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda one: one.slug)


# --- what is typed ---------------------------------------------------------------------------


@every_lesson
def test_every_command_of_the_lesson_is_a_step_in_its_order(lesson: Lesson) -> None:
    steps = steps_of(lesson)
    text = lesson.text.read_text(encoding="utf-8")
    blocks = [one for one in fences(text, lesson.slug) if one.info.startswith("console")]
    typed = [
        line for one in blocks for line in one.body.splitlines() if re.match(r"\$ |\^C$", line)
    ]
    assert typed == [
        "^C" if step.command is None else f"$ {step.command.partition(chr(10))[0]}"
        for step in steps
    ]
    assert all(step.section in lesson.sections or "Appendix" in step.section for step in steps)
    # A server has its pane to itself until Ctrl-C: nothing is typed into a running program.
    running: set[str] = set()
    for step in steps:
        assert step.command is None or step.terminal not in running, step
        running.discard(step.terminal)
        if not step.ends and step.port is not None:
            running.add(step.terminal)


def test_the_steps_of_lesson_05() -> None:
    ports = Ports(COURSE, commands_of(steps := steps_of(COURSE.lesson("5"))))
    first, second, *_ = with_ports(steps, ports, own=True)
    script = "uv run scripts/05_sse_server"
    assert first == DemoStep(
        "Run it", "server", f"{script}/first_server.py", ends=False, port=8000
    )
    assert second == DemoStep(
        "Run it", YOURS, f"{script}/sdk_client.py http://127.0.0.1:8000/sse", ends=True
    )
    post = next(step for step in steps if step.command and "tools/call" in step.command)
    assert (post.terminal, post.then) == (YOURS, ("stream",))
    other = with_ports(steps, ports, own=False)
    assert other[0].port != 8000 and other[0].command is not None
    assert other[0].command.endswith(f"--port {other[0].port}")
    assert "8000" not in commands_of(other)


def test_one_demo_at_a_time_has_the_lessons_own_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = own_ports()
    assert first is not None and own_ports() is None
    first.close()
    again = own_ports()
    assert again is not None
    again.close()


@pytest.mark.parametrize(
    ("columns", "rows", "panes"), [(80, 24, 1), (80, 24, 2), (120, 40, 2), (120, 40, 3)]
)
def test_tmux_takes_each_layout(columns: int, rows: int, panes: int, tmp_path: Path) -> None:
    screen = Terminal(require("tmux"), tmp_path / "tmux", ["cat"], (columns, rows))
    try:
        screen("set-option", "-g", "status", "off")
        screen("resize-window", "-t", "watch", "-x", str(columns), "-y", str(rows))
        for _ in range(panes):
            screen("split-window", "-t", "watch", "cat")
            screen("select-layout", "-t", "watch", "tiled")
        wanted = layout(columns, rows, panes, 6)
        screen("select-layout", "-t", "watch", wanted)
        got = screen("list-panes", "-t", "watch", "-F", "#{pane_width}x#{pane_height}").split()
        assert len(got) == panes + 1 and got[-1] == f"{columns}x6"
        assert got == re.findall(r"(\d+x\d+),\d+,\d+,0", wanted)
    finally:
        screen("kill-server")


def test_a_demo_that_has_ended_is_not_alive_even_if_nobody_has_asked_how_it_ended() -> None:
    ended = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    assert not _is_alive(ended) and _is_alive(os.getpid())
    os.waitpid(ended, 0)
    assert not _is_alive(ended)


def test_a_terminal_that_goes_away_raises_nothing_in_the_signals_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It sends SIGHUP and SIGCONT. An error from the second hid the first."""
    master, terminal = pty.openpty()
    with os.fdopen(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with keys():
            os.close(master)
            signal.raise_signal(signal.SIGCONT)


# --- in a real tmux --------------------------------------------------------------------------


class Demo:
    """A demo in a terminal of tmux, whose screen is read and whose keys are pressed."""

    def __init__(self, screen: Terminal) -> None:
        self.screen = screen

    def press(self, *keys: str) -> None:
        self.screen("send-keys", "-t", "watch", *keys)

    def until(self, *wanted: str, seconds: float = 60) -> str:
        """The screen once it matches all of these patterns."""
        return self.screen.until(
            lambda text: all(re.search(one, text, re.MULTILINE) for one in wanted),
            seconds=seconds,
        )

    @property
    def process(self) -> psutil.Process:
        """The `workshop demo` in this terminal."""
        shell = psutil.Process(int(self.screen("display", "-p", "-t", "watch", "#{pane_pid}")))
        return shell.children()[0]

    @property
    def folder(self) -> str:
        """The temporary folder of this demo."""
        for process in self.process.children():
            if "attach-session" in (words := process.cmdline()):
                return str(Path(words[words.index("-S") + 1]).parent)
        raise AssertionError("no demo is shown")


def left_of(folder: str) -> list[list[str]]:
    """The command lines of all processes that were started for a demo."""
    found: list[list[str]] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("WORKSHOP_WORK", "").startswith(folder):
                found.append(process.cmdline())
    return found


def nothing_is_left(folder: str) -> None:
    """Wait until the demo's processes have ended, and see that its folder is gone."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while (left := left_of(folder)) or Path(folder).exists():
        assert time.monotonic() < deadline, f"still there: {left} {folder}"
        pause.wait(0.1)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Opens `workshop demo WORDS…` in a terminal of this size."""
    tmux = require("tmux")
    opened: list[Terminal] = []

    def open_demo(*words: str, size: tuple[int, int] = (80, 24)) -> Demo:
        socket = tmp_path / f"tmux-{len(opened)}"
        command = [sys.executable, "-m", "workshop.cli", "demo", *words]
        opened.append(Terminal(tmux, socket, command, size))
        return Demo(opened[-1])

    yield open_demo
    for one in opened:
        with contextlib.suppress(Exception):
            one("kill-server")


@pytest.mark.long
def test_lesson_05_in_a_large_window(demo: Callable[..., Demo]) -> None:
    shown = demo("05", size=(120, 40))
    shown.until(r"Lesson 05.* · Run it · 1 of", r"^Next, in server:", r"^  uv run .*first_serv")
    folder = shown.folder
    shown.press("Enter", "Enter")  # the second waits until the server listens
    shown.until(r"^Next, in stream:", r"Connected to first-server", r"── server ─.*your term")
    shown.press("Enter")
    shown.until(r"mkdir -p work", r"^  curl -sN http.*/sse \| tee work/stream.txt")
    shown.press("Enter")
    shown.until(r"^Next, in your terminal:\s+json='Content-Type", r"data: /message$")
    shown.press("Enter")
    shown.until(r"^  curl -s -w 'status .*", r"^\S*\$? ?.*json='Content-Type")
    shown.press("Enter")
    # The reply is on the stream, in a pane of its own beside the POST.
    text = shown.until(r"status 202", r"data: \{\"jsonrpc\": \"2.0\", \"id\": 3, \"resul")
    titles = [title.strip() for title in re.findall(r"[─┬├]─ ([a-z ]+)─", text)]
    assert titles == ["server", "your terminal", "stream", "demo"]
    assert "127.0.0.1:" in text and "Traceback" not in text
    assert any("first_server.py" in " ".join(command) for command in left_of(folder))
    shown.press("q")
    shown.until(r"^status 0$")
    nothing_is_left(folder)


@pytest.mark.long
def test_lesson_01_on_a_projector(demo: Callable[..., Demo]) -> None:
    shown = demo("01", "--big")
    first = shown.until(r"Lesson 01.* · Run it · 1 of", r"^Next, in server:")
    assert len(first.splitlines()) <= 24
    folder = shown.folder
    shown.press("s")  # not the server, and back to it
    shown.until(r"· 2 of", r"^Next, in your terminal:")
    shown.press("b")
    shown.until(r"· 1 of")
    shown.press("Enter")
    shown.until(r"· 2 of", r"── server", r"flask_server.py")
    shown.press("Enter")
    shown.until(r"· 3 of", r"data: Update 4")
    shown.press("Enter")  # it waits for the one before
    text = shown.until(r"^Next, in server: Ctrl-C", r"Content-Type: text/event-stream")
    assert "Update 4" not in text, "one command on the screen"
    shown.press("Enter")
    shown.until(r"· 5 of", r"^  uv run .*late_lump_broken.py")
    shown.press("Enter")
    shown.until(r"· 6 of", r"^\$ uv run .*late_lump_broken.py")
    shown.press("C-c")  # in the pane with the keys, it ends the demo
    shown.until(r"^status 0$")
    nothing_is_left(folder)


def test_a_window_that_is_too_wide_for_a_projector_says_so(demo: Callable[..., Demo]) -> None:
    shown = demo("02", "--big", size=(120, 40))
    shown.until(r"This window has 120 columns. Make the terminal's letters larger", "Next, in")
    folder = shown.folder
    shown.press("q")
    nothing_is_left(folder)


@pytest.mark.long
def test_two_demos_at_once_have_different_ports(demo: Callable[..., Demo]) -> None:
    both = [demo("05"), demo("05")]
    urls: set[str] = set()
    for shown in both:
        shown.until(r"^Next, in server:")
        shown.press("Enter")
    for shown in both:
        text = shown.until(r"Uvicorn running on http://127.0.0.1:\d+")
        urls |= set(re.findall(r"Uvicorn running on (\S+)", text))
    assert len(urls) == 2
    folders = [shown.folder for shown in both]
    both[0].press("q")
    nothing_is_left(folders[0])
    assert left_of(folders[1]), "the other one goes on"
    both[1].press("q")
    nothing_is_left(folders[1])


@pytest.mark.parametrize(
    "how",
    [[signal.SIGHUP, signal.SIGTERM, signal.SIGHUP], [signal.SIGKILL]],
    ids=["ended", "killed"],
)
def test_however_it_ends_everything_goes_with_it(
    how: list[signal.Signals], demo: Callable[..., Demo]
) -> None:
    shown = demo("05")
    shown.until(r"^Next, in server:")
    shown.press("Enter")
    shown.until(r"Uvicorn running on")
    folder = shown.folder
    process = shown.process
    for each in how:
        with contextlib.suppress(psutil.NoSuchProcess):  # the first may have been enough
            process.send_signal(each)
        # One after another, while what it started is being put away.
        threading.Event().wait(0.2)
    nothing_is_left(folder)


def test_a_window_that_is_closed_takes_everything_with_it(demo: Callable[..., Demo]) -> None:
    shown = demo("05")
    shown.until(r"^Next, in server:")
    shown.press("Enter")
    shown.until(r"Uvicorn running on")
    folder = shown.folder
    shown.screen("kill-server")
    nothing_is_left(folder)


# --- where it can't be ------------------------------------------------------------------------


def test_without_tmux_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(cli.app, ["demo", "05"])
    assert result.exit_code == 2
    assert "sudo apt-get install tmux" in result.stderr and "brew install" in result.stderr


def test_it_needs_a_terminal_and_a_lesson() -> None:
    require("tmux")
    result = CliRunner().invoke(cli.app, ["demo", "05"])
    assert result.exit_code == 2 and "needs a terminal" in result.stderr
    assert CliRunner().invoke(cli.app, ["demo", "99"]).exit_code == 2
