"""One picture for each cell, which grows while the cell runs.

Whatever a cell sends and receives goes into the same picture, in the order in which it
happened. Where no notebook runs, each row is printed as it comes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from workshop.notebook.pictures import Row, html_of, kind_of, lines_of, parsed, text_of


@dataclass
class Conversation:
    """Numbers the messages of a session, and knows which requests wait for their reply."""

    last: int = 0
    waiting: dict[str, tuple[Row, Picture, float]] = field(default_factory=dict)

    def next(self) -> int:
        self.last += 1
        return self.last


class Picture:
    """The rows of one cell."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.rows: list[Row] = []
        self.names = ("client", "server")
        self.numbers: Conversation | None = None
        self._handle: Any = None

    def add(self, row: Row) -> Row:
        """Show one more row. Its time is `time.monotonic()`'s, and becomes the picture's."""
        row.at -= self.began
        self.rows.append(row)
        self.draw()
        if not _in_notebook():
            print("\n".join(lines_of(row)), flush=True)
        return row

    def message(self, row: Row, talk: Conversation, session: str) -> Row:
        """Show a message: number it, and link a reply with its request."""
        self.numbers = self.numbers or talk
        row.number = self.numbers.next()
        kind, id = kind_of(parsed(row.data)) if row.data else ("", None)
        key, now = f"{session} {id!r}", row.at
        if kind in ("reply", "error") and row.kind == "event":
            request, picture, sent = talk.waiting.pop(key, (None, self, now))
            if request is not None:
                row.linked, request.linked = request.number, row.number
                request.took = now - sent
                if picture is not self:
                    picture.draw()
        self.add(row)
        if kind == "request" and row.kind == "sent":
            talk.waiting[key] = (row, self, now)
        return row

    def answered(self, row: Row) -> None:
        """The response to a POST has come, and is in its row now."""
        self.draw()
        if not _in_notebook():
            body = f"\n{row.answer_body.rstrip()}" if row.answer_body else ""
            print(f"           ← {row.answer}{body}", flush=True)

    def draw(self) -> None:
        """Bring what is on the screen up to date."""
        if not _in_notebook():
            return
        from IPython.display import display

        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)

    def __repr__(self) -> str:
        return text_of(self.rows)

    def _repr_html_(self) -> str:
        return html_of(self.rows, self.names)


class Quiet:
    """As the last value of a cell, it shows nothing: what there is to see is shown already."""

    def _ipython_display_(self) -> None:
        pass


_current: Picture | None = None


def picture(began: float | None = None) -> Picture:
    """The picture of the cell that runs. A new one's times count from `began`, or from now."""
    global _current
    if _current is None or not _in_notebook():
        _current = Picture(time.monotonic() if began is None else began)
    return _current


def note(text: str) -> None:
    """Add a remark to the picture of this cell, with its time."""
    shown = picture()
    shown.add(Row("note", time.monotonic(), text))


def _next_cell(*_: object) -> None:
    global _current
    _current = None


def _in_notebook() -> bool:
    """Whether this is a Jupyter kernel, and not a terminal or a plain program."""
    return _shell is not None and hasattr(_shell, "kernel")


def _find_shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    if shell is not None:
        shell.events.register("pre_run_cell", _next_cell)
    return shell


_shell = _find_shell()
