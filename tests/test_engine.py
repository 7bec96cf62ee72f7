"""The check engine: order, waiting, running alone, hints, and what a report says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from workshop.checks.engine import (
    COMMON_HINTS,
    STARTS,
    Report,
    Scope,
    Suite,
    check_program,
    check_target,
    check_url,
    todos_checked,
)
from workshop.failed import Failed
from workshop.running import ProgramError

Run = Callable[[str], None]


def passes(target: str) -> None:
    """A check that finds nothing wrong."""


def fails(target: str) -> None:
    raise Failed("why", sent="GET /", received=b"caf\xe9\n", at=3, wanted="cafe")


@contextmanager
def open_program(path: Path) -> Iterator[str]:
    yield f"program {path}"


@contextmanager
def open_url(url: str, headers: Mapping[str, str]) -> Iterator[str]:
    yield f"url {url}"


@pytest.fixture
def suite() -> Suite[str]:
    return Suite(
        "99_test", open_program=open_program, open_url=open_url, start_heading="The exercise"
    )


def add(
    suite: Suite[str],
    id: str,
    run: Run,
    *,
    after: tuple[str, ...] = (),
    alone: bool = False,
    scope: Scope = "lesson",
    todo: int | None = None,
) -> None:
    suite.check(
        id,
        f"The title of {id}",
        why="It matters.",
        read="A heading",
        rule="this course",
        hints={"why": "Look there."},
        after=after,
        alone=alone,
        scope=scope,
        todo=todo,
    )(run)


def states(report: Report) -> dict[str, str]:
    return {result.id: result.state for result in report.results}


def test_results_come_in_the_suites_order_whoever_is_done_first(suite: Suite[str]) -> None:
    second_is_done = threading.Event()

    def waits_for_the_second(target: str) -> None:
        assert second_is_done.wait(5)

    add(suite, "first", waits_for_the_second)
    add(suite, "alone", passes, alone=True)
    add(suite, "second", lambda target: second_is_done.set())
    report = check_target(suite, "it", "target")
    assert [result.id for result in report.results] == [STARTS, "first", "alone", "second"]
    assert report.ok
    assert (report.slug, report.subject) == ("99_test", "it")


def test_a_check_waits_when_one_before_it_did_not_pass(suite: Suite[str]) -> None:
    def must_not_run(target: str) -> None:
        raise AssertionError("it ran")

    add(suite, "base", fails, todo=1)
    add(suite, "next", must_not_run, after=("base",))
    add(suite, "last", must_not_run, after=("next",))
    add(suite, "alone", must_not_run, after=("last",), alone=True)
    add(suite, "other", passes)
    report = check_target(suite, "it", "target")
    assert states(report) == {
        STARTS: "passed",
        "base": "failed",
        "next": "waiting",
        "last": "waiting",
        "alone": "waiting",
        "other": "passed",
    }
    assert [result.waits_for for result in report.results] == [
        "",
        "",
        "base",
        "next",
        "last",
        "",
    ]
    assert not report.ok
    assert report.ids("waiting") == ["next", "last", "alone"]


def test_checks_that_wait_for_each_other_do_not_block_the_pool(suite: Suite[str]) -> None:
    add(suite, "check-0", passes)
    for number in range(1, 60):
        add(suite, f"check-{number}", passes, after=(f"check-{number - 1}",))
    assert check_target(suite, "it", "target").ok


def test_checks_run_side_by_side_and_those_alone_do_not(suite: Suite[str]) -> None:
    together = threading.Barrier(2, timeout=5)
    running: set[str] = set()
    seen_alone: list[set[str]] = []

    def side_by_side(name: str) -> Run:
        def run(target: str) -> None:
            running.add(name)
            together.wait()
            running.discard(name)

        return run

    add(suite, "alone-1", lambda target: seen_alone.append(set(running)), alone=True)
    add(suite, "left", side_by_side("left"))
    add(suite, "right", side_by_side("right"))
    add(suite, "alone-2", lambda target: seen_alone.append(set(running)), alone=True)
    assert check_target(suite, "it", "target").ok
    assert seen_alone == [set(), set()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that Python can run."""
    path = tmp_path / "exercise.py"
    path.write_text("print()\n", encoding="utf-8")
    return path


def test_the_target_is_what_was_opened(suite: Suite[str], file: Path) -> None:
    seen: list[str] = []
    add(suite, "looks", seen.append, scope="protocol")
    check_program(suite, file)
    check_url(suite, "http://there")
    assert seen == [f"program {file}", "url http://there"]


def test_a_url_gets_the_protocols_checks_only(suite: Suite[str]) -> None:
    add(suite, "of-the-lesson", fails)
    # Its prerequisite does not run here, so there is nothing to wait for.
    add(suite, "of-the-protocol", passes, after=("of-the-lesson",), scope="protocol")
    report = check_url(suite, "http://there")
    assert states(report) == {"of-the-protocol": "passed"}
    assert report.ok


def test_a_server_at_a_url_has_none_of_our_todos(suite: Suite[str], file: Path) -> None:
    add(suite, "of-the-protocol", fails, todo=1, scope="protocol")
    assert check_program(suite, file).results[-1].todo == 1
    assert check_url(suite, "http://there").results[-1].todo is None


def test_one_todo_gets_its_checks_and_those_they_need(suite: Suite[str], file: Path) -> None:
    add(suite, "first", passes, todo=1)
    add(suite, "unneeded", fails, todo=1)
    add(suite, "base", passes, after=("first",))
    add(suite, "second", passes, after=("base",), todo=2)
    add(suite, "third", fails, after=("second",), todo=3)
    report = check_program(suite, file, todo=2)
    assert states(report) == dict.fromkeys([STARTS, "first", "base", "second"], "passed")
    assert (report.ok, report.todo, report.left_out, report.postponed) == (True, 2, 2, 0)
    everything = check_program(suite, file)
    assert (everything.todo, everything.left_out, everything.postponed) == (None, 0, 0)


def test_what_one_todo_needs_may_fail_for_an_earlier_one(suite: Suite[str], file: Path) -> None:
    add(suite, "first", fails, todo=1)
    add(suite, "second", passes, after=("first",), todo=2)
    report = check_program(suite, file, todo=2)
    assert states(report) == {STARTS: "passed", "first": "failed", "second": "waiting"}


def test_what_one_todo_needs_of_a_later_one_is_not_due_yet(
    suite: Suite[str], file: Path
) -> None:
    add(suite, "first", passes, todo=1)
    add(suite, "later", fails, todo=2)
    add(suite, "base", passes, after=("later",))
    add(suite, "postponed", passes, after=("base",), todo=1)
    report = check_program(suite, file, todo=1)
    assert states(report) == {STARTS: "passed", "first": "passed"}
    assert (report.ok, report.left_out, report.postponed) == (True, 3, 1)


def test_a_todo_of_which_nothing_would_be_left_does_not_pass(
    suite: Suite[str], file: Path
) -> None:
    add(suite, "later", fails, todo=2)
    add(suite, "first", passes, after=("later",), todo=1)
    report = check_program(suite, file, todo=1)
    assert states(report) == {STARTS: "passed", "later": "failed", "first": "waiting"}


def test_one_todo_of_a_broken_file_says_what_is_broken(
    suite: Suite[str], tmp_path: Path
) -> None:
    add(suite, "first", passes, todo=1)
    add(suite, "second", passes, todo=2)
    (tmp_path / "exercise.py").write_text("def\n", encoding="utf-8")
    report = check_program(suite, tmp_path / "exercise.py", todo=2)
    assert states(report) == {STARTS: "failed", "second": "waiting"}
    assert (report.todo, report.left_out) == (2, 1)


def test_a_todo_without_checks_is_an_error(suite: Suite[str], file: Path) -> None:
    add(suite, "first", passes, todo=1)
    add(suite, "base", passes)
    assert todos_checked(suite) == [1]
    with pytest.raises(ValueError, match="No check of 99_test is about a TODO 2"):
        check_program(suite, file, todo=2)


def test_a_suite_without_open_url_says_that_it_needs_a_file() -> None:
    suite = Suite("99_test", open_program=open_program, start_heading="The exercise")
    with pytest.raises(ValueError, match="need a file"):
        check_url(suite, "http://there")


def test_a_program_that_does_not_start_is_one_failure_and_all_others_wait(
    file: Path,
) -> None:
    @contextmanager
    def broken(path: Path) -> Iterator[str]:
        raise ProgramError("It ended with status 1. It printed:\nNameError")
        yield ""

    suite = Suite(
        "99_test", open_program=broken, start_heading="The exercise", start_hint="Read it."
    )
    add(suite, "base", passes)
    add(suite, "alone", passes, alone=True)
    report = check_program(suite, file)
    assert states(report) == {STARTS: "failed", "base": "waiting", "alone": "waiting"}
    starts = report.results[0]
    assert starts.hint == "Read it."
    assert starts.failure is not None
    assert b"NameError" in starts.failure.received
    assert {result.waits_for for result in report.results[1:]} == {STARTS}


@pytest.mark.parametrize("hint", COMMON_HINTS)
def test_any_check_may_give_a_common_hint(suite: Suite[str], hint: str) -> None:
    def run(target: str) -> None:
        raise Failed(hint)

    add(suite, "base", run)
    assert check_target(suite, "it", "target").results[1].hint == COMMON_HINTS[hint]


def test_an_exception_that_is_no_finding_is_not_hidden(suite: Suite[str]) -> None:
    def has_a_bug(target: str) -> None:
        raise ZeroDivisionError

    add(suite, "base", has_a_bug)
    with pytest.raises(ZeroDivisionError):
        check_target(suite, "it", "target")


@pytest.mark.parametrize(
    ("id", "after", "message"),
    [
        ("base", (), "two checks called 'base'"),
        ("next", ("later",), "'later', which is not above it"),
        ("next", ("alone",), "'alone', which runs alone, last"),
    ],
)
def test_a_suite_that_cannot_work_is_refused(
    suite: Suite[str], id: str, after: tuple[str, ...], message: str
) -> None:
    add(suite, "base", passes)
    add(suite, "alone", passes, alone=True)
    with pytest.raises(ValueError, match=message):
        add(suite, id, passes, after=after)


def test_json_has_everything_that_the_screen_has(suite: Suite[str]) -> None:
    add(suite, "base", fails, todo=2)
    add(suite, "next", passes, after=("base",))
    said = json.loads(check_target(suite, "here.py", "target").as_json())
    assert (said["lesson"], said["subject"], said["passed"]) == ("99_test", "here.py", False)
    starts, base, waiting = said["checks"]
    assert starts["state"] == "passed"
    assert "waits_for" not in starts
    assert waiting["waits_for"] == "base"
    wanted = {
        "id": "base",
        "title": "The title of base",
        "state": "failed",
        "rule": "this course",
        "todo": 2,
        "hint": "why",
        "hint_text": "Look there.",
        "sent": "GET /",
        "received": "caf\\xe9\n",
        "at": 3,
        "wanted": "cafe",
        "why": "It matters.",
        "read": "A heading",
    }
    assert {key: base[key] for key in wanted} == wanted
