"""Fill the blocks that name a file, or a definition in it, from that file."""

from __future__ import annotations

import ast
import difflib
import textwrap
from collections.abc import Iterator
from pathlib import Path

from workshop.publishing.difference import Difference, PublishError, unified
from workshop.publishing.markdown import fences, is_snippet, with_bodies
from workshop.publishing.starters import solution_text


def fill_snippets(text: str, name: str, root: Path) -> tuple[str, list[Difference]]:
    """A lesson's text with every snippet filled in, and what that changed."""
    bodies = []
    differences = []
    for fence in fences(text, name):
        if not is_snippet(fence.info):
            continue
        target = fence.info.split()[1]
        what = f"line {fence.line}, snippet {target}"
        try:
            body = snippet(target, root)
            with_bodies(text, [(fence, body)], name)
        except PublishError as error:
            differences.append(Difference(name, what, str(error), curable=False))
            continue
        if body != fence.body:
            bodies.append((fence, body))
            differences.append(Difference(name, what, unified(fence.body, body)))
    return with_bodies(text, bodies, name), differences


def snippet(target: str, root: Path) -> str:
    """The text of "path" or "path::Name", ended by a newline.

    A solution is shown without its marks. Raises PublishError.
    """
    path_text, _, wanted = target.partition("::")
    path = root / path_text
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        siblings = {p.name: p.relative_to(root).as_posix() for p in path.parent.glob("*.*")}
        near = [siblings[n] for n in difflib.get_close_matches(path.name, siblings)]
        raise PublishError(f"There is no file {path_text}.{_suggested(near)}")
    text = path.read_text(encoding="utf-8")
    if path_text.startswith("solutions/") and path.name == "exercise.py":
        text = solution_text(text, path_text)
    if wanted:
        text = _definition(text, path_text, wanted)
    return text.strip("\n") + "\n"


def _suggested(names: list[str]) -> str:
    return f" Did you mean {' or '.join(names)}?" if names else ""


def _definition(text: str, path: str, wanted: str) -> str:
    """The source of one definition: comments above, decorators and all, dedented."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise PublishError(f"{path} is not Python: {error.msg}, line {error.lineno}.") from None
    found = list(_definitions(tree.body))
    nodes = [node for name, node in found if name == wanted]
    if not nodes:
        names = list(dict.fromkeys(name for name, _ in found))
        # If the class or the function around it was left out, its last word is meant.
        near = [name for name in names if name.split(".")[-1] == wanted]
        near = near or difflib.get_close_matches(wanted, names, cutoff=0.5)
        raise PublishError(
            f"{path} defines no {wanted}."
            + (_suggested(near) or f" It defines {', '.join(names) or 'nothing'}.")
        )
    if len(nodes) > 1:
        where = " and ".join(str(node.lineno) for node in nodes)
        raise PublishError(f"{path} defines {wanted} more than once, in lines {where}.")
    (node,) = nodes
    lines = text.split("\n")
    # Counted from 0, the line at which the definition begins.
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
    indent = " " * node.col_offset
    while first > 0 and lines[first - 1].startswith(f"{indent}#"):
        first -= 1
    return textwrap.dedent("\n".join(lines[first : node.end_lineno]))


def _definitions(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Every name that the statements define, dotted, with its statement."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"{within}{node.name}", node
            yield from _definitions(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield f"{within}{target.id}", node
        else:
            # What is under `if`, `try` or `with` belongs to the scope around it.
            for field in ("body", "orelse", "finalbody"):
                yield from _definitions(getattr(node, field, []), within)
            for handler in getattr(node, "handlers", []):
                yield from _definitions(handler.body, within)
