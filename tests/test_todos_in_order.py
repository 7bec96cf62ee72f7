"""Every exercise can be done one TODO after the other, as its file and its notebook have it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.warm import Parents
from workshop.checks import suite_of
from workshop.checks.engine import check_program, checks_of, due_at
from workshop.complaints import todo_of
from workshop.course import Course
from workshop.publishing.starters import partly_solved, todos_in

COURSE = Course.load()
# Neither the starter nor the solution: tests/test_three_proofs.py has these.
ON_THE_WAY = [
    pytest.param(lesson.slug, done, id=f"{lesson.slug}-{done}")
    for lesson in COURSE.lessons
    for done in todos_in(lesson)[:-1]
]
# Lessons in which no check passes before its TODO is done.
NOTHING_FOR_FREE = {"04_stdio_server"}


@pytest.mark.waits
@pytest.mark.parametrize(("slug", "done"), ON_THE_WAY)
def test_what_is_done_passes_and_the_first_failure_is_about_the_next(
    slug: str, done: int, tmp_path: Path, parents: Parents
) -> None:
    lesson = COURSE.lesson(slug)
    for path in lesson.scripts.glob("*.py"):
        shutil.copyfile(path, tmp_path / path.name)
    program = tmp_path / "exercise.py"
    program.write_text(partly_solved(lesson, done + 1), encoding="utf-8")
    suite = suite_of(slug)
    with parents.starting():
        report = check_program(suite, program)
    failed = [result for result in report.results if result.state == "failed"]
    assert all((result.todo or 0) > done for result in failed), report.as_json()
    assert min(result.todo or 0 for result in failed) == done + 1, report.as_json()
    # What Python says about TODOs that are still to be done would lead astray.
    assert all((todo_of(said) or 0) <= done + 1 for said in report.complaints)

    # `check --todo`: what can pass now, does.
    asked = {check.id for check in checks_of(suite, done)}
    due = due_at(done, report.results, suite.checks)
    assert all(result.state == "passed" for result in due if result.id in asked)

    passed = {result.todo for result in report.results if result.state == "passed"}
    assert done in passed
    if slug in NOTHING_FOR_FREE:
        assert passed <= {None, *range(1, done + 1)}, "a check passes without its TODO"
