"""Lesson and Course: the manifest, the folders, the learner's copies and progress.

`lessons/lessons.toml` is the one list of lessons. What a learner makes lives in
`work/` (or in the folder that WORKSHOP_WORK names), which git ignores.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workshop.publishing.starters import partly_solved, todos_in

ROOT = Path(__file__).resolve().parent.parent


class CourseError(Exception):
    """Something the learner or the author can fix. The text says what and how."""


class WorkChangedError(CourseError):
    """`start` would overwrite what the learner has written."""


@dataclass(frozen=True)
class Lesson:
    """One table of the manifest, and where its files are."""

    root: Path
    work_root: Path
    slug: str
    title: str
    minutes: int
    summary: str
    era: str
    can: str = ""
    """What the learner can do now, after "Now you can"."""
    show: str = ""
    """What to show a colleague. Lines that are indented are commands."""
    needs: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    least_mistakes: int = 0
    """The gallery of mistakes must hold at least so many."""
    draft: bool = False
    """Not shown to learners yet."""
    ports: dict[str, int] = field(default_factory=dict, hash=False)
    """The default port of each server program, by its path in the lesson's folder."""
    sections: dict[str, int] = field(default_factory=dict, hash=False)
    """Minutes to read and run each section of the text that is not an appendix."""
    todos: dict[int, int] = field(default_factory=dict, hash=False)
    """Minutes for each TODO of the exercise."""

    @property
    def port(self) -> int | None:
        """The default port of the lesson's own server, the first of its table."""
        return next(iter(self.ports.values()), None)

    @property
    def measured_minutes(self) -> int:
        """What the sections and TODOs take together, rounded up to five minutes."""
        total = sum(self.sections.values()) + sum(self.todos.values())
        return -(-total // 5) * 5

    @property
    def number(self) -> str:
        """The two digits that lead the slug: "05"."""
        return self.slug[:2]

    @property
    def text(self) -> Path:
        """lessons/NN_slug.md, the text that is read in order."""
        return self.root / "lessons" / f"{self.slug}.md"

    @property
    def scripts(self) -> Path:
        """scripts/NN_slug/, the folder of its programs."""
        return self.root / "scripts" / self.slug

    @property
    def notebook(self) -> Path:
        """notebooks/NN_slug.ipynb. Not every lesson has one."""
        return self.root / "notebooks" / f"{self.slug}.ipynb"

    @property
    def notebook_source(self) -> Path:
        """notebooks/source/NN_slug.py, which the notebook is made from."""
        return self.root / "notebooks" / "source" / f"{self.slug}.py"

    @property
    def solution(self) -> Path:
        """solutions/NN_slug/exercise.py, the source of the starter."""
        return self.root / "solutions" / self.slug / "exercise.py"

    @property
    def carried(self) -> dict[Path, Path]:
        """The file of an earlier lesson for each file that is carried over from it."""
        scripts = self.root / "scripts"
        found: dict[Path, Path] = {}
        for entry in self.carries:
            origin, _, folder = entry.partition(" to ")
            found[self.scripts / folder / Path(origin).name] = scripts / origin
        return found

    @property
    def exercise_toml(self) -> Path:
        """solutions/NN_slug/exercise.toml, the hints and the gallery of mistakes."""
        return self.solution.with_name("exercise.toml")

    @property
    def starter(self) -> Path:
        """scripts/NN_slug/exercise.py, made from the solution."""
        return self.scripts / "exercise.py"

    @property
    def work(self) -> Path:
        """work/NN_slug/exercise.py, the learner's own file."""
        return self.work_root / self.slug / "exercise.py"

    @property
    def backups(self) -> set[Path]:
        """The copies of earlier work that are kept beside the learner's file."""
        return set(self.work.parent.glob("*.backup*"))


_FOR_AUTHORS = {"draft", "least_mistakes"}  # what learners never see
_STRINGS = ("slug", "title", "era", "summary")
_LAST = ("can", "show")  # of a lesson that has an exercise
_FIELDS = {*_STRINGS, *_LAST, "minutes", "needs", "carries", "ports", "sections", "todos"}


def _read_lesson(table: dict[str, Any], root: Path, work_root: Path) -> Lesson:
    where = f"lessons/lessons.toml, lesson {table.get('slug', '?')!r}"
    if unknown := sorted(set(table) - _FIELDS - _FOR_AUTHORS):
        raise CourseError(f"{where}: unknown key {', '.join(unknown)}.")
    for key in _STRINGS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise CourseError(f"{where}: `{key}` must be a string.")
    for key in _LAST:
        if not isinstance(table.get(key, ""), str):
            raise CourseError(f"{where}: `{key}` must be a string.")
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", table["slug"]):
        raise CourseError(f"{where}: a slug is two digits, `_`, and lower-case words.")
    if not _is_count(table.get("minutes")):
        raise CourseError(f"{where}: `minutes` must be a whole number above 0.")
    if "least_mistakes" in table and not _is_count(table["least_mistakes"]):
        raise CourseError(f"{where}: `least_mistakes` must be a whole number above 0.")
    if not isinstance(table.get("draft", False), bool):
        raise CourseError(f"{where}: `draft` must be true or false.")
    for key in ("needs", "carries"):
        if not _are_texts(table.get(key, [])):
            raise CourseError(f"{where}: `{key}` must be a list of strings.")
    for carried in table.get("carries", []):
        if not re.fullmatch(r"\d\d_[a-z0-9_]+/\S+( to [a-z0-9_]+)?", carried):
            raise CourseError(
                f'{where}: `carries` holds "NN_slug/file" or "NN_slug/file to folder", '
                f"not {carried!r}."
            )
    return Lesson(
        root=root,
        work_root=work_root,
        slug=table["slug"],
        title=table["title"],
        minutes=table["minutes"],
        summary=table["summary"],
        era=table["era"],
        can=table.get("can", ""),
        show=table.get("show", "").rstrip("\n"),
        needs=tuple(table.get("needs", [])),
        carries=tuple(table.get("carries", [])),
        least_mistakes=table.get("least_mistakes", 0),
        draft=table.get("draft", False),
        ports=_read_ports(table.get("ports", {}), where),
        sections=_read_minutes(table.get("sections", {}), f"{where}: `sections`"),
        todos=_read_todos(table.get("todos", {}), where),
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _read_ports(table: object, where: str) -> dict[str, int]:
    """`PORT = ["program.py", …]` as a port for each program."""
    if not isinstance(table, dict):
        raise CourseError(f"{where}: `ports` must be a table.")
    ports: dict[str, int] = {}
    for key, programs in table.items():
        if not re.fullmatch(r"[1-9]\d{0,4}", key) or int(key) > 65_535:
            raise CourseError(f"{where}: `ports` holds PORT = […], and {key!r} is not a port.")
        if not _are_texts(programs):
            raise CourseError(f"{where}: `ports`, {key}: list the programs, as strings.")
        for program in programs:
            if program in ports:
                raise CourseError(f"{where}: `ports` lists {program} twice.")
            ports[program] = int(key)
    return ports


def _read_minutes(table: object, where: str) -> dict[str, int]:
    """A table of minutes, by section or TODO."""
    if not isinstance(table, dict):
        raise CourseError(f"{where} must be a table.")
    for key, minutes in table.items():
        if not _is_count(minutes):
            raise CourseError(f"{where}, {key!r}: minutes are a whole number above 0.")
    return table


def _read_todos(table: object, where: str) -> dict[int, int]:
    todos = _read_minutes(table, f"{where}: `todos`")
    if list(todos) != [str(number + 1) for number in range(len(todos))]:
        raise CourseError(f"{where}: `todos` must be numbered 1, 2, 3 … in this order.")
    return {int(number): minutes for number, minutes in todos.items()}


class Course:
    """All lessons in order, drafts too, and how far the learner has got in each."""

    def __init__(self, root: Path, work_root: Path, lessons: list[Lesson]) -> None:
        self.root = root
        self.work_root = work_root
        self.lessons = lessons
        self.progress = Progress(work_root / "progress.json")

    @classmethod
    def load(cls, root: Path = ROOT, work_root: Path | None = None) -> Course:
        """Read the manifest below `root`. Raises CourseError.

        The learner's folder is `work_root`, or WORKSHOP_WORK, or `work/` in `root`.
        """
        if work_root is None:
            work_root = Path(os.environ.get("WORKSHOP_WORK") or root / "work").absolute()
        manifest = root / "lessons" / "lessons.toml"
        try:
            tables = tomllib.loads(manifest.read_text(encoding="utf-8")).get("lesson", [])
        except FileNotFoundError:
            raise CourseError(f"There is no {manifest}.") from None
        except tomllib.TOMLDecodeError as error:
            raise CourseError(f"lessons/lessons.toml: {error}") from None
        lessons = sorted(
            (_read_lesson(table, root, work_root) for table in tables),
            key=lambda lesson: lesson.slug,
        )
        numbers = [lesson.number for lesson in lessons]
        for number in numbers:
            if numbers.count(number) > 1:
                raise CourseError(f"lessons/lessons.toml: lesson {number} is listed twice.")
        slugs = {lesson.slug for lesson in lessons}
        for lesson in lessons:
            for need in lesson.needs:
                if need not in slugs:
                    raise CourseError(
                        f"lessons/lessons.toml, lesson {lesson.slug!r}: it needs {need!r}, "
                        "which is not in the manifest."
                    )
        return cls(root, work_root, lessons)

    @property
    def released(self) -> list[Lesson]:
        """The lessons that learners are shown: all but the drafts."""
        return [lesson for lesson in self.lessons if not lesson.draft]

    def lesson(self, name: str) -> Lesson:
        """The lesson called "05", "5" or "05_sse_server". Raises CourseError."""
        for lesson in self.lessons:
            if name == lesson.slug or (
                name.isdecimal() and len(name) <= 2 and int(name) == int(lesson.number)
            ):
                return lesson
        known = "".join(f"\n  {lesson.number}  {lesson.title}" for lesson in self.released)
        raise CourseError(f"There is no lesson {name!r}. There are:{known}")

    def start(self, lesson: Lesson, *, reset: bool = False, at: int | None = None) -> Path:
        """Copy the starter into the learner's folder; return the learner's file.

        With `at`, the TODOs before this one are done in it. Files beside the starter that
        it imports are copied with it. Work that was changed is never lost: WorkChangedError,
        or with `reset` or `at` a backup copy beside it first. `reset` forgets that the lesson
        was passed. Raises CourseError if the lesson has no exercise or no such TODO.
        """
        if not lesson.starter.is_file():
            raise CourseError(f"Lesson {lesson.number} has no exercise.")
        sources = [lesson.starter, *companions(lesson.starter)]
        fresh = {source.name: source.read_bytes() for source in sources}
        if at is not None:
            if at not in todos_in(lesson):
                raise no_such_todo(lesson, at, todos_in(lesson))
            fresh[lesson.work.name] = partly_solved(lesson, at).encode()
        copied: dict[str, str] = self.progress.read(lesson).get("copied", {})
        changed = [
            target
            for name, content in fresh.items()
            if (target := lesson.work.with_name(name)).is_file()
            and digest(target) not in (digest_of(content), copied.get(name))
        ]
        if changed and not reset and at is None:
            raise WorkChangedError(
                f"You have changed {self.shown(changed[0])}. Keep working in it, or type\n"
                f"  uv run workshop start {lesson.number} --reset\n"
                "to start over. A copy of what you have is kept beside it."
            )
        for target in changed:
            keep_copy(target)
        lesson.work.parent.mkdir(parents=True, exist_ok=True)
        for name, content in fresh.items():
            lesson.work.with_name(name).write_bytes(content)
        update: dict[str, Any] = {
            "copied": {name: digest_of(content) for name, content in fresh.items()}
        }
        if reset or at is not None:
            update |= {"passed": None, "total": None}
        if reset:
            update["done"] = None
        self.progress.update(lesson, update)
        return lesson.work

    def shown(self, path: Path) -> str:
        """`path` as the learner can type it: from the folder they are in, or the root."""
        for folder in (Path.cwd(), self.root):
            if path.is_relative_to(folder):
                return str(path.relative_to(folder))
        return str(path)

    def is_done(self, lesson: Lesson) -> bool:
        """Whether the learner's file has ever passed all checks."""
        return "done" in self.progress.read(lesson)

    def state(self, lesson: Lesson) -> str:
        """One of these, or `in progress (n of m checks)`:

        not started | started | done | passed, changed since
        """
        known = self.progress.read(lesson)
        passed, total = known.get("passed"), known.get("total")
        if "done" in known:
            same = not lesson.work.is_file() or digest(lesson.work) == known["done"]
            return "done" if same else "passed, changed since"
        if not lesson.work.is_file():
            return "not started"
        if not isinstance(passed, int) or not isinstance(total, int) or total == 0:
            return "started"
        return f"in progress ({passed} of {total} checks)"

    def record(self, lesson: Lesson, passed: int, total: int) -> None:
        """Store the result of the last run of the lesson's checks.

        A file that has passed them is remembered: what was learned stays learned.
        """
        result: dict[str, Any] = {"passed": passed, "total": total}
        if passed == total and lesson.work.is_file():
            result["done"] = digest(lesson.work)
        self.progress.update(lesson, result)

    def hints_given(self, lesson: Lesson, todo: int) -> int:
        """How many hints of this TODO the learner has seen."""
        hints: dict[str, int] = self.progress.read(lesson).get("hints", {})
        return hints.get(str(todo), 0)

    def give_hint(self, lesson: Lesson, todo: int) -> int:
        """Count one more hint for this TODO; return how many there are now."""
        hints: dict[str, int] = dict(self.progress.read(lesson).get("hints", {}))
        hints[str(todo)] = hints.get(str(todo), 0) + 1
        self.progress.update(lesson, {"hints": hints})
        return hints[str(todo)]


@dataclass
class Progress:
    """What work/progress.json holds, a table for each lesson's slug.

    The file is read for each query, so that two terminals agree, and replaced in
    one step, so that no crash leaves half of it. A file that cannot be read is
    set aside, and `notices` says so: show them to the learner.
    """

    path: Path
    notices: list[str] = field(default_factory=list)

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            known = None
        if isinstance(known, dict) and all(isinstance(v, dict) for v in known.values()):
            return known
        aside = free_name(self.path.with_name("progress.corrupt.json"))
        self.path.replace(aside)
        self.notices.append(
            f"{self.path.name} could not be read, so your progress starts over. "
            f"The old file is kept as {aside.name}; your exercises are untouched."
        )
        return {}

    def read(self, lesson: Lesson) -> dict[str, Any]:
        """What is known about the lesson; empty if nothing is."""
        return self._load().get(lesson.slug, {})

    def update(self, lesson: Lesson, values: dict[str, Any]) -> None:
        """Set these values for the lesson; None removes one."""
        known = self._load()
        mine = {**known.get(lesson.slug, {}), **values}
        known[lesson.slug] = {key: value for key, value in mine.items() if value is not None}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the replacement is one step within one file system.
        fresh = self.path.with_name(f"progress.{os.getpid()}.tmp")
        fresh.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        fresh.replace(self.path)


def imported_names(program: Path) -> set[str]:
    """The top-level names of the modules that a Python file imports. Raises SyntaxError."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def companions(program: Path) -> list[Path]:
    """The Python files beside `program` that it imports, and those that they import."""
    found: list[Path] = []
    waiting = [program]
    while waiting:
        for name in imported_names(waiting.pop()):
            path = program.with_name(f"{name}.py")
            if path.is_file() and path != program and path not in found:
                found.append(path)
                waiting.append(path)
    return sorted(found)


def no_such_todo(lesson: Lesson, todo: int, known: Iterable[int]) -> CourseError:
    """Says which TODOs there are."""
    numbers = ", ".join(str(number) for number in known) or "none"
    return CourseError(f"Lesson {lesson.number} has no TODO {todo}. Its TODOs: {numbers}.")


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    return digest_of(path.read_bytes())


def digest_of(content: bytes) -> str:
    """The SHA-256 of these bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def free_name(path: Path) -> Path:
    """`path`, or the first of `path` with -2, -3, … before its ending that is free."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def keep_copy(path: Path) -> Path:
    """Copy the learner's file to exercise.backup.py (or -2, -3, …) beside it."""
    copy = free_name(path.with_name(f"{path.stem}.backup{path.suffix}"))
    shutil.copyfile(path, copy)
    return copy
