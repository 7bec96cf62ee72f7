"""What the notebooks use: start a program, see a conversation, solve and check the exercise.

    from workshop.notebook import check, listen, post, show_stream, start

    server = start("scripts/05_sse_server/sse_server.py")
    show_stream(server.url + "/sse", events=2)
    server.stop()

    check("05", todo=1)

Importing it adds the cell magic `%%todo NN N`, which writes the cell into the learner's
file. Paths are counted from the repository's root, wherever the kernel runs.
"""

from __future__ import annotations

from contextlib import suppress

from workshop.notebook.checking import Checked, check
from workshop.notebook.programs import Child, Started, run, start, start_child
from workshop.notebook.shown import note
from workshop.notebook.streams import Answer, Event, Stream, listen, post, show_stream
from workshop.notebook.todo_cells import begin_at, start_exercise, todo

__all__ = [
    "Answer",
    "Checked",
    "Child",
    "Event",
    "Started",
    "Stream",
    "begin_at",
    "check",
    "listen",
    "note",
    "post",
    "run",
    "show_stream",
    "start",
    "start_child",
    "start_exercise",
]


def _add_magic() -> None:
    # A plain Python program, a test for one, may import this module too.
    try:
        from IPython.core.magic import register_cell_magic
    except ImportError:
        return
    with suppress(NameError):  # raised where no IPython runs
        register_cell_magic("todo")(todo)


_add_magic()
