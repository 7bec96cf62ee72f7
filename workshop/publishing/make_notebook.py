"""Make a notebook from its source in jupytext's percent format.

In the source, a code cell whose first line is `# scripts/…/file.py::Name` stands for
that definition, a fenced snippet in a text cell for its file, and `# %% exercise`
for a cell with the lesson's starter in it.
"""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import nbformat
from nbformat.notebooknode import NotebookNode

from workshop.publishing.difference import PublishError
from workshop.publishing.markdown import fences, is_snippet
from workshop.publishing.snippets import fill_snippets, snippet

_SHOWN = re.compile(r"# ((?:scripts|solutions|workshop)/\S+?\.py(?:::[\w.]+)?)")


def notebook_text(source: str, name: str, root: Path, number: str, starter: str | None) -> str:
    """The .ipynb that `source` makes. `starter` goes into the exercise's cell.

    Without outputs, with ids that stay. Raises PublishError.
    """
    cells: list[NotebookNode] = []
    for cell in jupytext.reads(source, fmt="py:percent").cells:
        text: str = cell.source
        if cell.cell_type == "markdown":
            text, differences = fill_snippets(f"{text}\n", name, root)
            for difference in differences:
                if not difference.curable:
                    raise PublishError(f"{name}: {difference.what}: {difference.diff}")
            made = nbformat.v4.new_markdown_cell(_without_paths(text, name).rstrip("\n"))
        elif cell.metadata.get("title") == "exercise":
            if starter is None:
                raise PublishError(f"{name}: it has an exercise's cell, the lesson has none.")
            if text.strip():
                raise PublishError(f"{name}: the exercise's cell must be empty, it is made.")
            made = nbformat.v4.new_code_cell(f"%%exercise {number}\n{starter.rstrip()}")
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


def _without_paths(text: str, name: str) -> str:
    """Text whose snippets have only a language: Jupyter colours no other block."""
    lines = text.split("\n")
    for fence in fences(text, name):
        if is_snippet(fence.info):
            language = fence.info.split()[0]
            lines[fence.line - 1] = f"{fence.indent}{fence.mark}{language}"
    return "\n".join(lines)
