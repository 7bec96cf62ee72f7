"""The cells in which a learner solves the TODOs, and how they keep up with the file.

`%%todo 05 4` writes the functions of TODO 4 into the learner's file, and nothing else of it.
If the file was edited elsewhere, in an editor or in another cell, the cell is replaced by
what the file has. What a cell held before is known from progress.json, so this works
across kernels, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workshop.course import Course, CourseError, Lesson, keep_copy
from workshop.exercise_parts import (
    PartError,
    cell_text,
    other_code,
    parts_of_todos,
    read_parts,
    replace_parts,
)

MOST_REMEMBERED = 50  # texts of one cell


def todo(line: str, cell: str) -> None:
    """The magic `%%todo NN N`. Says what it did."""
    course = Course.load()
    try:
        number, _, wanted = line.strip().partition(" ")
        lesson = course.lesson(number)
        names = parts_of_todos(lesson.starter.read_text(encoding="utf-8"))
        if not wanted.strip().isdecimal() or int(wanted) not in names:
            known = ", ".join(map(str, names))
            print(f"Lesson {lesson.number} has the TODOs {known}. Write: %%todo 05 1")
            return
        if not lesson.work.is_file():
            course.start(lesson)
    except CourseError as error:
        print(error)
        return
    _TodoCell(course, lesson, int(wanted), names[int(wanted)]).run(cell)


@dataclass(frozen=True)
class _Memory:
    """What a cell and its part of the file have held, as digests, the newest last.

    `shown` is set if the newest came from the file: "new" if it was written there by hand,
    else "again". Then an older text in the cell is out of date, not an edit.
    """

    held: list[str] = field(default_factory=list)
    shown: str = ""


class _TodoCell:
    def __init__(self, course: Course, lesson: Lesson, todo: int, names: list[str]) -> None:
        self.course = course
        self.lesson = lesson
        self.todo = todo
        self.names = names
        self.shown = course.shown(lesson.work)
        self.called = " and ".join(f"`{name}`" for name in names)

    def run(self, cell: str) -> None:
        """Bring the cell and the file together."""
        try:
            text = self.lesson.work.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            print(f"{self.shown} is not UTF-8. Save it as UTF-8. Nothing was changed.")
            return
        starter = self.lesson.starter.read_text(encoding="utf-8")
        try:
            in_file = read_parts(text, self.names)
        except SyntaxError as error:
            print(f"Python can't read {self.shown}: {error.msg}, in line {error.lineno}.")
            print("Correct that in the file first. Neither the cell nor the file was changed.")
            return
        except PartError as error:
            print(f"{self.shown} has no `{error.name}` any more, so this cell has no place")
            print("in it. Was it renamed? Name it as before. Nothing was changed.")
            return
        try:
            others = other_code(cell, self.names)
            in_cell = read_parts(cell, self.names) if cell_has_code(cell) else {}
        except SyntaxError as error:
            line = (error.lineno or 1) + 1  # the magic is the cell's first line
            print(f"Python can't read this cell yet: {error.msg}, in line {line}.")
            print(f"{self.shown} stays as it was.")
            return
        except PartError as error:
            print(f"This cell is for {self.called}, and `{error.name}` is not in it.")
            print(f"{self.shown} stays as it was. To see it here, empty the cell and run it.")
            return
        if others:
            print(f"This cell is for {self.called} alone. Put the rest into {self.shown}:")
            print("\n".join(f"  {other}" for other in others))
            print("Nothing was changed.")
            return
        there, here = _digest(in_file), _digest(in_cell)
        memory = self._memory()
        if in_cell == in_file:
            self._remember(there)
            print(f"{self.shown} has what is in this cell.")
            self._say_next()
        elif not in_cell or in_cell == read_parts(starter, self.names):
            # The unchanged starter never replaces work.
            self._show(in_file)
        elif here in memory.held and (memory.shown or there != memory.held[-1]):
            self._show(in_file)
        else:
            untouched = there in (*memory.held, _digest(read_parts(starter, self.names)))
            if not untouched or memory.shown == "new":
                kept = keep_copy(self.lesson.work).name
                print(f"{self.called} had been changed both here and in {self.shown}.")
                print(f"This cell's version is used. The file as it was is kept as {kept}.")
            self.lesson.work.write_text(replace_parts(text, in_cell), encoding="utf-8")
            self._remember(there, here)
            written = self.course.progress.read(self.lesson).get("written", [])
            written += [_one(part) for part in [*in_file.items(), *in_cell.items()]]
            update = {"written": written[-MOST_REMEMBERED * 20 :]}
            self.course.progress.update(self.lesson, update)
            print(f"{self.called} in {self.shown} is now as in this cell.")
            self._say_next()

    def _say_next(self) -> None:
        print(f'Now run check("{self.lesson.number}", todo={self.todo}).')

    def _show(self, parts: Mapping[str, str]) -> None:
        """Replace the cell's text by what the file has."""
        digest, memory = _digest(parts), self._memory()
        # What a cell wrote, or what has been there from the start, was not written by hand.
        starter = self.lesson.starter.read_text(encoding="utf-8")
        known = {_one(part) for part in read_parts(starter, self.names).items()}
        known |= {*self.course.progress.read(self.lesson).get("written", [])}
        new = bool(memory.held) and any(_one(part) not in known for part in parts.items())
        new = new or (memory.shown == "new" and digest == memory.held[-1])
        self._remember(digest, shown="new" if new else "again")
        body = cell_text(parts)
        if _replace_cell(f"%%todo {self.lesson.number} {self.todo}\n{body}"):
            print(f"This cell now has {self.called} from {self.shown}.")
            print("Change it here and run it again: the file follows.")
        else:
            print(f"{self.called} in {self.shown} is newer than this cell:\n\n{body}")

    def _memory(self) -> _Memory:
        cells = self.course.progress.read(self.lesson).get("cells", {})
        return _Memory(**cells.get(str(self.todo), {}))

    def _remember(self, *digests: str, shown: str = "") -> None:
        held = [one for one in self._memory().held if one not in digests]
        cells = self.course.progress.read(self.lesson).get("cells", {})
        memory = {"held": [*held, *digests][-MOST_REMEMBERED:], "shown": shown}
        self.course.progress.update(self.lesson, {"cells": {**cells, str(self.todo): memory}})


def cell_has_code(cell: str) -> bool:
    """Whether there is anything but blank lines and comments."""
    return any(line.strip() and not line.strip().startswith("#") for line in cell.splitlines())


def _digest(parts: Mapping[str, str]) -> str:
    return hashlib.sha256("\n\n".join(parts.values()).encode()).hexdigest()


def _one(part: tuple[str, str]) -> str:
    """A digest of one part, whichever cell wrote it."""
    return _digest(dict([part]))


def _replace_cell(text: str) -> bool:
    """Ask Jupyter to replace the cell's text. False where there is none to ask."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell: Any = get_ipython()
    if shell is None:
        return False
    shell.set_next_input(text, replace=True)
    return True


def start_exercise(name: str) -> None:
    """Copy the lesson's starter to work/. A file that is there already stays as it is."""
    _started(name, None)


def begin_at(name: str, todo: int) -> None:
    """For latecomers: the exercise with the TODOs before this one done.

    What was in the file is kept beside it. Then run the cells of the TODOs: they show it.
    """
    _started(name, todo)


def _started(name: str, at: int | None) -> None:
    course = Course.load()
    try:
        lesson = course.lesson(name)
        before = lesson.backups
        if at is not None or not lesson.work.is_file():
            course.start(lesson, at=at)
        else:
            print(f"Go on with your file, {course.shown(lesson.work)}. It stays as it is.")
            print("Run a TODO's cell to see what your file has there.")
            return
    except CourseError as error:
        print(error)
        return
    for copy in sorted(lesson.backups - before):
        print(f"What you had is kept as {course.shown(copy)}.")
    print(f"Your file is {course.shown(lesson.work)}.")
    if at is not None and at > 1:
        done = "TODO 1 is" if at == 2 else f"TODOs 1 to {at - 1} are"
        print(f"{done} done in it. Go on at TODO {at}: run its cell to see it.")
