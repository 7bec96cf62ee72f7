"""An exercise's hints and its gallery of mistakes: `solutions/NN_slug/exercise.toml`.

A mistake is the solution with one thing wrong, as learners get it wrong. It
names the one check that must fail and the hint that must be shown, and the TODO that must
be blamed where that is not the check's own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


class GalleryError(Exception):
    """The file breaks its own rules. The text says which entry, and how."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One TODO of the exercise, with hints that say more and more."""

    number: int
    title: str
    hints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """The solution with `edits` (text to find, text to put there) applied."""

    id: str
    what: str
    check: str
    hint: str
    edits: tuple[tuple[str, str], ...]
    todo: int | None = None

    def apply(self, solution: str) -> str:
        """The solution's text with this mistake in it. Raises GalleryError."""
        text = solution
        for find, replace in self.edits:
            if text.count(find) != 1:
                raise GalleryError(
                    f"mistake {self.id!r}: this text must be exactly once in the "
                    f"solution, and is there {text.count(find)} times:\n{find}"
                )
            text = text.replace(find, replace)
        return text


@dataclass(frozen=True, slots=True)
class Gallery:
    """Everything in one `exercise.toml`."""

    todos: tuple[Todo, ...]
    mistakes: tuple[Mistake, ...]


def load_gallery(path: Path) -> Gallery:
    """Read `exercise.toml`. Raises GalleryError for an entry that is not whole."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        todos = tuple(
            Todo(todo["number"], todo["title"], tuple(todo["hints"]))
            for todo in table.get("todo", [])
        )
        mistakes = tuple(
            Mistake(
                id=mistake["id"],
                what=mistake["what"],
                check=mistake["check"],
                hint=mistake["hint"],
                edits=tuple(
                    (edit["find"], edit["replace"]) for edit in mistake.get("edit", [mistake])
                ),
                todo=mistake.get("todo"),
            )
            for mistake in table.get("mistake", [])
        )
    except KeyError as error:
        raise GalleryError(f"{path}: an entry has no {error}") from error
    if [todo.number for todo in todos] != list(range(1, len(todos) + 1)):
        raise GalleryError(f"{path}: the TODOs are not numbered 1, 2, 3 …")
    if len({mistake.id for mistake in mistakes}) != len(mistakes):
        raise GalleryError(f"{path}: two mistakes have the same id")
    return Gallery(todos, mistakes)
