"""Run the checks of a lesson against a program or a URL, and say what each one found.

A check is a function that takes the thing under check and raises `Failed` when
it is wrong. `Suite` collects the checks of one lesson. A check may come `after`
others: when one of those did not pass, it waits instead of failing, so that one
mistake gives one failure and the learner sees what to fix first.

What Python itself says of the learner's file (`Report.complaints`) comes before all that:
an exception or a missing `await` explains failures that are about something else.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

from workshop.complaints import WAS_ABORTED, Complaint, complaints_in, line_it_ran, todo_of
from workshop.failed import Failed
from workshop.given_headers import without_secrets
from workshop.learners_file import broken, doubts
from workshop.running import Program, ProgramError, recorded

T = TypeVar("T")

OpenUrl: TypeAlias = Callable[[str, Mapping[str, str]], AbstractContextManager[T]]
Scope = Literal["protocol", "lesson"]
State = Literal["passed", "failed", "waiting"]

STARTS = "starts"

# Hints that any check may give. What a lesson's checks say themselves is in the lesson.
COMMON_HINTS = {
    "broken-file": "Python can't run the file as it is, so nothing else can be checked yet.",
    "no-connection": "The server closed or refused the connection instead of answering. "
    "If it printed an exception, that names the line.",
    "no-answer": "The server accepted the request and sent no answer in time. "
    "Does something wait forever, or block the event loop?",
    "crashed": "Your code raised an exception. The end of the traceback names the line.",
    "hangs": "Your code was still running after a second. Is there a loop that never ends?",
}


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One thing that must be so, and everything a learner needs when it is not."""

    id: str
    title: str
    run: Callable[[T], None]
    why: str
    read: str  # the heading of the lesson's text that explains it
    rule: str  # where the rule comes from
    hints: dict[str, str]
    todo: int | None = None  # the exercise's TODO that makes it pass
    after: tuple[str, ...] = ()
    scope: Scope = "lesson"  # "protocol": also meaningful for anybody's server
    alone: bool = False  # runs when no other check does


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went. `failure` is set exactly when `state` is "failed"."""

    id: str
    title: str
    state: State
    why: str
    read: str
    rule: str
    todo: int | None
    failure: Failed | None = None
    hint: str = ""
    waits_for: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """The result as JSON values, for `workshop check --json`."""
        found: dict[str, object] = {
            "id": self.id,
            "title": self.title,
            "state": self.state,
            "rule": self.rule,
            "todo": self.todo,
            "seconds": round(self.seconds, 3),
        }
        if self.waits_for:
            found["waits_for"] = self.waits_for
        if self.failure is not None:
            found |= {
                "hint": self.failure.hint,
                "hint_text": self.hint,
                "sent": self.failure.sent.decode("utf-8", "backslashreplace"),
                "received": self.failure.received.decode("utf-8", "backslashreplace"),
                "at": self.failure.at,
                "wanted": self.failure.wanted,
                "why": self.why,
                "read": self.read,
            }
        return found


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run, in the order of the lesson."""

    slug: str
    subject: str  # the file or URL that was checked
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    complaints: list[Complaint] = field(default_factory=list)  # only when something failed
    todo: int | None = None  # set when only the checks of this TODO ran, and what they need
    left_out: int = 0  # how many have no result for that reason
    postponed: int = 0  # how many of these are of that TODO, and need a later one
    untried: str = ""  # what this machine lacks for trying it, and what was only read therefore

    @property
    def ok(self) -> bool:
        return all(result.state == "passed" for result in self.results)

    def ids(self, state: State) -> list[str]:
        """The ids of the checks in this state."""
        return [result.id for result in self.results if result.state == state]

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each check by its id, counted from 1 in the order of the lesson."""
        return {result.id: number for number, result in enumerate(self.results, start=1)}

    def failures(self) -> list[Result]:
        """What failed, in the order in which it should be fixed: by TODO, then as listed."""
        failed = [result for result in self.results if result.state == "failed"]
        return sorted(failed, key=lambda result: result.todo or 0)

    def waiting_for(self, failed: Result) -> list[Result]:
        """What waits for this failure, or for something that waits for it."""
        waiting: list[Result] = []
        ids = {failed.id}
        # What a check comes after is above it.
        for result in self.results:
            if result.waits_for in ids:
                ids.add(result.id)
                waiting.append(result)
        return waiting

    def as_json(self) -> str:
        return json.dumps(
            {
                "lesson": self.slug,
                "subject": self.subject,
                "todo": self.todo,
                "left_out": self.left_out,
                "postponed": self.postponed,
                "untried": self.untried,
                "passed": self.ok,
                "seconds": round(self.seconds, 3),
                "complaints": [complaint.as_dict() for complaint in self.complaints],
                "checks": [result.as_dict() for result in self.results],
            },
            indent=2,
            ensure_ascii=False,
        )


class Suite(Generic[T]):
    """The checks of one lesson, and how to open what they check.

    `open_program(path)` starts the file at `path` and yields the target;
    it raises ProgramError when that can't be done, which fails the built-in
    check "starts". `open_url(url, headers)` yields a target for a server that already runs,
    whose requests carry these headers; a suite without one can't be run against a URL.
    `printed(target)` is what its programs printed, for a suite that does not start them with
    `workshop.running`. `untried()` says what could not be tried on this machine, at the end
    of each report.
    """

    def __init__(
        self,
        slug: str,
        *,
        open_program: Callable[[Path], AbstractContextManager[T]],
        open_url: OpenUrl[T] | None = None,
        printed: Callable[[T], str] | None = None,
        untried: Callable[[], str] = str,
        start_heading: str,
        start_title: str = "The program starts and listens on the port it is given",
        start_hint: str = "Run the file yourself and read the last lines it prints.",
    ) -> None:
        self.slug = slug
        self.open_program = open_program
        self.open_url = open_url
        self.printed = printed
        self.untried = untried
        self.checks: list[Check[T]] = [
            Check(
                id=STARTS,
                title=start_title,
                run=lambda target: None,
                why="Nothing else can be checked before it runs.",
                read=start_heading,
                rule="this course",
                hints={"did-not-start": start_hint},
            )
        ]

    def check(
        self,
        id: str,
        title: str,
        *,
        why: str,
        read: str,
        rule: str,
        hints: dict[str, str],
        todo: int | None = None,
        after: Iterable[str] = (),
        scope: Scope = "lesson",
        alone: bool = False,
    ) -> Callable[[Callable[[T], None]], Callable[[T], None]]:
        """Add the decorated function to the suite. Its prerequisites must be above it."""
        known = {check.id: check for check in self.checks}
        if id in known:
            raise ValueError(f"{self.slug} has two checks called {id!r}")
        for other in after:
            if other not in known:
                raise ValueError(f"{id!r} comes after {other!r}, which is not above it")
            if known[other].alone and not alone:
                raise ValueError(f"{id!r} can't wait for {other!r}, which runs alone, last")

        def add(run: Callable[[T], None]) -> Callable[[T], None]:
            self.checks.append(
                Check(
                    id=id,
                    title=title,
                    run=run,
                    why=why,
                    read=read,
                    rule=rule,
                    hints=hints,
                    todo=todo,
                    after=tuple(after),
                    scope=scope,
                    alone=alone,
                )
            )
            return run

        return add


def check_program(suite: Suite[T], program: Path, todo: int | None = None) -> Report:
    """Start `program` and run the checks of the suite on it.

    With `todo`, only the checks of this TODO and those that they come after; ValueError if
    there are none. What has to wait for a later TODO is left out, too.
    """
    checks = suite.checks if todo is None else checks_of(suite, todo)
    if complaint := broken(program):
        results = _not_started(suite, checks, Failed("broken-file"))
        report = Report(suite.slug, str(program), results, complaints=[complaint])
    else:
        opening = suite.open_program(program)
        report = _report(suite, str(program), opening, checks, program, todo)
    if todo is None:
        return report
    ids = {result.id for result in report.results}
    return replace(
        report,
        todo=todo,
        left_out=len(suite.checks) - len(ids),
        postponed=sum(check.todo == todo and check.id not in ids for check in checks),
    )


def todos_checked(suite: Suite[T]) -> list[int]:
    """The numbers of the TODOs that the suite's checks are about."""
    return sorted({check.todo for check in suite.checks if check.todo is not None})


def checks_of(suite: Suite[T], todo: int) -> list[Check[T]]:
    """The checks of a TODO and, however far back, those that they come after."""
    needed = {check.id for check in suite.checks if check.todo == todo}
    if not needed:
        raise ValueError(f"No check of {suite.slug} is about a TODO {todo}.")
    # What a check comes after is above it.
    for check in reversed(suite.checks):
        if check.id in needed:
            needed |= {*check.after}
    return [check for check in suite.checks if check.id in needed or check.id == STARTS]


def due_at(todo: int, results: list[Result], checks: list[Check[T]]) -> list[Result]:
    """The results without what can't pass yet: what needs a TODO that comes after this one.

    `checks` are those of the results. Nothing is left out if nothing about the TODO is left.
    """
    later: set[str] = set()
    due: list[Result] = []
    for check, result in zip(checks, results, strict=True):
        if (result.state == "failed" and (check.todo or 0) > todo) or result.waits_for in later:
            later.add(result.id)
        else:
            due.append(result)
    about = {check.id for check in checks if check.todo == todo}
    return due if any(result.id in about for result in due) else results


def check_url(suite: Suite[T], url: str, headers: Mapping[str, str] | None = None) -> Report:
    """Run the protocol's checks of the suite on the server at `url`.

    `headers` go with every request, unless a check sets them itself. The report hides them.
    """
    if suite.open_url is None:
        raise ValueError(f"The checks of {suite.slug} need a file; they can't check a URL.")
    # The author of that server did not fill in our TODOs.
    wanted = [replace(check, todo=None) for check in suite.checks if check.scope == "protocol"]
    given = headers or {}
    report = _report(suite, url, suite.open_url(url, given), wanted)
    for failure in [result.failure for result in report.results if result.failure is not None]:
        failure.sent = without_secrets(failure.sent, given)
        failure.received = without_secrets(failure.received, given)
    return report


def check_target(suite: Suite[T], subject: str, target: T) -> Report:
    """Run all checks of the suite on a target that is already open."""
    return _report(suite, subject, nullcontext(target), suite.checks)


def _report(
    suite: Suite[T],
    subject: str,
    opening: AbstractContextManager[T],
    checks: list[Check[T]],
    file: Path | None = None,
    todo: int | None = None,
) -> Report:
    began = time.monotonic()
    printed: list[str] = []
    not_started = None
    with recorded() as programs:
        try:
            with opening as target:
                results = _run(checks, target)
                if file is not None:
                    results = _where_it_hangs(results, programs)
                    _let_end(results, programs)
            if suite.printed is not None:
                printed.append(suite.printed(target))
        except ProgramError as error:
            printed.append(str(error))
            not_started = Failed(
                "did-not-start",
                received=str(error),
                wanted="a program that runs",
                label="Result",
            )
            results = _not_started(suite, checks, not_started)
    if todo is not None:
        results = due_at(todo, results, checks)
    seconds = time.monotonic() - began
    report = Report(suite.slug, subject, results, seconds, untried=suite.untried())
    if file is None or report.ok:
        return report
    # Some of it is printed only as the programs end.
    printed += [program.output for program in programs]
    first = report.failures()[0]
    if first.failure is not None and first.failure is not not_started:
        # A driver of ours that caught an exception tells of it there.
        printed.append(first.failure.received.decode("utf-8", "replace"))
    complaints = [
        complaint
        for complaint in _complaints(file, printed)
        # A TODO that comes later may well raise: it is not done yet.
        if first.todo is None or (todo_of(complaint) or 0) <= first.todo
    ]
    if complaints and not_started is not None:
        not_started.received = b""  # they say it more clearly
    if not complaints:
        complaints = [_end_of(one) for one in programs if one.ended_by_itself][:1]
    if not complaints and not_started is not None and (said := printed[0].strip()):
        # We ended it ourselves: its last lines are about that, and the first says why.
        told = said.splitlines()[0 if WAS_ABORTED in said else -1]
        complaints = [Complaint(file, told.removesuffix(" The program printed:"))]
    return replace(report, complaints=complaints)


def _let_end(results: list[Result], programs: list[Program]) -> None:
    """Where a connection broke off, wait for the end of a program that is about to end."""
    if any(one.failure and one.failure.hint == "no-connection" for one in results):
        for program in programs:
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(1)


def _end_of(program: Program) -> Complaint:
    """How a program ended that nobody ended, and what it said last. No line is to blame."""
    said = f"The program ended, with status {program.process.returncode}."
    if printed := program.output.strip():
        said += f" The last line that it printed: {printed.splitlines()[-1].strip()}"
    return Complaint(program.path, said)


def _where_it_hangs(results: list[Result], programs: list[Program]) -> list[Result]:
    """Where an answer did not come, blame the TODO above the line that a program is stuck in.

    That is seldom the TODO that is about the answer.
    """
    hang = [one for one in results if one.failure and one.failure.hint == "no-answer"]
    lines = [line for program in programs if hang and (line := program.line_it_runs())]
    todo = todo_of(lines[0]) if lines else None
    if todo is None:
        return results
    return [replace(one, todo=todo) if one in hang else one for one in results]


def _complaints(file: Path, printed: list[str]) -> list[Complaint]:
    """What Python printed about the file, and what it did not get to. Each thing once."""
    found = [line for text in printed if (line := line_it_ran(text, file))]
    found += [one for text in printed for one in complaints_in(text, file)]
    known = {(one.line, one.said.partition(". ")[0]) for one in found}
    found += [
        one for one in doubts(file) if (one.line, one.said.partition(". ")[0]) not in known
    ]
    # A line that fails several times, about another key each time, is one place to look at.
    places = {(one.path, one.line, one.said.partition(":")[0]): one for one in reversed(found)}
    return list(reversed(places.values()))


def _not_started(suite: Suite[T], checks: list[Check[T]], failure: Failed) -> list[Result]:
    waiting = [_result(check, "waiting", waits_for=STARTS) for check in checks]
    return [
        _result(suite.checks[0], "failed", failure=failure),
        *(result for result in waiting if result.id != STARTS),
    ]


def _run(checks: list[Check[T]], target: T) -> list[Result]:
    """Run the checks side by side, then those that must be alone; keep their order."""
    futures: dict[str, Future[Result]] = {}
    # The pool starts work in the order it was handed in and a check's
    # prerequisites are above it, so no check can wait for one that can't start.
    pool = ThreadPoolExecutor(max_workers=16)
    try:
        for check in checks:
            if not check.alone:
                futures[check.id] = pool.submit(_run_one, check, target, futures)
        results = {id: future.result() for id, future in futures.items()}
    finally:
        # After an interrupt no more checks begin, and those that run come to their end.
        pool.shutdown(cancel_futures=True)
    for check in checks:
        if check.alone:
            done: Future[Result] = Future()
            done.set_result(_run_one(check, target, futures))
            futures[check.id] = done
            results[check.id] = done.result()
    return [results[check.id] for check in checks]


def _run_one(check: Check[T], target: T, others: dict[str, Future[Result]]) -> Result:
    for id in check.after:
        # A prerequisite can be missing when only some checks of the suite run.
        if id in others and others[id].result().state != "passed":
            return _result(check, "waiting", waits_for=id)
    began = time.monotonic()
    try:
        check.run(target)
    except Failed as failure:
        return _result(check, "failed", failure=failure, seconds=time.monotonic() - began)
    return _result(check, "passed", seconds=time.monotonic() - began)


def _result(
    check: Check[T],
    state: State,
    *,
    failure: Failed | None = None,
    waits_for: str = "",
    seconds: float = 0.0,
) -> Result:
    hint = ""
    if failure is not None:
        hint = check.hints.get(failure.hint) or COMMON_HINTS[failure.hint]
    return Result(
        id=check.id,
        title=check.title,
        state=state,
        why=check.why,
        read=check.read,
        rule=check.rule,
        todo=failure.todo if failure is not None and failure.todo else check.todo,
        failure=failure,
        hint=hint,
        waits_for=waits_for,
        seconds=seconds,
    )
