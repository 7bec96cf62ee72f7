"""`check`: the checks of a lesson, or of one of its TODOs, as a table in the notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass
from io import StringIO

from workshop.course import Course, CourseError


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


class Interrupted(KeyboardInterrupt):
    """The learner stopped the checks: IPython shows this line instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return ["KeyboardInterrupt: the checks were interrupted."]


def check(name: str, *, todo: int | None = None) -> Checked:
    """Run a lesson's checks on the learner's file, all of them or those of one TODO.

    All of them count as progress.
    """
    # Here, so that a notebook without an exercise does not load what checks need.
    from rich.console import Console

    from workshop.cli import run_checks
    from workshop.report_table import report_table
    from workshop.screens import show_report

    course = Course.load()
    try:
        lesson = course.lesson(name)
        if not lesson.work.is_file():
            raise CourseError(
                f"There is no {course.shown(lesson.work)} yet. Run this first:  "
                f'start_exercise("{lesson.number}")'
            )
        report = run_checks(course, lesson, todo=todo)
    except CourseError as error:
        return Checked(False, str(error), f"<p>{html.escape(str(error))}</p>")
    except KeyboardInterrupt:
        raise Interrupted from None
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
    show_report(screen, course, lesson, report)
    return Checked(report.ok, written.getvalue().rstrip(), report_table(course, lesson, report))
