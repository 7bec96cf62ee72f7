"""The manifest, the learner's copies and the learner's progress."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workshop.course import ROOT, Course, CourseError, Lesson, WorkChangedError
from workshop.publishing.starters import starter_text
from workshop.screens import parts_of_show

MANIFEST = """
[[lesson]]
slug = "02_event_format"
title = "The format"
minutes = 60
needs = ["01_flask_stream"]
era = "SSE"
summary = "Parse it."

[[lesson]]
slug = "01_flask_stream"
title = "A stream"
minutes = 45
era = "SSE"
summary = "Stream it."

[lesson.ports]
5000 = ["server.py", "exercise.py"]
5010 = ["browser/page.py"]

[lesson.sections]
"Run it" = 4
"One line, one event" = 8

[lesson.todos]
1 = 10
2 = 12
"""


@pytest.fixture
def course(tmp_path: Path) -> Course:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "lessons.toml").write_text(MANIFEST, encoding="utf-8")
    scripts = tmp_path / "scripts" / "02_event_format"
    scripts.mkdir(parents=True)
    (scripts / "exercise.py").write_text("import helper\nimport json\n", encoding="utf-8")
    (scripts / "helper.py").write_text("import other\n", encoding="utf-8")
    (scripts / "other.py").write_text("", encoding="utf-8")
    (scripts / "unused.py").write_text("", encoding="utf-8")
    return Course.load(tmp_path, tmp_path / "work")


def test_lessons_are_in_order_and_found_by_each_of_their_names(course: Course) -> None:
    assert [lesson.number for lesson in course.lessons] == ["01", "02"]
    for name in ("02", "2", "02_event_format"):
        assert course.lesson(name).title == "The format"


@pytest.mark.parametrize("name", ["3", "0", "002", "²", "event", "", "-1", "02_event_format "])
def test_an_unknown_lesson_lists_the_known_ones(course: Course, name: str) -> None:
    with pytest.raises(CourseError, match=r"(?s)no lesson .*01  A stream\n  02  The format"):
        course.lesson(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("minutes = 60", "minutes = 0"), "`minutes` must be a whole number"),
        (('era = "SSE"', 'era = "SSE"\ncan = 1'), "`can` must be a string"),
        (('title = "The format"', ""), "`title` must be a string"),
        (('"01_flask_stream"]', '"09_security"]'), "it needs '09_security'"),
        (('slug = "02_event_format"', 'slug = "01_event_format"'), "lesson 01 is listed twice"),
        (('slug = "02_event_format"', 'slug = "two"'), "two digits"),
        (("minutes = 45", "minutes = true"), "`minutes` must be a whole number"),
        (("minutes = 45", "minutes = 45\nport = 5000"), "unknown key port"),
        (("minutes = 45", "minutes = 45\nleast_mistakes = 0"), "`least_mistakes` must be"),
        (("minutes = 45", 'minutes = 45\ncarries = ["event_stream.py"]'), "NN_slug/file"),
        (("minutes = 45", 'minutes = 45\ncarries = ["01_a/b.css to ../c"]'), "NN_slug/file"),
        (("5000 = [", "70000 = ["), "`ports` .*'70000' is not a port"),
        (("5000 = [", "http = ["), "'http' is not a port"),
        (('["browser/page.py"]', '"browser/page.py"'), "5010: list the programs"),
        (("browser/page.py", "server.py"), r"`ports` lists server\.py twice"),
        (("[lesson.ports]", "ports = 5000\n[lesson.other]"), "unknown key other"),
        (('"Run it" = 4', '"Run it" = 0'), "`sections`, 'Run it': minutes are a whole number"),
        (('"Run it" = 4', '"Run it" = "4"'), "`sections`, 'Run it': minutes"),
        (("2 = 12", "2 = 12.5"), "`todos`, '2': minutes are a whole number"),
        (("2 = 12", "3 = 12"), "`todos` must be numbered 1, 2, 3"),
        (("minutes = 60", "minutes = "), r"lessons\.toml: "),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "lessons.toml").write_text(
        MANIFEST.replace(*change), encoding="utf-8"
    )
    with pytest.raises(CourseError, match=message):
        Course.load(tmp_path)


def test_ports_and_minutes_are_data(course: Course) -> None:
    lesson = course.lesson("1")
    assert lesson.ports == {"server.py": 5000, "exercise.py": 5000, "browser/page.py": 5010}
    assert lesson.port == 5000
    assert lesson.sections == {"Run it": 4, "One line, one event": 8}
    assert lesson.todos == {1: 10, 2: 12}
    assert lesson.measured_minutes == 35  # 34, rounded up
    other = course.lesson("2")
    assert (other.port, other.ports, other.sections, other.todos) == (None, {}, {}, {})


EXERCISES = [lesson for lesson in Course.load().lessons if lesson.solution.is_file()]


@pytest.mark.parametrize("lesson", EXERCISES, ids=[lesson.slug for lesson in EXERCISES])
def test_a_lesson_says_what_you_can_do_now_and_what_to_show(lesson: Lesson) -> None:
    assert re.match(r"[a-z].*\.$", lesson.can), "it goes on after `Now you can`"
    parts = parts_of_show(lesson)
    assert parts and all(words and commands for words, commands in parts)
    lines = [one for _, commands in parts for one in commands]
    assert max(map(len, lines)) <= 78, "a command must not be broken"
    named = re.findall(r"\b((?:work|scripts)/\S+\.py)\b", "\n".join(lines))
    assert f"work/{lesson.slug}/exercise.py" in named, "what the learner made"
    assert all((ROOT / path).is_file() for path in named if path.startswith("scripts/"))


def test_the_environment_can_move_the_learners_folder(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_WORK", str(tmp_path / "elsewhere"))
    moved = Course.load(course.root)
    assert moved.lesson("2").work == tmp_path / "elsewhere" / "02_event_format" / "exercise.py"


def test_start_copies_the_starter_and_what_it_imports(course: Course) -> None:
    work = course.start(course.lesson("2"))
    assert work == course.root / "work" / "02_event_format" / "exercise.py"
    assert sorted(path.name for path in work.parent.iterdir()) == [
        "exercise.py",
        "helper.py",
        "other.py",
    ]


def test_start_says_so_when_there_is_no_exercise(course: Course) -> None:
    with pytest.raises(CourseError, match="Lesson 01 has no exercise"):
        course.start(course.lesson("1"))


def test_start_refuses_to_overwrite_changed_work_and_keeps_a_copy_on_reset(
    course: Course,
) -> None:
    lesson = course.lesson("2")
    course.start(lesson)
    course.start(lesson)  # unchanged: nothing is lost
    lesson.work.write_text("mine", encoding="utf-8")
    with pytest.raises(
        WorkChangedError, match=r"work/02_event_format/exercise.py(.|\n)*--reset"
    ):
        course.start(lesson)
    assert lesson.work.read_text(encoding="utf-8") == "mine"

    course.start(lesson, reset=True)
    assert lesson.work.read_text(encoding="utf-8") == lesson.starter.read_text(encoding="utf-8")
    lesson.work.write_text("mine again", encoding="utf-8")
    course.start(lesson, reset=True)
    kept = {path.name: path.read_text() for path in lesson.work.parent.glob("*backup*")}
    assert kept == {"exercise.backup.py": "mine", "exercise.backup-2.py": "mine again"}


SOLUTION = """\
import helper
# TODO 1: First.
# --- solution
first = 1
# --- starter
# first = 0
# --- end
# TODO 2: Second.
# --- solution
second = 2
# --- starter
# second = 0
# --- end
"""


@pytest.fixture
def of_two_todos(course: Course) -> Lesson:
    lesson = course.lesson("2")
    lesson.solution.parent.mkdir(parents=True)
    lesson.solution.write_text(SOLUTION, encoding="utf-8")
    lesson.starter.write_text(starter_text(SOLUTION, "exercise.py"), encoding="utf-8")
    return lesson


def test_start_at_a_todo_has_those_before_it_done(course: Course, of_two_todos: Lesson) -> None:
    lesson = of_two_todos
    course.start(lesson, at=2)
    late = lesson.work.read_text(encoding="utf-8")
    assert "first = 1\n" in late and "second = 0\n" in late and "---" not in late
    assert lesson.work.with_name("helper.py").is_file()
    course.start(lesson, at=1)
    assert lesson.work.read_bytes() == lesson.starter.read_bytes()
    course.start(lesson, at=2)
    course.start(lesson)
    assert not list(lesson.work.parent.glob("*backup*")), "nothing was changed"


def test_start_at_a_todo_keeps_a_copy_of_work_and_what_was_passed(
    course: Course, of_two_todos: Lesson
) -> None:
    lesson = of_two_todos
    course.start(lesson, at=2)
    lesson.work.write_text("mine", encoding="utf-8")
    course.record(lesson, 3, 8)
    course.start(lesson, at=2)
    kept = lesson.work.with_name("exercise.backup.py")
    assert kept.read_text(encoding="utf-8") == "mine"
    assert course.state(lesson) == "started", "3 of 8 was about another file"
    course.record(lesson, 8, 8)
    course.start(lesson, at=1)
    assert course.state(lesson) == "passed, changed since"
    course.start(lesson, at=2, reset=True)
    assert course.state(lesson) == "started"


@pytest.mark.parametrize("at", [-1, 0, 3])
def test_start_at_a_todo_that_does_not_exist_changes_nothing(
    course: Course, of_two_todos: Lesson, at: int
) -> None:
    with pytest.raises(CourseError, match=f"no TODO {at}. Its TODOs: 1, 2."):
        course.start(of_two_todos, at=at)
    assert not of_two_todos.work.exists()


def test_an_untouched_copy_of_an_older_starter_is_replaced(course: Course) -> None:
    lesson = course.lesson("2")
    course.start(lesson)
    lesson.starter.write_text("import helper  # newer\n", encoding="utf-8")
    course.start(lesson)
    assert "newer" in lesson.work.read_text(encoding="utf-8")


def test_the_state_follows_the_checks(course: Course) -> None:
    lesson = course.lesson("2")
    assert course.state(lesson) == "not started"
    course.start(lesson)
    assert course.state(lesson) == "started"
    course.record(lesson, 3, 8)
    assert course.state(lesson) == "in progress (3 of 8 checks)"
    course.record(lesson, 8, 8)
    assert course.state(lesson) == "done" and course.is_done(lesson)
    assert course.state(course.lesson("1")) == "not started"
    course.start(lesson, reset=True)
    assert course.state(lesson) == "started"


def test_what_was_passed_stays_passed(course: Course) -> None:
    lesson = course.lesson("2")
    work = course.start(lesson)
    passed = work.read_bytes()
    course.record(lesson, 8, 8)
    work.write_text("broken (", encoding="utf-8")
    assert course.state(lesson) == "passed, changed since"
    course.record(lesson, 0, 8)
    assert course.state(lesson) == "passed, changed since" and course.is_done(lesson)
    work.write_bytes(passed)
    assert course.state(lesson) == "done"
    work.unlink()
    assert course.state(lesson) == "done"


def test_hints_are_counted_for_each_todo(course: Course) -> None:
    lesson = course.lesson("2")
    assert course.hints_given(lesson, 1) == 0
    assert [course.give_hint(lesson, 1), course.give_hint(lesson, 1)] == [1, 2]
    assert course.give_hint(lesson, 2) == 1
    assert Course.load(course.root, course.work_root).hints_given(lesson, 1) == 2


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"02_event_format": 1}', "\xff"])
def test_a_broken_progress_file_is_kept_aside_and_said(course: Course, broken: str) -> None:
    lesson = course.lesson("2")
    course.start(lesson)
    path = course.work_root / "progress.json"
    path.write_bytes(broken.encode("latin-1"))
    assert course.state(lesson) == "started"
    assert "progress.corrupt.json" in course.progress.notices[0]
    aside = course.work_root / "progress.corrupt.json"
    assert aside.read_bytes() == broken.encode("latin-1")
    course.record(lesson, 1, 2)
    assert json.loads(path.read_text(encoding="utf-8"))["02_event_format"]["passed"] == 1
    assert not list(course.work_root.glob("*.tmp"))
