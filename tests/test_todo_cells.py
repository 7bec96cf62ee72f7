"""A notebook's TODO cells and the learner's file are one thing: edit either."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from workshop.course import Course
from workshop.exercise_parts import (
    PartError,
    cell_text,
    other_code,
    parts_of_todos,
    read_parts,
    replace_parts,
)
from workshop.notebook import begin_at, start_exercise, todo_cells
from workshop.publishing.publish import publish

SOLUTION = '''"""An exercise."""

import functools


def first(text):
    """Say it."""
    # TODO 1: Say it.
    # --- solution
    return text
    # --- end


class Box:
    """It holds things."""

    size = 3

    @functools.cache
    def put(self, thing):
        # TODO 2: Put it in.
        # --- solution
        self.thing = thing
        # --- starter
        # pass
        # --- end

    def get(self):
        """Get it."""
        # (TODO 2) Get it out.
        # --- solution
        return self.thing
        # --- end
        # TODO 3: And count.
        # --- solution
        self.count = 1
        # --- end


def last():
    return "last"
'''
ONE = 'def first(text):\n    """Say it."""\n    # TODO 1: Say it.'


class Cell:
    """A cell of a notebook: `run` runs it, and what replaces its text is its text then."""

    def __init__(self, todo: int, text: str, obeys: bool = True) -> None:
        self.todo = todo
        self.text = text
        self.obeys = obeys

    def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(text: str) -> bool:
            if self.obeys:
                self.text = text.partition("\n")[2]
            return True

        monkeypatch.setattr(todo_cells, "_replace_cell", replace)
        todo_cells.todo(f"01 {self.todo}", self.text)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    files = {
        "lessons/lessons.toml": '[[lesson]]\nslug = "01_one"\ntitle = "A"\nminutes = 7\n'
        'era = "SSE"\nsummary = "All of it."\n',
        "solutions/01_one/exercise.py": SOLUTION,
        "README.md": "<!-- lessons -->\n<!-- /lessons -->\n<!-- ports -->\n<!-- /ports -->\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    course = Course.load(tmp_path, tmp_path / "work")
    assert all(one.curable for one in publish(course, None, compare=False))
    monkeypatch.setattr(todo_cells, "Course", SimpleNamespace(load=lambda: course))
    return course


@pytest.fixture
def work(course: Course) -> Path:
    start_exercise("01")
    return course.lesson("1").work


def backups(work: Path) -> list[str]:
    return [path.read_text() for path in sorted(work.parent.glob("*backup*"))]


def edit(work: Path, old: str, new: str) -> None:
    text = work.read_text()
    assert text.count(old) == 1
    work.write_text(text.replace(old, new))


def solved(text: str = "text") -> str:
    return f"{ONE}\n    return {text}"


def test_a_changed_cell_changes_its_part_of_the_file_and_nothing_else(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = work.read_text()
    cell = Cell(1, solved())
    cell.run(monkeypatch)
    assert work.read_text() == before.replace(ONE, solved())
    cell.text = solved("2")
    cell.run(monkeypatch)
    cell.text = solved()  # undo is an edit like any other
    cell.run(monkeypatch)
    assert work.read_text() == before.replace(ONE, solved())
    assert backups(work) == []  # what the cell itself wrote needs no copy


def test_a_cell_shows_what_was_edited_in_the_file(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell(1, solved())
    cell.run(monkeypatch)
    edit(work, "return text", "return text.upper()")
    edited = work.read_text()
    cell.run(monkeypatch)
    assert cell.text == solved("text.upper()")
    assert work.read_text() == edited
    assert "This cell now has `first`" in capsys.readouterr().out
    cell.run(monkeypatch)  # and again: they agree
    assert (work.read_text(), backups(work)) == (edited, [])


@pytest.mark.parametrize("text", [ONE, "# Run this cell.", ""])
def test_the_starter_and_an_empty_cell_never_replace_work(
    work: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    edit(work, ONE, solved())
    edited = work.read_text()
    cell = Cell(1, text)
    cell.run(monkeypatch)
    assert cell.text == solved()
    assert work.read_text() == edited


def test_when_both_were_changed_the_cell_counts_and_the_file_is_kept(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell(1, solved())
    cell.run(monkeypatch)
    edit(work, "return text", "return 2")
    in_file = work.read_text()
    cell.text = solved("3")
    cell.run(monkeypatch)
    assert "return 3" in work.read_text()
    assert backups(work) == [in_file]
    assert "kept as exercise.backup.py" in capsys.readouterr().out


def test_a_cell_that_was_not_replaced_does_not_bring_back_what_is_out_of_date(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(1, solved(), obeys=False)
    cell.run(monkeypatch)
    edit(work, "return text", "return 2")
    edited = work.read_text()
    for _ in range(3):
        cell.run(monkeypatch)
    assert work.read_text() == edited
    cell.text = solved("3")  # an edit of the old text, by someone who never saw the new one
    cell.run(monkeypatch)
    assert backups(work) == [edited]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "def first(text)\n    return",
            "Python can't read this cell yet: expected ':', in line 2",
        ),
        ("def frist(text):\n    return text", "`first` is not in it"),
        (f"import json\n\n{ONE}\n    return 1", "  import json\n"),
        (f"{ONE}\n    return 1\n\n\ndef help(): ...", "  help\n"),
    ],
)
def test_a_cell_that_has_no_place_in_the_file_changes_nothing(
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    says: str,
) -> None:
    before = work.read_text()
    Cell(1, text).run(monkeypatch)
    assert says in capsys.readouterr().out
    assert (work.read_text(), backups(work)) == (before, [])


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("def premier(text):", "has no `first` any more"),
        ("def first(text:", "Python can't read"),
    ],
)
def test_a_file_that_has_no_place_for_the_cell_is_not_changed(
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    new: str,
    says: str,
) -> None:
    edit(work, "def first(text):", new)
    before = work.read_text()
    Cell(1, solved()).run(monkeypatch)
    assert says in capsys.readouterr().out
    assert work.read_text() == before


def test_a_cell_of_several_methods_has_their_class_around_them(
    course: Course, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = course.lesson("1").starter.read_text()
    assert parts_of_todos(starter) == {
        1: ["first"],
        2: ["Box.put", "Box.get"],
        3: ["Box.get"],
    }
    text = cell_text(read_parts(starter, ["Box.put", "Box.get"]))
    assert text.startswith("class Box:  #")
    assert "@functools.cache" in text
    assert "# (TODO 2)" in text
    Cell(2, text.replace("        pass", "        self.thing = thing")).run(monkeypatch)
    assert work.read_text() == starter.replace("        pass", "        self.thing = thing")


def test_latecomers_begin_at_a_todo_and_the_cells_follow(
    course: Course,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cell = Cell(1, solved("'mine'"))
    cell.run(monkeypatch)
    mine = work.read_text()
    begin_at("01", todo=2)
    assert "TODO 1 is done in it" in capsys.readouterr().out
    assert backups(work) == [mine]
    cell.run(monkeypatch)
    assert cell.text == solved()
    there = work.read_text()
    start_exercise("01")  # as when all cells are run again
    assert work.read_text() == there
    begin_at("01", todo=9)
    assert "has no TODO 9" in capsys.readouterr().out


def test_what_is_not_there_is_said(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, says in (
        ("09 1", "There is no lesson '09'"),
        ("01 4", "has the TODOs 1, 2, 3"),
        ("01", "has the TODOs 1, 2, 3"),
    ):
        todo_cells.todo(line, "")
        assert says in capsys.readouterr().out


def test_every_exercise_can_be_taken_apart_and_put_together() -> None:
    course = Course.load()
    for lesson in course.lessons:
        if not lesson.starter.is_file():
            continue
        starter = lesson.starter.read_text(encoding="utf-8")
        text = starter
        for names in parts_of_todos(starter).values():
            parts = read_parts(starter, names)
            cell = cell_text(parts)
            assert read_parts(cell, names) == parts
            assert other_code(cell, names) == []
            text = replace_parts(text, parts)
        assert text == starter


def test_a_part_moves_to_where_the_file_has_it() -> None:
    file = "class A:\n  def f(self):\n    pass\n"
    moved = replace_parts(file, {"A.f": "    def f(self):\n        return 1"})
    assert moved == "class A:\n  def f(self):\n      return 1\n"


def test_a_todo_outside_of_all_functions_is_refused() -> None:
    with pytest.raises(PartError, match="TODO 1 is in no function"):
        parts_of_todos("# TODO 1: A constant.\nx = 1\n")
