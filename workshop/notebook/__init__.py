"""What the notebooks use: start a program, watch a stream arrive, check the exercise.

    from workshop.notebook import check, listen, post, show_stream, start

    server = start("scripts/05_sse_server/sse_server.py")
    show_stream(server.url + "/sse", events=2)
    server.stop()

    check("05")

Importing it adds the cell magic `%%exercise NN`, which writes the cell to the
learner's file. Paths are counted from the repository's root, wherever the kernel runs.
"""

from __future__ import annotations

import atexit
import hashlib
import html
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from workshop.course import ROOT, Course, CourseError, keep_copy
from workshop.listening import Listener, listen, post, show_stream
from workshop.running import Program, running

__all__ = ["Listener", "check", "listen", "post", "running", "show_stream", "start"]


# --- programs --------------------------------------------------------------------------

_started: dict[Path, tuple[Program, AbstractContextManager[Program]]] = {}


def start(program: str, *arguments: str) -> Program:
    """Run a program of the course on a free port; return once it listens.

    The result has `url`, `port`, `output` (what it printed) and `stop()`. A program
    with the same path that still runs is stopped first, so that a cell can run again;
    when the kernel ends, all are stopped. Raises ProgramError.
    """
    path = _path(program)
    _stop(path)
    running_program = running(path, *arguments, cwd=ROOT)
    # The `with` ends when another cell calls stop, or when the kernel ends.
    started = running_program.__enter__()
    _started[path] = (started, running_program)
    print(f"{program} listens on {started.url}")
    return started


def _path(program: str) -> Path:
    within_work = program.removeprefix("work/")
    return ROOT / program if within_work == program else Course.load().work_root / within_work


def _stop(path: Path) -> None:
    if path in _started:
        _started.pop(path)[1].__exit__(None, None, None)


@atexit.register
def _stop_all() -> None:
    for path in list(_started):
        _stop(path)


# --- the exercise ----------------------------------------------------------------------


def exercise(line: str, cell: str) -> None:
    """`%%exercise NN`: write the cell to the learner's file of lesson NN.

    A cell that is still the starter never replaces work that was changed. A changed
    cell does. What was there is copied first, unless this magic wrote it.
    """
    course = Course.load()
    try:
        lesson = course.lesson(line.strip())
        if not lesson.work.is_file():
            course.start(lesson)
    except CourseError as error:
        print(error)
        return
    text = cell.rstrip() + "\n"
    starter = lesson.starter.read_text(encoding="utf-8").rstrip() + "\n"
    present = lesson.work.read_text(encoding="utf-8").rstrip() + "\n"
    shown = course.shown(lesson.work)
    if text == starter and present != starter:
        print(f"{shown} has your work in it, but this cell is the unchanged starter.")
        print("Your file stays as it is. To go on with it here, copy it into this cell.")
        return
    ours = course.progress.read(lesson).get("cell")
    if present not in (text, starter) and _digest(present) != ours:
        print(f"What was in {shown} is kept as {keep_copy(lesson.work).name}.")
    if text != present:
        lesson.work.write_text(text, encoding="utf-8")
        course.progress.update(lesson, {"cell": _digest(text)})
    print(f"{shown} now has the text of this cell.")
    try:
        compile(text, shown, "exec")
    except SyntaxError as error:
        print(f"Python can't read it yet: {error.msg}, on line {error.lineno}.")
        return
    print(f'Run check("{lesson.number}") to see how far it gets.')


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _add_magic() -> None:
    # A plain Python program, a test for one, may import this module too.
    try:
        from IPython.core.magic import register_cell_magic
    except ImportError:
        return
    with suppress(NameError):  # raised where no IPython runs
        register_cell_magic("exercise")(exercise)


_add_magic()


@dataclass(frozen=True)
class Checked:
    """How the checks of a lesson went: a table in a notebook, lines elsewhere."""

    ok: bool
    text: str
    table: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.table


def check(name: str) -> Checked:
    """Run a lesson's checks on the learner's file, and keep the result as progress."""
    # Here, so that a notebook without an exercise does not load what checks need.
    from rich.console import Console

    from workshop import checks
    from workshop.checks.engine import check_program
    from workshop.report_table import report_table
    from workshop.screens import show_report

    course = Course.load()
    lesson = course.lesson(name)
    if not lesson.work.is_file():
        text = f"There is no {course.shown(lesson.work)} yet: run the exercise cell first."
        return Checked(False, text, f"<p>{html.escape(text)}</p>")
    report = check_program(checks.suite_of(lesson.slug), lesson.work)
    course.record(lesson, len(report.ids("passed")), len(report.results))
    written = StringIO()
    # The plain text is for places that show no HTML: no colours, and none of Rich's HTML.
    screen = Console(
        file=written,
        width=80,
        color_system=None,
        force_jupyter=False,
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    show_report(screen, course, lesson, report, everything=True)
    return Checked(report.ok, written.getvalue().rstrip(), report_table(course, lesson, report))
