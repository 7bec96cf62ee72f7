"""`workshop new`: the skeleton of a lesson passes the tests, and nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from tests import mini_course
from workshop.course import ROOT, Course, CourseError, Lesson
from workshop.new_lesson import FILES, MARK, new_lesson
from workshop.next_step import next_step
from workshop.publishing.readme import readme_text
from workshop.screens import show_overview

COURSE = Course.load()

# The proofs that concern one lesson, but for those that measure time or run all lessons'
# programs.
PROOFS = (
    "tests/test_three_proofs.py",
    "tests/test_todos_in_order.py",
    "tests/test_lesson_texts.py",
    "tests/test_notebooks.py",
    "tests/test_90_toy.py",
)


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return mini_course.build(tmp_path)


@pytest.mark.long
def test_a_new_lesson_passes_the_tests_as_it_is(tmp_path: Path) -> None:
    """What a maintainer does who adds one."""
    copy = tmp_path / "course"
    shutil.copytree(
        ROOT,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns(".?*_cache", ".git", ".venv", "node_modules", "work"),
    )
    # `uv run` in the lesson's terminals finds this environment, and does not make another.
    (copy / ".venv").symlink_to(sys.prefix)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(copy), "WORKSHOP_WORK": str(copy / "work")}

    def python(*words: str) -> str:
        run = subprocess.run(
            [sys.executable, *words], cwd=copy, env=env, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    said = python("-m", "workshop.cli", "new", "90", "toy", "--title", "A toy")
    assert "lessons/90_toy.md\n" in said
    assert python("-m", "workshop.cli", "publish", "90") == "Everything is up to date.\n"
    ran = python(
        *("-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"),
        *("-m", "not quiet", "-k", "90", *(name for name in PROOFS if (copy / name).is_file())),
    )
    assert "skipped" not in ran and "failed" not in ran, ran


def test_the_longest_names_fit_into_the_lines(course: Course) -> None:
    shutil.copyfile(ROOT / "pyproject.toml", course.root / "pyproject.toml")
    made = new_lesson(course, "99", "a" * 30, "T" * 60)
    files = [str(path) for path in made if path.suffix == ".py"]
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files],
            cwd=course.root,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_an_entry_is_added_where_its_number_belongs(course: Course) -> None:
    manifest = course.root / "lessons" / "lessons.toml"
    before = tomllib.loads(manifest.read_text(encoding="utf-8"))["lesson"]
    new_lesson(course, "3", "last")
    new_lesson(Course.load(course.root), "1" + "2", "twelfth", "The twelfth")
    tables = tomllib.loads(manifest.read_text(encoding="utf-8"))["lesson"]
    assert tables[:2] == before
    assert [table["slug"] for table in tables[2:]] == ["03_last", "12_twelfth"]
    assert [table["title"] for table in tables[2:]] == ["Last", "The twelfth"]


def test_a_port_that_another_lesson_has_is_not_taken(course: Course) -> None:
    # 8081 is lesson 02's.
    new_lesson(course, "81", "eighty_one")
    lesson = Course.load(course.root).lesson("81")
    assert lesson.ports == {"hello_server.py": 8181, "exercise.py": 8181}
    for path in (lesson.text, lesson.starter, lesson.solution, lesson.notebook):
        text = path.read_text(encoding="utf-8")
        assert "8181" in text or path == lesson.notebook
        assert "8999" not in text and "NN" not in text and "TITLE" not in text


@pytest.mark.parametrize(
    ("number", "name", "title", "message"),
    [
        ("01", "agent", None, "Lesson 01 is taken: it is 01_greeting"),
        ("1", "greeting", None, "Lesson 01 is taken"),
        ("0", "agent", None, "from 01 to 99"),
        ("100", "agent", None, "from 01 to 99"),
        ("٣", "agent", None, "from 01 to 99"),
        ("-1", "agent", None, "from 01 to 99"),
        ("08", "An-Agent", None, "not 'An-Agent'"),
        ("08", "../agent", None, "lower-case letters"),
        ("08", "agent_", None, "lower-case letters"),
        ("08", "a" * 31, None, "up to 30"),
        ("08", "", None, "lower-case letters"),
        ("08", "agent", "", "A title is"),
        ("08", "agent", "T" * 61, "up to 60 characters"),
        ("08", "agent", 'An "agent"', "A title is"),
        ("08", "agent", "One\nTwo", "one line"),
    ],
)
def test_bad_input_is_said_and_writes_nothing(
    course: Course, number: str, name: str, title: str | None, message: str
) -> None:
    before = sorted(course.root.rglob("*"))
    with pytest.raises(CourseError, match=message):
        new_lesson(course, number, name, title)
    assert sorted(course.root.rglob("*")) == before


@pytest.mark.parametrize("place", [place.replace("NN", "08") for place in FILES.values()])
def test_nothing_that_exists_is_overwritten(course: Course, place: str) -> None:
    present = course.root / place.replace("slug", "other")
    present.parent.mkdir(parents=True, exist_ok=True)
    present.write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match=r"(?s)taken: this exists already.*08"):
        new_lesson(course, "08", "agent")
    assert present.read_text(encoding="utf-8") == "mine"
    assert not (course.root / "lessons/08_agent.md").exists()


def test_a_draft_is_found_by_its_name_and_shown_to_nobody(course: Course) -> None:
    new_lesson(course, "03", "agent", "An agent")
    course = mini_course.load(course.root)
    assert course.lesson("3").draft
    readme = "<!-- lessons -->\n<!-- /lessons -->\n<!-- ports -->\n<!-- /ports -->\n"
    assert "greeting" in readme_text(readme, course)
    assert "agent" not in readme_text(readme, course)
    for lesson in course.released:
        course.start(lesson)
        course.record(lesson, 1, 1)
    assert next_step(course)[0] is None
    with (screen := Console(width=80)).capture() as overview:
        show_overview(screen, course)
    assert "A farewell" in overview.get() and "An agent" not in overview.get()
    with pytest.raises(CourseError) as error:
        course.lesson("4")
    assert "A farewell" in str(error.value) and "An agent" not in str(error.value)


@pytest.mark.parametrize("lesson", COURSE.released, ids=lambda lesson: lesson.slug)
def test_a_lesson_that_is_no_draft_has_nothing_left_to_replace(lesson: Lesson) -> None:
    """One of two things that a draft is excused from; the other: tests/test_notebooks.py."""
    manifest = (ROOT / "lessons" / "lessons.toml").read_text(encoding="utf-8")
    (entry,) = (one for one in manifest.split("[[lesson]]") if f'"{lesson.slug}"\n' in one)
    files = [
        lesson.text,
        lesson.notebook_source,
        *ROOT.glob(f"tests/test_{lesson.number}_*.py"),
    ]
    for folder in (lesson.scripts, lesson.solution.parent):
        files += folder.glob("*.*")
    files += (ROOT / "workshop" / "checks").rglob(f"lesson_{lesson.number}*.py")
    assert MARK not in entry
    assert [path for path in files if path.is_file() and MARK in path.read_text("utf-8")] == []
