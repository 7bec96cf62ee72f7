"""Open a demo in tmux, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType

from workshop.course import Course, CourseError, Lesson
from workshop.demo.steps import steps_of
from workshop.demo.tmux import Tmux, processes_on
from workshop.doctor import TOOLS
from workshop.publishing.sandbox import sandbox, sandbox_environment

OPTIONS = (
    ("status", "off"),
    ("mouse", "on"),  # a click into a pane, and you type there; one into the last, and back
    ("history-limit", "5000"),
    ("escape-time", "0"),
    ("pane-border-status", "top"),
    ("pane-border-format", "#{?#{@next},#[reverse],} #{@name} #[default]"),
    ("update-environment", ""),
)

LEAVING = 3.0
"""How long the programs of a demo have to end after Ctrl-C, in seconds."""


def run_demo(course: Course, lesson: Lesson, *, big: bool = False) -> None:
    """Show the lesson's demo until it is ended. Raises CourseError.

    Its commands run in a copy of the course's folder, so that they change nothing of
    the learner's. When this returns, its terminals and their programs have ended.
    """
    program = shutil.which("tmux")
    if program is None:
        install = next(tool.get for tool in TOOLS if tool.name == "tmux")
        ways = "".join(f"\n  {command}    ({where})" for where, command in install)
        raise CourseError(f"A demo needs tmux, which is not installed. To get it:{ways}")
    if not lesson.text.is_file() or not steps_of(lesson):
        raise CourseError(f"Lesson {lesson.number} has no commands to type.")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CourseError("A demo needs a terminal of its own, not a pipe.")
    with _signals_as_exits(), sandbox(course.root) as folder:
        tmux, error = Tmux(program, folder.parent / "tmux"), folder.parent / "error.txt"
        env = sandbox_environment(folder)
        for name in ("TMUX", "TMUX_PANE"):  # in somebody's own tmux, too
            env.pop(name, None)
        columns, rows = os.get_terminal_size()
        new = ["new-session", "-d", "-x", str(columns), "-y", str(rows), "-s", "demo"]
        new += ["-c", str(course.root), sys.executable, "-m", "workshop.demo.control"]
        new += [str(course.root), lesson.slug, str(folder), str(os.getpid())]
        new += ["--big"] if big else []
        new += [";", "set-option", "-p", "@name", "demo"]
        for name, value in OPTIONS:
            new += [";", "set-option", "-g", name, value]
        try:
            try:
                subprocess.run([*tmux.base, *new], env=env, check=True)
                attached = subprocess.run(
                    [*tmux.base, "attach-session"],
                    env=env,
                    stderr=subprocess.PIPE,
                    text=True,
                    check=False,
                )
            finally:
                # Nothing may interrupt what follows: what is left then would be left for ever.
                for each in (*_LEAVING_SIGNALS, signal.SIGINT):
                    signal.signal(each, signal.SIG_IGN)
        finally:
            # A `finally` of its own: a closed window ends `attach-session` and sends us a
            # signal, which may come in the lines above and leave them by an exception.
            put_away(tmux)
        if error.is_file():
            raise CourseError(f"The demo has failed:\n{error.read_text(encoding='utf-8')}")
        if attached.returncode != 0:
            raise CourseError(f"tmux could not show the demo: {attached.stderr.strip()}")


def put_away(tmux: Tmux) -> None:
    """End whatever runs in the demo's panes, as Ctrl-C does, and then the server."""
    listed = tmux("list-panes", "-s", "-F", "#{pane_id} #{pane_pid} #{pane_tty}", check=False)
    panes = [line.split() for line in listed.splitlines()]
    deadline = time.monotonic() + LEAVING
    while running := [pane for pane, shell, tty in panes if processes_on(tty, shell)]:
        if time.monotonic() > deadline:
            break
        for pane in running:
            tmux("send-keys", "-t", pane, "C-c", check=False)
        time.sleep(0.3)
    for _, shell, tty in panes:
        for process in processes_on(tty, shell):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    tmux("kill-server", check=False)


_LEAVING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program by an exception, so that all is put away."""

    def leave(number: int, frame: FrameType | None) -> None:
        # A window that is closed sends several: the first one is enough.
        for each in _LEAVING_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    handled = (*_LEAVING_SIGNALS, signal.SIGINT)
    before = {each: signal.getsignal(each) for each in handled}
    for each in _LEAVING_SIGNALS:
        signal.signal(each, leave)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
