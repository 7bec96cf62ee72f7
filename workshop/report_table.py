"""A report of the checks as an HTML table, for notebooks.

Styles are set on the elements themselves, and every colour is
readable on both a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from workshop.checks.engine import Report, Result
from workshop.course import Course, Lesson
from workshop.screens import (
    MOST_COMPLAINTS,
    code_lines,
    failures,
    lines_of,
    place_of,
    place_of_todo,
    sent_lines,
)

_WIDTH = 76  # characters of a line of bytes

_MARKS = {
    "passed": ("✓", "#1a9850"),
    "failed": ("✗", "#d73027"),
    "waiting": ("·", "#888888"),
}
# By default Jupyter gives all columns of a table the same width.
_TABLE = "table-layout:auto;border-collapse:collapse;margin:6px 0;width:100%"
_CELL = "text-align:left;vertical-align:top;padding:3px 12px 3px 0;white-space:normal"
_PRE = (
    "font-family:monospace;white-space:pre;overflow-x:auto;margin:2px 0;padding:6px 8px;"
    "line-height:1.3;background:rgba(128,128,128,.12);border-radius:4px"
)


def report_table(course: Course, lesson: Lesson, report: Report) -> str:
    """All checks in order; under each failure what to fix, the first one unfolded."""
    numbers = {result.id: number for number, result in enumerate(report.results, start=1)}
    failed = failures(report)
    rows = "".join(
        _row(numbers, result)
        + (
            _details(course, lesson, result, opened=result is failed[0])
            if result in failed
            else ""
        )
        for result in report.results
    )
    passed = len(report.ids("passed"))
    if report.ok:
        summary = f"All {passed} checks passed in {report.seconds:.1f} s."
    else:
        summary = (
            f"{passed} of {len(report.results)} checks passed in {report.seconds:.1f} s. "
            + (f"Fix this first: {failed[0].title}." if failed else "")
        )
    color = _MARKS["passed" if report.ok else "failed"][1]
    return (
        f'<div style="max-width:52em;border-left:4px solid {color};padding-left:12px">'
        f"<div><b>{lesson.number}&ensp;{escape(lesson.title)}</b></div>"
        f"<div>{_inline(summary)}</div>"
        f"{_complaints(course, report)}"
        f'<table style="{_TABLE}">{rows}</table></div>'
    )


def _complaints(course: Course, report: Report) -> str:
    """What Python says about the learner's file, before anything that follows from it."""
    return "".join(
        f'<div style="margin-top:6px">{_bytes([place_of(course, one), *rows, one.said])}</div>'
        for one in report.complaints[:MOST_COMPLAINTS]
        for rows in [[f"  {row}" for row in code_lines(one, _WIDTH)]]
    )


def _row(numbers: dict[str, int], result: Result) -> str:
    mark, color = _MARKS[result.state]
    aside, faint = "", ""
    if result.state == "failed" and result.todo is not None:
        aside = f"TODO {result.todo}"
    elif result.state == "waiting":
        aside, faint = f"waits for {numbers[result.waits_for]}", ";opacity:.6"
    return (
        f'<tr><td style="{_CELL};opacity:.6;white-space:nowrap">{numbers[result.id]}</td>'
        f'<td style="{_CELL};color:{color};white-space:nowrap"><b>{mark}</b></td>'
        f'<td style="{_CELL}{faint};width:100%">{_inline(result.title)}</td>'
        f'<td style="{_CELL};opacity:.6;white-space:nowrap">{aside}</td></tr>'
    )


def _details(course: Course, lesson: Lesson, result: Result, *, opened: bool) -> str:
    parts = "".join(
        f'<div style="margin-top:6px"><span style="opacity:.6">{label}</span> {text}</div>'
        for label, text in _parts(course, lesson, result)
    )
    return (
        f'<tr><td></td><td></td><td style="{_CELL}" colspan="2">'
        f"<details{' open' if opened else ''}><summary>{_inline(result.hint)}</summary>"
        f"{parts}</details></td></tr>"
    )


def _parts(course: Course, lesson: Lesson, result: Result) -> Iterator[tuple[str, str]]:
    failure = result.failure
    assert failure is not None
    if failure.sent:
        yield "Sent", _bytes(sent_lines(failure.sent, _WIDTH))
    if failure.received or failure.at is not None:
        yield failure.label, _bytes(lines_of(failure, _WIDTH))
    if failure.wanted:
        yield "Wanted", _inline(failure.wanted)
    yield "Why", f"{_inline(result.why)} ({_inline(result.rule)})"
    heading = f"“{escape(result.read)}” in {escape(course.shown(lesson.text))}"
    yield "Read", heading
    if result.todo is not None:
        yield "Where", escape(place_of_todo(course, Path(lesson.work), result.todo))


def _bytes(lines: list[str]) -> str:
    return f'<pre style="{_PRE}">{escape(chr(10).join(lines))}</pre>'


def _inline(text: str) -> str:
    """Prose with `code` between backticks."""
    words = escape(text).split("`")
    if len(words) % 2 == 0:
        return escape(text)
    return "".join(
        f"<code>{word}</code>" if number % 2 else word for number, word in enumerate(words)
    )
