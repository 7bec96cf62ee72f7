"""Cut a starter out of a solution.

    # TODO 1: What is wanted, and why.
    # --- solution
    lines that only the solution has
    # --- starter
    # lines that only the starter has, each behind "# "
    # --- end

The `starter` part may be missing. A TODO may have several such spans. Where another TODO
stands between them, a comment `# (TODO 1) …` says whose the next span is.

A learner who comes late gets an exercise whose first TODOs are done: `partly_solved`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.publishing.difference import PublishError

if TYPE_CHECKING:
    from workshop.course import Lesson

_MARKER = re.compile(r"\s*# ---(?!-)\s*(.*?)\s*")
_TODO = re.compile(r"\s*# TODO\b\s*(\d*)(:?)(.*)")
_AGAIN = re.compile(r"\s*# \(TODO (\d+)\)")
_COMMENTED = re.compile(r"(\s*)#(?: (.*)|)")


@dataclass(frozen=True)
class _Line:
    text: str
    part: str
    """"" outside all spans, else "marker", "solution" or "starter"."""
    todo: int
    """Whose span it is, where it is in one."""


def starter_text(source: str, name: str, at: int = 1) -> str:
    """The starter that the solution `source` makes. `name` is for the errors.

    The TODOs before `at` are done in it. Raises PublishError for marks that are not as
    above, and for a starter that is not Python.
    """
    lines: list[str] = []
    for number, line in enumerate(_split(source, name), start=1):
        if line.part == "" or (line.part == "solution" and line.todo < at):
            lines.append(line.text)
        elif line.part == "starter" and line.todo >= at:
            lines.append(_uncommented(line.text, name, number))
    text = "\n".join(lines) + "\n"
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise PublishError(
            f"{name}: the starter it makes is not Python: {error.msg}, in the starter's line "
            f"{error.lineno}: {(error.text or '').strip()}"
        ) from None
    return text


def partly_solved(lesson: Lesson, todo: int) -> str:
    """The lesson's exercise with the TODOs before this one done, and the others open.

    For its first TODO that is the starter. Raises PublishError, as `starter_text` does.
    """
    source = lesson.solution.read_text(encoding="utf-8")
    return starter_text(source, f"solutions/{lesson.slug}/exercise.py", todo)


def todos_in(lesson: Lesson) -> list[int]:
    """The numbers of the TODOs in the lesson's exercise, none if it has no exercise."""
    if not lesson.solution.is_file():
        return []
    lines = lesson.solution.read_text(encoding="utf-8").splitlines()
    return [int(found[1]) for text in lines if (found := _TODO.match(text)) and found[1]]


def solution_text(source: str, name: str = "solution") -> str:
    """The solution as a learner should see it: no marks, no starter lines.

    The TODO comments stay, so that a comparison with the learner's file is small.
    """
    kept = [line.text for line in _split(source, name) if line.part in ("", "solution")]
    return "\n".join(kept) + "\n"


def _uncommented(text: str, name: str, number: int) -> str:
    if not text.strip():
        return text
    commented = _COMMENTED.fullmatch(text)
    if commented is None:
        raise PublishError(
            f'{name}, line {number}: a starter line begins with "# ", this one does not: '
            f"{text.strip()}"
        )
    indent, rest = commented.groups()
    return f"{indent}{rest}" if rest else ""


def _split(source: str, name: str) -> list[_Line]:
    """Each line with the part it belongs to. Raises PublishError, with the line."""
    lines: list[_Line] = []
    part = ""
    opened = 0
    todo = owner = 0
    todo_has_span = True

    def wrong(number: int, why: str) -> PublishError:
        return PublishError(f"{name}, line {number}: {why}")

    for number, text in enumerate(source.splitlines(), start=1):
        if (marker := _MARKER.fullmatch(text)) is not None:
            match marker[1], part:
                case "solution", "":
                    if todo == 0:
                        raise wrong(number, "there is no `# TODO 1: …` above this solution.")
                    part, opened, todo_has_span = "solution", number, True
                case "starter", "solution":
                    part = "starter"
                case "end", "solution" | "starter":
                    part = ""
                case ("solution" | "starter" | "end") as word, "":
                    raise wrong(number, f"`# --- {word}` without `# --- solution` before it.")
                case ("solution" | "starter") as word, _:
                    raise wrong(
                        number,
                        f"`# --- {word}` inside the {part} that line {opened} opened: "
                        "close that with `# --- end` first.",
                    )
                case word, _:
                    raise wrong(
                        number,
                        f"unknown mark `# --- {word}`: there are solution, starter and end.",
                    )
            lines.append(_Line(text, "marker", owner))
            continue
        if (found := _TODO.match(text)) is not None:
            if part:
                raise wrong(number, f"a TODO inside the {part} that line {opened} opened.")
            if not found[1] or not found[2] or not found[3].strip():
                raise wrong(number, "a TODO reads `# TODO 1: what is wanted`.")
            if int(found[1]) != todo + 1:
                raise wrong(number, f"TODO {found[1]} is where TODO {todo + 1} should be.")
            if not todo_has_span:
                raise wrong(number, f"TODO {todo} above has no `# --- solution`.")
            todo = owner = todo + 1
            todo_has_span = False
        elif not part and (again := _AGAIN.match(text)) is not None:
            owner = int(again[1])
            if not 1 <= owner <= todo:
                raise wrong(number, f"there is no `# TODO {owner}: …` above this.")
        lines.append(_Line(text, part, owner))
    if part:
        raise wrong(opened, "this `# --- solution` is never closed by `# --- end`.")
    if not todo_has_span:
        raise PublishError(f"{name}: TODO {todo} has no `# --- solution` below it.")
    if todo == 0:
        raise PublishError(f"{name}: there is no `# TODO 1: …` in it.")
    return lines
