"""Find the parts of an exercise: the functions in which each TODO is.

A part is named like `events` or `Session.__init__`. A notebook's cell shows the parts of one
TODO, a method with its class around it, and puts them back into the learner's file. They are
found by name, so everything else in the file may change.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TODO_COMMENT = re.compile(r"\s*# \(?TODO (\d+)\b")
"""The first line of a TODO, or of what `# (TODO 1) …` marks as more of it."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class PartError(Exception):
    """A part is not where it should be. `name` is the part's."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


@dataclass(frozen=True)
class _Place:
    """A definition's lines, counted from 0; `end` is the first line after it."""

    first: int
    end: int
    column: int


def parts_of_todos(starter: str) -> dict[int, list[str]]:
    """For each TODO the names of the functions that its comments are in.

    A TODO of a class that is in none of its methods names the class. Raises PartError for
    a TODO that is in no definition.
    """
    places = _places(starter)
    found: dict[int, list[str]] = {}
    for number, line in enumerate(starter.splitlines()):
        if (todo := TODO_COMMENT.match(line)) is None:
            continue
        around = [name for name, place in places.items() if place.first <= number < place.end]
        if not around:
            raise PartError("", f"TODO {todo[1]} is in no function: a cell can't show it.")
        names = found.setdefault(int(todo[1]), [])
        if around[-1] not in names:
            names.append(around[-1])
    return found


def read_parts(text: str, names: Iterable[str]) -> dict[str, str]:
    """The source of each part, its lines as they are. Raises PartError, SyntaxError."""
    places, lines = _places(text), text.split("\n")
    parts: dict[str, str] = {}
    for name in names:
        if name not in places:
            raise PartError(name, f"There is no `{name}`.")
        parts[name] = "\n".join(lines[places[name].first : places[name].end])
    return parts


def replace_parts(text: str, parts: Mapping[str, str]) -> str:
    """The file `text` with these parts in it. Raises PartError, SyntaxError."""
    places, lines = _places(text), text.split("\n")
    for name in parts:
        if name not in places:
            raise PartError(name, f"There is no `{name}`.")
    # From the last one up, so that the lines above keep their numbers.
    for name in sorted(parts, key=lambda name: -places[name].first):
        place = places[name]
        lines[place.first : place.end] = _at_column(parts[name], place.column).split("\n")
    return "\n".join(lines)


def cell_text(parts: Mapping[str, str]) -> str:
    """The parts as a cell shows them: each class once, around its methods."""
    text, home = "", ""
    for name, source in parts.items():
        outer, _, _ = name.rpartition(".")
        if not outer:
            text += f"\n\n{source}\n"
        elif outer == home:
            text += f"\n{source}\n"
        else:
            text += f"\n\nclass {outer}:  # all the rest of it is in your file\n{source}\n"
        home = outer
    return text.strip("\n")


def other_code(text: str, names: Iterable[str]) -> list[str]:
    """What a cell has beside its parts: names of definitions, and other statements' text."""
    wanted = set(names)
    homes = {name.rpartition(".")[0] for name in wanted}
    others: list[str] = []

    def visit(body: list[ast.stmt], outer: str) -> None:
        for node in body:
            named = isinstance(node, Definition)
            name = f"{outer}.{node.name}".lstrip(".") if named else ast.unparse(node)
            if isinstance(node, ast.ClassDef) and name in homes:
                visit(node.body, name)
            elif name not in wanted:
                others.append(name.split("\n")[0])

    visit(ast.parse(text).body, "")
    return others


def _places(text: str) -> dict[str, _Place]:
    """Every class, method and function that is in no other function, outer ones first."""
    # Not splitlines: Python does not end a line at a form feed or U+2028.
    lines = text.split("\n")
    places: dict[str, _Place] = {}

    def visit(body: list[ast.stmt], outer: str) -> None:
        for node in body:
            if not isinstance(node, Definition):
                continue
            name = f"{outer}.{node.name}".lstrip(".")
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
            end = _end(lines, node.end_lineno or node.lineno, node.col_offset)
            places[name] = _Place(first, end, node.col_offset)
            if isinstance(node, ast.ClassDef):
                visit(node.body, name)

    visit(ast.parse(text).body, "")
    return places


def _end(lines: list[str], end: int, column: int) -> int:
    """Where a definition ends, with the comments that are indented as deeply as its body."""
    for number in range(end, len(lines)):
        line = lines[number]
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if indent <= column or not line.lstrip().startswith("#"):
            break
        end = number + 1
    return end


def _at_column(source: str, column: int) -> str:
    """The source of a definition, moved so that it begins in this column."""
    lines = source.split("\n")
    present = len(lines[0]) - len(lines[0].lstrip())
    if present == column:
        return source
    return "\n".join(
        " " * column + (line[present:] if not line[:present].strip() else line.lstrip())
        if line.strip()
        else line
        for line in lines
    )
