"""`workshop lost`, and the routes of the manifest that it and the README show."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests import mini_course
from workshop import cli
from workshop.course import Course, CourseError
from workshop.lost import STUCK
from workshop.publishing.readme import route_table
from workshop.routes import routes, text_minutes

COURSE = Course.load()

ROUTE = """
[[route]]
name = "A quarter"
minutes = {minutes}
whole = {whole}
read = []
why = "You are polite."
"""


def lost(work: Path) -> str:
    result = CliRunner().invoke(cli.app, ["lost"], env={"WORKSHOP_WORK": str(work)})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_lesson_and_every_route_is_there_with_its_minutes(tmp_path: Path) -> None:
    shown = lost(tmp_path)
    words = " ".join(shown.split())
    for lesson in COURSE.released:
        assert f"{lesson.number} {lesson.title} {lesson.minutes} min" in words
        assert lesson.summary in words
    assert [route.name for route in routes(COURSE)] == ["One hour", "Half a day", "A day"]
    for route in routes(COURSE):
        assert route.total <= route.minutes and route.why in words
        assert f"If you have {route.name.lower()}" in shown
        assert f" {route.total} min together" in words
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    assert shown.endswith("\n  uv run workshop start 01\n")


def test_the_minutes_of_a_route_are_the_lessons() -> None:
    half_a_day = routes(COURSE)[1]
    first, second, fifth = (COURSE.lesson(number) for number in ("1", "2", "5"))
    assert half_a_day.read == (fifth,)
    assert half_a_day.total == first.minutes + second.minutes + sum(fifth.sections.values())
    assert text_minutes(fifth) == fifth.measured_minutes - sum(fifth.todos.values())
    row = route_table(COURSE).splitlines()[3]
    assert "[05](lessons/05_sse_server.md) (only read)" in row
    assert f"| {half_a_day.total} |" in row


@pytest.mark.parametrize("what", [what for _, what, _ in STUCK])
def test_every_command_that_it_names_exists(what: str) -> None:
    command, *words = shlex.split(what.format(number="05").removeprefix("uv run workshop "))
    known = typer.main.get_group(cli.app).commands[command]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (ROUTE.format(minutes=5, whole='["01_greeting"]'), "it takes 10 minutes, more than 5"),
        (ROUTE.format(minutes=90, whole='["02_farewell"]'), "lesson 02 needs 01_greeting"),
        (ROUTE.format(minutes=90, whole='["03_none"]'), "There is no lesson '03_none'"),
        (ROUTE.replace("read = []\n", "").format(minutes=9, whole="[]"), "it takes name, min"),
    ],
)
def test_a_route_that_does_not_work_out_is_an_error(
    route: str, said: str, tmp_path: Path
) -> None:
    course = mini_course.build(tmp_path)
    manifest = tmp_path / "lessons" / "lessons.toml"
    manifest.write_text(mini_course.MANIFEST + route, encoding="utf-8")
    with pytest.raises(CourseError, match=said):
        routes(course)
