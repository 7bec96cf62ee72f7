"""A report of the checks as an HTML table, for notebooks: the failures, and the rest folded.

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
    aside_of,
    code_lines,
    left_out,
    lines_of,
    parts_of_show,
    passed,
    place_of,
    place_of_todo,
    sent_lines,
    waiting,
)

_WIDTH = 76  # characters of a line of bytes

_MARKS = {
    "passed": ("✓", "#1a9850"),
    "failed": ("✗", "#d73027"),
    "waiting": ("·", "#888888"),
}
# By default Jupyter gives all columns of a table the same width.
_TABLE = "table-layout:auto;border-collapse:collapse;margin:6px 0;width:100%"
_CELL = (
    "text-align:left;vertical-align:top;padding:3px 12px 3px 0;white-space:normal;"
    "overflow-wrap:anywhere"
)
# A long line scrolls: without `contain`, it would make its table wider than a phone.
_PRE = (
    "font-family:monospace;white-space:pre;overflow-x:auto;contain:inline-size;margin:2px 0;"
    "padding:6px 8px;line-height:1.3;background:rgba(128,128,128,.12);border-radius:4px"
)


def report_table(course: Course, lesson: Lesson, report: Report) -> str:
    """The failures with what to fix, the first one unfolded; what passed and waits, folded."""
    failed = report.failures()
    ready = [result for result in report.results if result.state == "passed"]
    if report.ok:
        color = _MARKS["passed"][1]
        summary = passed(report)
    else:
        color = _MARKS["failed"][1]
        summary = (
            f"{len(ready)} of {len(report.results)} checks passed in {report.seconds:.1f} s."
        )
        if not report.complaints:
            summary += f" Fix this first: {failed[0].title}."
    rows = "".join(
        _row(report, result)
        + _below(_details(course, lesson, result, opened=result is failed[0]))
        + _below(_folded(report, waiting(report, result), report.waiting_for(result)))
        for result in failed
    )
    return (
        f'<div style="max-width:52em;border-left:4px solid {color};padding-left:12px">'
        f"<div><b>{lesson.number}&ensp;{escape(lesson.title)}</b></div>"
        f"<div>{_inline(summary)}</div>"
        + (f"<div>{_inline(left_out(report))}</div>" if report.todo is not None else "")
        + (f"<div>{_inline(report.untried)}</div>" if report.untried else "")
        + _complaints(course, report)
        + (f'<table style="{_TABLE}">{rows}</table>' if rows else "")
        + _folded(report, f"{len(ready)} passed", ready)
        + (_gain(lesson) if report.ok and report.todo is None else "")
        + "</div>"
    )


def _folded(report: Report, said: str, results: list[Result]) -> str:
    """Checks of which only the number is seen, until somebody clicks on it."""
    if not results:
        return ""
    mark, color = _MARKS[results[0].state]
    rows = "".join(_row(report, result) for result in results)
    return (
        f'<details><summary style="cursor:pointer"><b style="color:{color}">{mark}</b> '
        f'<span style="opacity:.7">{said}</span></summary>'
        f'<table style="{_TABLE}">{rows}</table></details>'
    )


def _below(content: str) -> str:
    """A row of the table with something under a check's title."""
    if not content:
        return ""
    return f'<tr><td></td><td></td><td style="{_CELL}" colspan="2">{content}</td></tr>'


def _gain(lesson: Lesson) -> str:
    """What the learner can do now, and what to show a colleague."""
    parts = f'<p style="margin:8px 0">Now you can {_inline(lesson.can)}</p>' * bool(lesson.can)
    for number, (words, commands) in enumerate(parts_of_show(lesson)):
        lead = "<b>Show a colleague.</b> " if number == 0 else ""
        parts += f"<div>{lead}{_inline(words)}</div>{_bytes(commands) if commands else ''}"
    return parts


def _complaints(course: Course, report: Report) -> str:
    """What Python says about the learner's file, before anything that follows from it."""
    blocks = "".join(
        _bytes([place_of(course, one), *rows, one.said])
        for one in report.complaints[:MOST_COMPLAINTS]
        for rows in [[f"  {row}" for row in code_lines(one, _WIDTH)]]
    )
    lead = "Start here. Python says about your file:"
    return f'<div style="margin-top:6px"><b>{lead}</b>{blocks}</div>' if blocks else ""


def _row(report: Report, result: Result) -> str:
    mark, color = _MARKS[result.state]
    faint = ";opacity:.6" if result.state == "waiting" else ""
    number, aside = report.numbers[result.id], aside_of(report, result)
    return (
        f'<tr><td style="{_CELL};opacity:.6;white-space:nowrap">{number}</td>'
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
        f"<details{' open' if opened else ''}><summary>{_inline(result.hint)}</summary>"
        f"{parts}</details>"
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
