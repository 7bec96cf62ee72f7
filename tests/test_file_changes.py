"""`workshop check --watch`: each save is noticed, however the editor saves."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import mini_course
from tests.parts import require
from workshop.course import ROOT
from workshop.file_changes import Snapshot, snapshot, wait_for_change


class Waiting:
    """`wait_for_change` in a thread; `result` waits for what it returns."""

    def __init__(self, folder: Path) -> None:
        self.seen = snapshot(folder)
        self.found: Snapshot | None = None
        self.thread = threading.Thread(target=self._run, args=(folder,), daemon=True)
        self.thread.start()

    def _run(self, folder: Path) -> None:
        self.found = wait_for_change(folder, self.seen)

    def result(self) -> Snapshot:
        self.thread.join(timeout=10)
        assert self.found is not None, "the change was not noticed"
        return self.found


def in_place(path: Path) -> None:
    path.write_bytes(b"new")


def replaced(path: Path) -> None:
    fresh = path.with_name(".exercise.py.swp")
    fresh.write_bytes(b"new")
    fresh.replace(path)


def removed_and_written_again(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"new")


def with_a_backup(path: Path) -> None:
    path.replace(path.with_name("exercise.py~"))
    path.write_bytes(b"new")


def same_size_and_time(path: Path) -> None:
    # A file system whose clock is coarse, or a copy that keeps the time.
    stat = path.stat()
    path.write_bytes(b"new")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "save",
    [in_place, replaced, removed_and_written_again, with_a_backup, same_size_and_time],
)
def test_a_save_is_noticed_whatever_the_editor_does(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    path = tmp_path / "exercise.py"
    path.write_bytes(b"old")
    waiting = Waiting(tmp_path)
    save(path)
    assert waiting.result()["exercise.py"][1] == b"new"


def test_a_save_without_a_change_counts(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_bytes(b"same")
    waiting = Waiting(tmp_path)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    waiting.result()


def test_a_new_file_and_a_file_that_goes_count(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path)
    path = tmp_path / "helper.py"
    path.write_bytes(b"x")
    assert set(waiting.result()) == {"helper.py"}
    waiting = Waiting(tmp_path)
    path.unlink()
    assert waiting.result() == {}


def test_two_saves_within_one_second_are_both_noticed(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_bytes(b"0")
    for text in (b"1", b"2", b"3"):
        waiting = Waiting(tmp_path)
        path.write_bytes(text)
        assert waiting.result()["exercise.py"][1] == text


def test_what_a_program_writes_beside_the_exercise_is_not_watched(tmp_path: Path) -> None:
    for name in ("events.log", "data.sqlite", ".exercise.py.swp", "exercise.py~", "4913"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "__pycache__").mkdir()
    assert snapshot(tmp_path) == {}


class Terminal:
    """A tmux window of 80 columns and 24 lines, or another size, with one command in it."""

    def __init__(
        self, tmux: str, socket: Path, command: list[str], size: tuple[int, int] = (80, 24)
    ) -> None:
        self.base = [tmux, "-S", str(socket), "-f", os.devnull]
        # The shell outlives the command, also on Ctrl-C, to say how it ended.
        script = f"trap : INT; {shlex.join(command)}; echo status $?; exec cat"
        self(
            *("new-session", "-d", "-x", str(size[0]), "-y", str(size[1])),
            *("-s", "watch", "-c", str(ROOT)),
            *("sh", "-c", script),
        )

    def __call__(self, *words: str) -> str:
        run = subprocess.run(
            [*self.base, *words], capture_output=True, text=True, encoding="utf-8", check=True
        )
        return run.stdout

    def until(self, ready: Callable[[str], bool], *, seconds: float = 20) -> str:
        """What the screen shows once `ready` says so."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while True:
            shown = self("capture-pane", "-p", "-t", "watch")
            if ready(shown):
                return shown
            assert time.monotonic() < deadline, f"never came; the screen shows:\n{shown}"
            pause.wait(0.05)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    tmux = require("tmux")
    socket = tmp_path / "tmux"
    opened: list[Terminal] = []

    def open_terminal(*words: str) -> Terminal:
        command = [sys.executable, "-m", "tests.mini_course", str(tmp_path / "course"), *words]
        opened.append(Terminal(tmux, socket, command))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one("kill-server")


def test_watching_in_a_terminal(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    course = mini_course.build(tmp_path / "course")
    lesson = course.lesson("1")
    course.start(lesson)
    screen = terminal("check", "1", "--watch")
    ready = "Save to check again. Ctrl-C to stop."
    shown = screen.until(lambda text: ready in text)
    assert "Came back" in shown and "workshop hint 01" in shown

    # Half written: the program does not run, the watch goes on.
    lesson.work.write_text('EVENT = b"data: hel', encoding="utf-8")
    screen.until(lambda text: "SyntaxError" in text and ready in text)

    lesson.work.unlink()
    screen.until(lambda text: "There is no work/01_greeting/exercise.py" in text)

    fresh = lesson.work.with_name(".new")
    fresh.write_text('EVENT = b"data: hello\\n\\n"\nNAME = ""\n', encoding="utf-8")
    fresh.replace(lesson.work)
    shown = screen.until(lambda text: "Call it `greeting`" in text and ready in text)
    assert shown.count(ready) == 1, "each run begins on an empty screen"

    lesson.work.write_text(
        'EVENT = b"data: hello\\n\\n"\nNAME = "greeting"\n', encoding="utf-8"
    )
    shown = screen.until(lambda text: "All 4 checks passed" in text and ready in text)
    assert "uv run workshop start 02" in shown
    assert course.state(lesson) == "done"

    assert "status" not in shown
    screen("send-keys", "-t", "watch", "C-c")
    shown = screen.until(lambda text: "status 0" in text)
    assert "Traceback" not in shown and "Abort" not in shown


def test_watching_needs_a_started_lesson(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    mini_course.build(tmp_path / "course")
    screen = terminal("check", "1", "--watch")
    shown = screen.until(lambda text: "status 2" in text)
    assert "uv run workshop start 01" in shown
