"""What the commands print: where you are, how the checks went, hints, the solution.

Plain lines of at most 80 columns. Prose is folded here, not by Rich, so that piped
output has no trailing blanks; what came over the wire is never folded after a
caret was drawn under it.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import chop_cells
from rich.console import Console
from rich.text import Text

from workshop.checks.engine import Report, Result, State
from workshop.checks.gallery import Todo
from workshop.complaints import Complaint
from workshop.course import Course, Lesson
from workshop.doctor import Finding
from workshop.failed import Failed
from workshop.next_step import next_step
from workshop.pointing import point_at, visible
from workshop.publishing.starters import todos_in

WIDEST = 80
TITLE = "Server-Sent Events and MCP, by hand"
INDENT = 7  # of everything under a check's title
LABEL = 11  # width of "Came back" and the like
MOST_COMPLAINTS = 3
# Labels for text. All others are for bytes, which are shown to the last one.
TEXTS = ("Result", "Printed", "Raised", "Returned", "Stuck in")
MOST_LINES = 12  # of what was sent, came back, or was printed


def console(*, stderr: bool = False) -> Console:
    """Where the commands print. No markup and no highlighting: what a learner's program
    says may hold anything, square brackets too."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def width_of(screen: Console) -> int:
    """How many columns a line can have."""
    return min(screen.width, WIDEST)


def line(screen: Console, *parts: str | tuple[str, str]) -> None:
    """Print one line of parts: a text, or (text, style)."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(words, style)
    text.rstrip()
    screen.print(text)


def prose(screen: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    """Print text folded to the width, each line with this indent."""
    for one in _folded(text, width_of(screen) - indent):
        line(screen, " " * indent, (one, style))


def command(screen: Console, before: str, typed: str) -> None:
    """Print the one thing to type next, on its own line, so that it can be copied."""
    line(screen)
    line(screen, before)
    line(screen, "  ", (typed, "bold cyan"))


def _folded(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines += textwrap.wrap(
            paragraph, max(width, 20), break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines


def _marks(screen: Console) -> dict[str, tuple[str, str]]:
    try:
        "✓✗·".encode(screen.encoding)
    except (UnicodeEncodeError, LookupError):
        return {
            "passed": ("ok", "green"),
            "failed": ("no", "bold red"),
            "waiting": ("..", "dim"),
        }
    return {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "waiting": ("·", "dim")}


def show_notices(screen: Console, course: Course) -> None:
    """Say what happened to the learner's progress, if anything did."""
    for notice in course.progress.notices:
        prose(screen, notice, style="yellow")


# --- where you are ---------------------------------------------------------------------


def show_overview(screen: Console, course: Course) -> None:
    """Each lesson with its state and minutes, and the one next thing to type."""
    current, typed = next_step(course)
    width = width_of(screen)
    done = sum(course.is_done(lesson) for lesson in course.released)
    title, count = TITLE, f"{done} of {len(course.released)} lessons done"
    if len(title) + 2 + len(count) <= width:
        line(screen, (title, "bold"), f"{count:>{width - len(title)}}")
    else:
        line(screen, (title, "bold"))
        line(screen, count)
    line(screen)
    states = {one.slug: f"{one.minutes:>3} min  {course.state(one)}" for one in course.released}
    title_width = max((len(one.title) for one in course.released), default=0)
    wide = 6 + title_width + 2 + max(map(len, states.values()), default=0) <= width
    for lesson in course.released:
        here = current is not None and lesson.slug == current.slug
        name = "bold" if here else ""
        titles = [f"{lesson.title:{title_width}}"] if wide else _folded(lesson.title, width - 6)
        state = (states[lesson.slug], _style_of(course, lesson))
        lead = ("> " if here else "  ", "bold cyan"), f"{lesson.number}  "
        line(screen, *lead, (titles[0], name), *(["  ", state] if wide else []))
        # Where that does not fit beside each other, it goes below.
        for more in titles[1:]:
            line(screen, " " * 6, (more, name))
        for more in [] if wide else _folded(state[0].lstrip(), width - 6):
            line(screen, " " * 6, (more, state[1]))
    line(screen)
    if current is None:
        prose(screen, "You have done every lesson. Now build a server of your own.")
        command(screen, "When it runs, type this with the URL of its event stream:", typed)
        return
    prose(screen, f"Lesson {current.number}: {current.summary}")
    line(screen, "  Read  ", course.shown(current.text))
    if current.work.is_file():
        line(screen, "  Edit  ", course.shown(current.work))
    command(screen, "Next, type:", typed)


def _style_of(course: Course, lesson: Lesson) -> str:
    if course.is_done(lesson):
        return "green"
    return "yellow" if lesson.work.is_file() else "dim"


def show_started(
    screen: Console,
    course: Course,
    lesson: Lesson,
    todos: Sequence[Todo],
    kept: Iterable[Path],
    *,
    at: int = 1,
) -> None:
    """What `start` made, and what to do in it. The TODOs before `at` are done."""
    line(screen, (f"{lesson.number}  {lesson.title}", "bold"))
    line(screen)
    line(screen, "  Read  ", course.shown(lesson.text))
    line(screen, "  Edit  ", course.shown(lesson.work))
    for path in kept:
        line(screen, "  Kept  ", course.shown(path), ", what you had before")
    if todos:
        line(screen)
    for todo in todos:
        if todo.number < at:
            line(screen, (f"  TODO {todo.number}  {todo.title}  (done)", "dim"))
        else:
            line(screen, f"  TODO {todo.number}  {todo.title}")
    missing = [
        course.lesson(slug) for slug in lesson.needs if not course.is_done(course.lesson(slug))
    ]
    if missing:
        line(screen)
        names = " and ".join(f"lesson {one.number}" for one in missing)
        prose(screen, f"It builds on {names}, which you have not done yet.", style="yellow")
    command(screen, "Next, type:", f"uv run workshop check {lesson.number} --watch")


# --- how the checks went ---------------------------------------------------------------


def show_report(
    screen: Console,
    course: Course,
    lesson: Lesson,
    report: Report,
    *,
    everything: bool = False,
    listed: bool = False,
) -> None:
    """What failed, the failure to fix first in full; what passed and what waits as numbers.

    With `everything` all failures are shown in full. `listed` shows one line for each check
    instead. Before them comes what Python says about the file: it explains what a missing
    answer does not.
    """
    file = Path(report.subject) if "://" not in report.subject else None
    line(screen, (f"{lesson.number}  {lesson.title}", "bold"))
    line(screen, "    ", (course.shown(file) if file else report.subject, "dim"))
    line(screen)
    show_complaints(screen, course, report)
    if report.complaints:
        line(screen)
    if listed:
        for result in report.results:
            _show_row(screen, report, result)
        line(screen)
    if report.ok:
        _show_passed(screen, course, lesson, report, file)
        return
    failed = report.failures()
    if not listed and (count := len(report.ids("passed"))):
        _show_folded(screen, "passed", f"{count} passed")
    for result in failed if everything or not listed else []:
        in_full = everything or result is failed[0]
        _show_row(screen, report, result, bold=in_full)
        if in_full:
            _show_failure(screen, course, lesson, result, file)
            line(screen)
        if said := waiting(report, result):
            _show_folded(screen, "waiting", said)
            if in_full and result is not failed[-1]:
                line(screen)
    if not listed and not (everything and not report.waiting_for(failed[-1])):
        line(screen)
    _show_count(screen, report)
    if file == lesson.work:
        line(screen, f"One more hint:  uv run workshop hint {lesson.number}")
    if listed and not everything:
        prose(screen, "Leave out --list to see what to fix first.")
    elif not listed:
        more = "" if everything or len(failed) == 1 else "--all to see every failure in full, "
        prose(screen, f"Add {more}--list to see all checks.")


def _show_passed(
    screen: Console, course: Course, lesson: Lesson, report: Report, file: Path | None
) -> None:
    """That all passed, what that means, and what to type next."""
    prose(screen, passed(report), style="bold green")
    if report.todo is not None:
        prose(screen, left_out(report))
    prose(screen, report.untried)
    if file is None or file != lesson.work:
        return
    if report.todo is None:
        _show_gain(screen, lesson)
        _, typed = next_step(course)
        command(screen, f"Lesson {lesson.number} is done. Next, type:", typed)
        return
    again = f"uv run workshop check {lesson.number}"
    following = report.todo + 1
    if following in todos_in(lesson):
        place = place_of_todo(course, file, following)
        line(screen)
        line(screen, f"Next is TODO {following}: {place}")
        command(screen, "Then type:", f"{again} --todo {following}")
    else:
        command(screen, "That was the last TODO. Now run all checks:", again)


def passed(report: Report) -> str:
    """What to say when all checks of the report have passed."""
    count = len(report.results)
    done = f"All {count}" if report.todo is None else f"TODO {report.todo} is done: {count}"
    return f"{done} checks passed in {report.seconds:.1f} s."


def waiting(report: Report, failed: Result) -> str:
    """How many checks wait for this failure; "" if none does."""
    count = len(report.waiting_for(failed))
    verb = "waits" if count == 1 else "wait"
    return f"{count} more {verb} for this one" if count else ""


def _show_gain(screen: Console, lesson: Lesson) -> None:
    """What the learner can do now, and what to show a colleague."""
    if lesson.can:
        line(screen)
        prose(screen, f"Now you can {lesson.can}")
    if lesson.show:
        line(screen)
        line(screen, ("Show a colleague", "bold"))
    for words, commands in parts_of_show(lesson):
        prose(screen, words)
        for one in commands:
            line(screen, "  ", (one, "bold cyan"))


def parts_of_show(lesson: Lesson) -> list[tuple[str, list[str]]]:
    """What to show a colleague: sentences, each with the commands that follow them."""
    parts: list[tuple[str, list[str]]] = []
    for each in lesson.show.splitlines():
        if each.startswith("  "):
            parts[-1][1].append(each.removeprefix("  "))
        elif not parts or parts[-1][1]:
            parts.append((each, []))
        else:
            parts[-1] = (f"{parts[-1][0]} {each}", [])
    return parts


def left_out(report: Report) -> str:
    """How many checks did not run, since only one TODO was asked for."""
    one = report.left_out == 1
    said = f"{report.left_out} other {'check was' if one else 'checks were'} left out."
    if report.postponed:
        verbs = "is about it and needs" if report.postponed == 1 else "are about it and need"
        said += f" {report.postponed} of these {verbs} a later TODO."
    return said


def _show_count(screen: Console, report: Report) -> None:
    counts = [
        f"{len(report.ids('passed'))} passed",
        f"{len(report.ids('failed'))} failed",
    ]
    if waiting := len(report.ids("waiting")):
        counts.append(f"{waiting} waiting")
    line(screen, (f"{', '.join(counts)} in {report.seconds:.1f} s.", "bold"))
    if report.todo is not None:
        prose(screen, left_out(report))
    prose(screen, report.untried)


def _show_folded(screen: Console, state: State, said: str) -> None:
    """One line for all the checks in this state."""
    mark, style = _marks(screen)[state]
    line(screen, " " * 5, (mark, style), " ", (said, "dim" if state == "waiting" else ""))


def _show_row(screen: Console, report: Report, result: Result, *, bold: bool = False) -> None:
    """One check in a line: its number, how it went, and what it waits for or its TODO."""
    mark, style = _marks(screen)[result.state]
    aside = aside_of(report, result)
    head = f"  {report.numbers[result.id]:>2} "
    room = width_of(screen) - len(head) - len(mark) - 1
    # The aside goes to the right of the title's last line, or below if it won't fit.
    titles = _folded(result.title, room)
    if aside and len(titles[-1]) + 2 + len(aside) > room:
        titles.append("")
    words = "bold" if bold else "dim" if result.state == "waiting" else ""
    for number, title in enumerate(titles):
        last = number == len(titles) - 1
        lead = [head, (mark, style), " "] if number == 0 else [" " * (len(head) + 2)]
        tail = f"{aside:>{room - len(title)}}" if last and aside else ""
        line(screen, *lead, (title, words), (tail, "dim"))


def aside_of(report: Report, result: Result) -> str:
    """What stands beside a check: the TODO to blame, or the check that it waits for."""
    if result.state == "failed" and result.todo is not None:
        return f"TODO {result.todo}"
    if result.state == "waiting":
        return f"waits for {report.numbers[result.waits_for]}"
    return ""


def _show_failure(
    screen: Console, course: Course, lesson: Lesson, result: Result, file: Path | None
) -> None:
    """Everything about one failure: what went over the wire, what was wanted, and why."""
    failure = result.failure
    assert failure is not None
    prose(screen, result.rule, indent=INDENT, style="dim")
    room = width_of(screen) - INDENT - LABEL - 1
    if failure.sent:
        _labelled(screen, "Sent", sent_lines(failure.sent, room))
    if failure.received or failure.at is not None:
        style = "red" if failure.label in TEXTS else ""
        _labelled(screen, failure.label, lines_of(failure, room), style)
    elif failure.sent:
        _labelled(screen, failure.label, ["nothing"], "dim")
    if failure.wanted:
        _labelled(screen, "Wanted", _folded(failure.wanted, room), "green")
    _labelled(screen, "Hint", _folded(result.hint, room), "bold")
    line(screen)
    _labelled(screen, "Why", _folded(result.why, room))
    _labelled(screen, "Read", _folded(f'"{result.read}" in {course.shown(lesson.text)}', room))
    if result.todo is not None and file is not None:
        _labelled(screen, f"TODO {result.todo}", [place_of_todo(course, file, result.todo)])


def show_complaints(screen: Console, course: Course, report: Report) -> None:
    """What Python says about the learner's file: each place, its line with a caret, and why."""
    if report.complaints:
        line(screen, "  ", ("Start here. Python says about your file:", "bold"))
    for complaint in report.complaints[:MOST_COMPLAINTS]:
        prose(screen, place_of(course, complaint), indent=4, style="dim")
        for one in code_lines(complaint, width_of(screen) - 6):
            style = "bold red" if one.strip() == "^" else ""
            line(screen, " " * 6, (one, style))
        prose(screen, visible(complaint.said.encode()), indent=6, style="red")


def place_of(course: Course, complaint: Complaint) -> str:
    """`file:line` of a complaint, or the file if no line is to blame."""
    place = course.shown(complaint.path)
    return f"{place}:{complaint.line}" if complaint.line else place


def code_lines(complaint: Complaint, width: int) -> list[str]:
    """The line of code that is complained about, with a caret where there is a place."""
    if not complaint.code:
        return []
    code = complaint.code.encode()
    if complaint.column is None:
        return _rows(visible(code), width)[:1]
    at = len(complaint.code[: complaint.column].encode())
    return point_at(code, at, width=width).splitlines()


def _labelled(screen: Console, label: str, lines: list[str], style: str = "") -> None:
    for number, one in enumerate(lines):
        lead = label if number == 0 else ""
        one_style = "bold red" if one.strip() == "^" else style
        line(screen, " " * INDENT, (f"{lead:{LABEL}}", "dim"), (one, one_style))


def sent_lines(sent: bytes, width: int) -> list[str]:
    """A request as its lines; any other bytes with every line end visible."""
    if re.match(rb"[A-Z]+ /", sent):
        lines = [visible(one) for one in sent.splitlines()]
        return _clipped([row for one in lines for row in _rows(one, width)])
    return received_lines(sent, None, width)


def received_lines(received: bytes, at: int | None, width: int) -> list[str]:
    """What came, with a caret under byte `at`; long lines go on below without one."""
    if at is not None:
        return point_at(received, at, width=width).splitlines()
    lines = _squeezed([visible(one) for one in received.splitlines(keepends=True)])
    return _clipped([row for one in lines for row in _rows(one, width)])


def lines_of(failure: Failed, width: int) -> list[str]:
    """What a failure shows as received: bytes, or a text such as a traceback."""
    if failure.label not in TEXTS or failure.at is not None:
        return received_lines(failure.received, failure.at, width)
    rows = [
        row
        for one in failure.received.rstrip().splitlines()
        for words in textwrap.wrap(visible(one), max(width, 20), break_on_hyphens=False) or [""]
        for row in _rows(words, width)
    ]
    # The end of it: that is where an exception is.
    return rows if len(rows) <= MOST_LINES else ["…", *rows[-(MOST_LINES - 1) :]]


def _squeezed(lines: list[str]) -> list[str]:
    """The lines, where one to three of them that come four times in a row come only once."""
    kept: list[str] = []
    at = 0
    while at < len(lines):
        for size in (1, 2, 3):
            block, times = lines[at : at + size], 1
            while lines[at + times * size : at + (times + 1) * size] == block:
                times += 1
            if times >= 4:
                kept += [*block, f"… the same {times - 1} times more"]
                at += times * size
                break
        else:
            kept.append(lines[at])
            at += 1
    return kept


def _rows(text: str, width: int) -> list[str]:
    return chop_cells(text, width) or [""]


def _clipped(rows: list[str]) -> list[str]:
    if len(rows) <= MOST_LINES:
        return rows
    return [*rows[: MOST_LINES - 1], f"… {len(rows) - MOST_LINES + 1} more lines"]


def place_of_todo(course: Course, file: Path, todo: int) -> str:
    """`file:line` of a TODO's comment, or the file if the comment is gone."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for number, text in enumerate(lines, start=1):
        if re.match(rf"\s*# TODO {todo}\b", text):
            return f"{course.shown(file)}:{number}"
    return course.shown(file)


# --- hints and the solution --------------------------------------------------------------


def show_hint(
    screen: Console, course: Course, lesson: Lesson, todo: Todo, given: int, again: str
) -> None:
    """The first `given` hints of a TODO, the newest last. `again` shows the next one."""
    line(screen, (f"TODO {todo.number}  {todo.title}", "bold"))
    line(screen, f"        {place_of_todo(course, lesson.work, todo.number)}")
    for number, hint in enumerate(todo.hints[:given], start=1):
        newest = number == given
        line(screen)
        line(screen, (f"Hint {number} of {len(todo.hints)}", "dim"))
        prose(screen, hint, indent=2, style="bold" if newest else "")
    left = len(todo.hints) - given
    if left:
        count = "1 hint is left" if left == 1 else f"{left} hints are left"
        command(screen, f"{count}. For the next one, type:", again)
    else:
        command(
            screen,
            "No hints are left. To compare your file with the solution, type:",
            f"uv run workshop solution {lesson.number}",
        )


def show_solution(screen: Console, course: Course, lesson: Lesson, solution: str) -> None:
    """What differs between the learner's file and the solution."""
    mine = lesson.work.read_text(encoding="utf-8", errors="replace")
    if mine.rstrip() == solution.rstrip():
        line(screen, "Your file is the same as the solution, line for line.")
        return
    styles = {"-": "red", "+": "green", "@": "cyan"}
    for one in difflib.unified_diff(
        mine.splitlines(),
        solution.splitlines(),
        f"{course.shown(lesson.work)} (yours)",
        "the solution",
        lineterm="",
    ):
        heading = one.startswith(("--- ", "+++ "))
        line(
            screen,
            (
                visible(one.expandtabs(4).encode()),
                "bold" if heading else styles.get(one[0], ""),
            ),
        )
    command(
        screen,
        "- is yours, + is the solution's. Any other solution that passes is fine:",
        f"uv run workshop check {lesson.number}",
    )


# --- doctor ------------------------------------------------------------------------------


def show_findings(
    screen: Console,
    findings: Sequence[Finding],
    *,
    ready: str = "Ready. What is missing above is optional.",
) -> None:
    """Everything `doctor` looked for; for what is missing, how to get it."""
    marks = _marks(screen)
    look = {
        "there": marks["passed"],
        "missing": (marks["waiting"][0], "yellow"),
        "wrong": marks["failed"],
    }
    part = ""
    longest = 0  # name in this part: a long one takes no room from the other parts
    for finding in findings:
        if finding.part != part:
            part = finding.part
            longest = max(len(one.name) for one in findings if one.part == part)
            line(screen)
            line(screen, (part, "bold"))
        mark, style = look[finding.state]
        indent = 2 + len(mark) + 1 + longest + 2
        said = _folded(finding.said, width_of(screen) - indent)
        line(screen, "  ", (mark, style), f" {finding.name:{longest}}  ", said[0])
        for more in said[1:]:
            line(screen, " " * indent, more)
        for where, how in finding.get if finding.state != "there" else ():
            line(screen, " " * indent, (f"{where:16}", "dim"), how)
    line(screen)
    if wrong := [finding.name for finding in findings if finding.state == "wrong"]:
        line(screen, (f"Not ready: {', '.join(wrong)}.", "bold red"))
    else:
        line(screen, (ready, "bold green"))
