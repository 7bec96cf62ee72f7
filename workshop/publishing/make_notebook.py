"""Make a notebook from its source in jupytext's percent format.

In the source, a code cell whose first line is `# scripts/…/file.py::Name` stands for
that definition, a fenced snippet in a text cell for its file, and `# %% todo 4` for the
cell in which TODO 4 of the lesson's exercise is solved. Every TODO has one, in order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat.notebooknode import NotebookNode

from workshop.exercise_parts import PartError, cell_text, parts_of_todos, read_parts
from workshop.publishing.difference import PublishError
from workshop.publishing.markdown import fences, is_snippet
from workshop.publishing.snippets import fill_snippets, snippet

_TODO = re.compile(r"todo (\d+)")
_SHOWN = re.compile(r"# ((?:scripts|solutions|workshop)/\S+?\.py(?:::[\w.]+)?)")


def notebook_text(source: str, name: str, root: Path, number: str, starter: str | None) -> str:
    """The .ipynb that `source` makes. The TODOs' cells show what `starter` has there.

    Without outputs, with ids that stay. Raises PublishError.
    """
    cells: list[NotebookNode] = []
    todo_cells = _todo_cells(number, starter, name)
    todos_shown: list[int] = []
    notebook: Any = jupytext.reads(source, fmt="py:percent")
    for cell in notebook.cells:
        text: str = cell.source
        if cell.cell_type == "markdown":
            text, differences = fill_snippets(f"{text}\n", name, root)
            for difference in differences:
                if not difference.curable:
                    raise PublishError(f"{name}: {difference.what}: {difference.diff}")
            made = nbformat.v4.new_markdown_cell(_without_paths(text, name).rstrip("\n"))
        elif (title := _TODO.fullmatch(cell.metadata.get("title") or "")) is not None:
            todo = int(title[1])
            if todo not in todo_cells:
                raise PublishError(f"{name}: the lesson's exercise has no TODO {todo}.")
            if text.strip():
                raise PublishError(
                    f"{name}: the cell of TODO {todo} must be empty, it is made."
                )
            todos_shown.append(todo)
            made = nbformat.v4.new_code_cell(todo_cells[todo])
        else:
            first, _, rest = text.partition("\n")
            if (shown := _SHOWN.fullmatch(first.rstrip())) is not None:
                if rest.strip():
                    raise PublishError(
                        f"{name}: the cell of {shown[1]} is filled in from there. "
                        "Move its other lines to a separate cell."
                    )
                text = f"{first.rstrip()}\n{snippet(shown[1], root).rstrip()}"
            made = nbformat.v4.new_code_cell(text)
        # Counted, so that the id stays when a cell's text changes.
        made.id = f"{number}-{len(cells) + 1:02d}"
        if tags := cell.metadata.get("tags"):
            made.metadata["tags"] = tags
        cells.append(made)
    if todos_shown != list(todo_cells):
        wanted = ", ".join(map(str, todo_cells)) or "none"
        found = ", ".join(map(str, todos_shown)) or "none"
        raise PublishError(
            f"{name}: it has cells for these TODOs: {found}. There should be, in this order: "
            f"{wanted}. A cell begins with `# %% todo 1`."
        )
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
    )
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _todo_cells(number: str, starter: str | None, name: str) -> dict[int, str]:
    """The text of each TODO's cell.

    A function that an earlier cell shows, too, is fetched from the learner's file when the
    cell runs: there it has the solution of the earlier TODO in it.
    """
    cells: dict[int, str] = {}
    if starter is None:
        return cells
    try:
        todos = parts_of_todos(starter)
    except PartError as error:
        raise PublishError(f"{name}: {error}") from None
    shown: dict[str, int] = {}
    for todo, names in todos.items():
        if again := [one for one in names if one in shown]:
            body = (
                f"# Run this cell: it fetches `{again[0]}` from your file, with what you wrote "
                f"for TODO {shown[again[0]]}.\n"
                f"# Then solve TODO {todo}, and run it again."
            )
        else:
            body = cell_text(read_parts(starter, names))
        cells[todo] = f"%%todo {number} {todo}\n{body}"
        shown |= dict.fromkeys(names, todo)
    return cells


def _without_paths(text: str, name: str) -> str:
    """Text whose snippets have only a language: Jupyter colours no other block."""
    lines = text.split("\n")
    for fence in fences(text, name):
        if is_snippet(fence.info):
            language = fence.info.split()[0]
            lines[fence.line - 1] = f"{fence.indent}{fence.mark}{language}"
    return "\n".join(lines)
