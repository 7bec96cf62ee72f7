"""The `workshop` command: each command reads its words, does one thing, shows it.

What a command needs is imported when it runs: `workshop` alone answers at once.
"""

from __future__ import annotations

import importlib.metadata
import json
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from dotenv import load_dotenv

from workshop.course import ROOT, Course, CourseError, Lesson, no_such_todo

if TYPE_CHECKING:
    from workshop.checks.engine import Report
    from workshop.checks.gallery import Todo

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 80, "help_option_names": ["-h", "--help"]},
)

NAME = Annotated[
    str | None,
    typer.Argument(
        metavar="NN", help="The lesson: 5, 05 or 05_sse_server. Default: the one in progress."
    ),
]

# Exit status: 0 all is well, 1 checks failed, 2 the command could not do its job.
COULD_NOT = 2


@contextmanager
def explained() -> Iterator[Course]:
    """Yield the course; say in plain words what the learner can fix."""
    from workshop.screens import console, prose, show_notices

    try:
        course = load_course()
        yield course
    except CourseError as error:
        prose(console(stderr=True), str(error), style="red")
        raise typer.Exit(COULD_NOT) from None
    show_notices(console(stderr=True), course)


def load_course() -> Course:
    """The course that this package belongs to, with the settings of its `.env`."""
    load_dotenv(ROOT / ".env")
    return Course.load()


def show_version(asked: bool) -> None:
    """What `--version` prints."""
    if asked:
        typer.echo(f"mcp-sse-workshop {importlib.metadata.version('mcp-sse-workshop')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Learn Server-Sent Events and MCP's SSE transport by building them by hand.

    Without a command: where you are, and what to type next.
    """
    if context.invoked_subcommand is None:
        from workshop.screens import console, show_overview

        with explained() as course:
            show_overview(console(), course)


@app.command()
def start(
    name: NAME = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Start over. A copy of your file is kept.")
    ] = False,
    at: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Start at TODO N: those before it are done. A copy of your file is kept.",
        ),
    ] = None,
) -> None:
    """Copy a lesson's exercise into work/, where you edit it.

    Without NN: show the lesson in progress again, or start the next one.
    """
    from workshop.next_step import in_progress, next_step
    from workshop.screens import console, show_started

    with explained() as course:
        current, _ = next_step(course)
        lesson = current if name is None and current else chosen(course, name, "start")
        before = lesson.backups
        if name is not None or reset or at is not None or lesson != in_progress(course):
            course.start(lesson, reset=reset, at=at)
        kept = sorted(lesson.backups - before)
        show_started(console(), course, lesson, todos_of(lesson), kept, at=at or 1)


@app.command()
def check(
    name: NAME = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again whenever you save.")
    ] = False,
    solution: Annotated[
        bool, typer.Option("--solution", help="Check the solution instead of your file.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Check any server, by the URL of its event stream."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="'NAME: VALUE'",
            help="With --url: send this with every request. Can be repeated.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every failure in full, not only the first.")
    ] = False,
    listed: Annotated[
        bool,
        typer.Option("--list", help="Show one line for each check: passed, failed, waits."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and only JSON.")] = False,
    todo: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Only the checks of this TODO, and those that they need."
        ),
    ] = None,
) -> None:
    """Run a lesson's checks on your file. Exit status 0 only if all passed."""
    if watch and (url or as_json):
        raise typer.BadParameter("use it without --url and --json.", param_hint="--watch")
    if solution and url:
        raise typer.BadParameter("give either --solution or --url.", param_hint="--url")
    if header and not url:
        raise typer.BadParameter("use it with --url.", param_hint="--header")
    if todo is not None and url:
        raise typer.BadParameter("a server at a URL has no TODOs.", param_hint="--todo")
    if watch:
        watch_and_check(name, solution, todo, everything=everything, listed=listed)
        return
    try:
        with explained() as course, json_error(as_json):
            lesson = chosen(course, name, "check")
            report = run_checks(
                course,
                lesson,
                solution=solution,
                url=url,
                headers=headers_in(header or []),
                todo=todo,
            )
            if as_json:
                typer.echo(report.as_json())
            else:
                from workshop.screens import console, show_report

                # Somebody else's server has no first TODO: show everything about it.
                everything = everything or (url is not None and not listed)
                show_report(
                    console(), course, lesson, report, everything=everything, listed=listed
                )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if report.ok else 1)


@contextmanager
def json_error(as_json: bool) -> Iterator[None]:
    """With --json, an error is JSON too, so that a program can always read stdout."""
    try:
        yield
    except CourseError as error:
        if as_json:
            typer.echo(json.dumps({"passed": False, "error": str(error)}, ensure_ascii=False))
        raise


def chosen(course: Course, name: str | None, typed: str) -> Lesson:
    """The lesson called `name`, or the one in progress. Raises CourseError.

    `typed` is the command that was typed without one.
    """
    from workshop.next_step import in_progress, next_step

    if name is not None:
        return course.lesson(name)
    lesson = in_progress(course)
    if lesson is None:
        _, next_command = next_step(course)
        raise CourseError(
            f"No lesson is in progress. Name one, as in `uv run workshop {typed} 05`, "
            f"or go on with the next:\n  {next_command}"
        )
    return lesson


def run_checks(
    course: Course,
    lesson: Lesson,
    *,
    solution: bool = False,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    todo: int | None = None,
) -> Report:
    """Check the learner's file, the solution, or a URL. Raises CourseError.

    Only all the checks of the learner's own file count as progress.
    """
    from workshop import checks
    from workshop.checks.engine import check_program, check_url, todos_checked

    program = lesson.solution if solution else lesson.work
    if url is not None:
        reach(url)
    elif solution and not program.is_file():
        raise CourseError(f"Lesson {lesson.number} has no exercise: there is nothing to check.")
    elif not program.is_file():
        raise not_started(course, lesson)
    try:
        suite = checks.suite_of(lesson.slug)
    except ModuleNotFoundError:
        raise CourseError(f"Lesson {lesson.number} has no checks.") from None
    if url is not None and suite.open_url is None:
        raise CourseError(
            f"The checks of lesson {lesson.number} need a file; they can't check a URL."
        )
    if todo is not None and todo not in todos_checked(suite):
        raise no_such_todo(lesson, todo, todos_checked(suite))
    try:
        if url is not None:
            report = check_url(suite, url, headers)
        else:
            report = check_program(suite, program, todo=todo)
    except Exception as error:
        # A check got an answer that its author did not think of.
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise CourseError(
            f"A check failed to handle what it got: {type(error).__name__}: {error}, in "
            f"{place.filename}:{place.lineno}. That is a bug in the course: please report "
            "it, with your file."
        ) from error
    if url is None and not solution and todo is None:
        course.record(lesson, len(report.ids("passed")), len(report.results))
    return report


def headers_in(lines: list[str]) -> dict[str, str]:
    """What `--header` gave. Raises CourseError."""
    from workshop.given_headers import read_headers

    try:
        return read_headers(lines)
    except ValueError as error:
        raise CourseError(f"--header: {error}.") from None


def reach(url: str) -> None:
    """Raises CourseError when `url` is not a URL, or nothing listens there."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise CourseError(f"{url!r} is not a URL: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CourseError(
            f"{url!r} is not the URL of a server. One looks like http://127.0.0.1:8000/sse"
        )
    try:
        socket.create_connection((parts.hostname, port), timeout=3).close()
    except OSError as error:
        raise CourseError(
            f"Nothing answers at {url}: {error}. Start the server first, in another terminal."
        ) from None


def watch_and_check(
    name: str | None, solution: bool, todo: int | None, *, everything: bool, listed: bool
) -> None:
    """Check again at each save, until Ctrl-C."""
    try:
        from workshop.file_changes import snapshot, wait_for_change
        from workshop.screens import console, line, prose, show_report

        screen = console()
        with explained() as course:
            lesson = chosen(course, name, "check")
            program = lesson.solution if solution else lesson.work
            if not program.is_file():
                run_checks(course, lesson, solution=solution)  # says how to start it
            while True:
                seen = snapshot(program.parent)
                screen.clear()
                try:
                    report = run_checks(course, lesson, solution=solution, todo=todo)
                    show_report(
                        screen, course, lesson, report, everything=everything, listed=listed
                    )
                except CourseError as error:
                    prose(screen, str(error), style="red")  # the file is gone: it may return
                line(screen)
                line(screen, ("Save to check again. Ctrl-C to stop.", "dim"))
                wait_for_change(program.parent, seen)
    except KeyboardInterrupt:
        typer.echo()


@app.command()
def hint(
    name: NAME = None,
    todo: Annotated[
        int | None, typer.Option("--todo", metavar="N", help="A hint for this TODO instead.")
    ] = None,
) -> None:
    """Show one more hint for the first TODO that fails."""
    from workshop.screens import (
        console,
        line,
        show_complaints,
        show_hint,
        show_report,
    )

    with explained() as course:
        lesson = chosen(course, name, "hint")
        todos = {one.number: one for one in todos_of(lesson)}
        screen = console()
        again = f"uv run workshop hint {lesson.number}"
        again += "" if todo is None else f" --todo {todo}"
        if todo is None:
            report = run_checks(course, lesson)
            if report.ok:
                line(screen, f"All checks of lesson {lesson.number} pass: you need no hint.")
                return
            todo = report.failures()[0].todo
            if todo not in todos:
                # It does not run at all. What Python says about the file is the hint.
                show_report(screen, course, lesson, report)
                return
            if report.complaints:
                show_complaints(screen, course, report)
                line(screen)
        elif todo not in todos:
            raise no_such_todo(lesson, todo, todos)
        elif not lesson.work.is_file():
            raise not_started(course, lesson)
        given = course.hints_given(lesson, todo)
        if given < len(todos[todo].hints):
            given = course.give_hint(lesson, todo)
        given = min(given, len(todos[todo].hints))
        show_hint(screen, course, lesson, todos[todo], given, again)


def not_started(course: Course, lesson: Lesson) -> CourseError:
    """Says how to get the learner's file."""
    if lesson.work.is_dir():
        return CourseError(f"{course.shown(lesson.work)} is a folder. Move it out of the way.")
    return CourseError(
        f"There is no {course.shown(lesson.work)} yet. To start the lesson, type\n"
        f"  uv run workshop start {lesson.number}"
    )


def todos_of(lesson: Lesson) -> tuple[Todo, ...]:
    """The TODOs of a lesson's exercise, with their hints."""
    from workshop.checks.gallery import load_gallery

    return load_gallery(lesson.exercise_toml).todos if lesson.exercise_toml.is_file() else ()


@app.command()
def solution(name: NAME = None) -> None:
    """Show the difference between your file and the solution."""
    from workshop.publishing.starters import solution_text
    from workshop.screens import console, show_solution

    with explained() as course:
        lesson = chosen(course, name, "solution")
        if not lesson.solution.is_file():
            raise CourseError(f"Lesson {lesson.number} has no exercise.")
        if not lesson.work.is_file():
            raise CourseError(
                f"There is no {course.shown(lesson.work)} to compare with. Try it yourself "
                f"first:\n  uv run workshop start {lesson.number}"
            )
        text = solution_text(lesson.solution.read_text(encoding="utf-8"))
        show_solution(console(), course, lesson, text)


@app.command()
def read(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NN", help="The lesson, or `glossary`. Default: where you stopped."
        ),
    ] = None,
    section: Annotated[
        str | None,
        typer.Option("--section", metavar="S", help="Begin here: a heading, or its number."),
    ] = None,
    list_them: Annotated[
        bool, typer.Option("--list", help="List the sections, and show none.")
    ] = False,
    answers: Annotated[bool, typer.Option("--answers", help="Show answers unfolded.")] = False,
) -> None:
    """Read a lesson here, section by section. In a pipe: all of it."""
    from workshop.reading.commands import read_glossary, read_lesson
    from workshop.screens import console

    with explained() as course:
        try:
            if name is not None and name.lower() == "glossary":
                read_glossary(console(), course, section)
            else:
                read_lesson(
                    console(), course, name, section, list_them=list_them, answers=answers
                )
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


@app.command()
def lost() -> None:
    """What each lesson gives you, what to do in an hour, and what to do when stuck."""
    from workshop.lost import show_lost
    from workshop.screens import console

    with explained() as course:
        show_lost(console(), course)


@app.command()
def demo(
    name: NAME = None,
    big: Annotated[
        bool, typer.Option("--big", help="For a projector: two terminals, one command each.")
    ] = False,
) -> None:
    """For teachers: a lesson's terminals side by side; a key types each command."""
    from workshop.demo.start import run_demo

    with explained() as course:
        run_demo(course, chosen(course, name, "demo"), big=big)


@app.command()
def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Check that all downloads are here already.")
    ] = False,
) -> None:
    """Check Python, packages, ports, optional tools and the API key."""
    from workshop.doctor import examine
    from workshop.offline import examine_offline
    from workshop.screens import console, show_findings

    with explained() as course:
        if offline:
            findings = examine_offline(course)
            missing = ", ".join(one.name for one in findings if one.state == "missing")
            ready = f"Ready without the network, except for: {missing}."
            show_findings(
                console(), findings, ready=ready if missing else "Ready without the network."
            )
        else:
            findings = examine(course)
            show_findings(console(), findings)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command()
def publish(
    lessons: Annotated[
        list[str] | None, typer.Argument(metavar="NN", help="Lessons; without, all.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare, and write nothing.")] = False,
    replay: Annotated[
        bool, typer.Option(help="Run the programs whose output the lessons show.")
    ] = True,
) -> None:
    """For authors: regenerate everything that is derived from a source."""
    from workshop.publishing.publish import publish as publish_course

    with explained() as course:
        wanted = [course.lesson(name) for name in lessons] if lessons else None
        differences = publish_course(course, wanted, check, replay=replay)
    for difference in differences:
        typer.echo(f"{difference.path}: {difference.what}\n{difference.diff}\n")
    by_hand = sum(not difference.curable for difference in differences)
    if not differences:
        typer.echo("Everything is up to date.")
    elif check:
        typer.echo(f"Differences: {len(differences)}. `uv run workshop publish` writes them.")
    else:
        typer.echo(f"Written: {len(differences) - by_hand}.")
    if by_hand:
        typer.echo(f"{by_hand} can't be written. What to correct first is above.")
    if (check and differences) or by_hand:
        raise typer.Exit(1)


@app.command()
def new(
    number: Annotated[str, typer.Argument(metavar="NN", help="The lesson's number: 08.")],
    name: Annotated[str, typer.Argument(help="What its files are called: agent.")],
    title: Annotated[
        str | None, typer.Option("--title", help="Its title. Default: the name.")
    ] = None,
) -> None:
    """For authors: make the skeleton of a lesson, as a draft."""
    from workshop.new_lesson import new_lesson

    with explained() as course:
        made = new_lesson(course, number, name, title)
        for path in made:
            typer.echo(f"  {path.relative_to(course.root)}")
    number = f"{int(number):02}"
    typer.echo(
        f"Lesson {number} is there as a draft: a tiny lesson that passes all tests.\n"
        'Wherever a file says REPLACE, write your own. How: CONTRIBUTING.md, "Add a lesson".\n'
        f"Then type\n  uv run workshop publish {number}\n  uv run pytest --lesson {number}"
    )


if __name__ == "__main__":
    app()
