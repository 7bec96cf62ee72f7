"""One picture for each cell, which grows while the cell runs.

Whatever a cell sends and receives goes into the same picture, in the order in which it
happened. Where no notebook runs, each row is printed as it comes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workshop.notebook.pictures import Row, html_of, kind_of, lines_of, parsed, text_of


@dataclass
class Conversation:
    """Numbers the messages of a session, from one cell to the next."""

    last: int = 0


class Picture:
    """The rows of one cell, in the order in which they happened."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.rows: list[Row] = []
        self.names = ("client", "server")
        self._talk: Conversation | None = None
        self._first = 1  # the number of its first message
        self._handle: Any = None

    def add(self, row: Row) -> None:
        """Show one more row. Its time is `time.monotonic()`'s, and becomes the picture's."""
        if self.rows and row.at < self.began:
            # It had come, and waited to be read, before the cell sent anything.
            for one in self.rows:
                one.at += self.began - row.at
            self.began = row.at
        row.at -= self.began
        # What is read late may have arrived early.
        insort(self.rows, row, key=lambda one: one.at)
        messages = [one for one in self.rows if one.number]
        for number, one in enumerate(messages, start=self._first):
            one.number = number
        if self._talk is not None:
            self._talk.last = max(self._talk.last, self._first + len(messages) - 1)
        self.draw()
        if not _in_notebook():
            print("\n".join(lines_of(row)), flush=True)

    def message(self, row: Row, talk: Conversation, session: str) -> None:
        """Show a message with its number, and link a reply with its request."""
        if self._talk is None:
            self._talk, self._first = talk, talk.last + 1
        kind, id = kind_of(parsed(row.data)) if row.data else ("", None)
        key = f"{session} {id!r}"
        request, picture = None, self
        if kind in ("reply", "error") and row.kind == "event":
            request, picture = _waiting.pop(key, (None, self))
            if request is not None:
                row.linked, request.linked = request, row
                request.took = row.at - (request.at + picture.began)
        elif kind == "request" and row.kind == "sent":
            _waiting[key] = (row, self)
        row.number = -1  # until it has its place
        self.add(row)
        if picture is not self:
            picture.draw()

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


# Requests that wait for their reply, by session and id, each with the picture it is in.
_waiting: dict[str, tuple[Row, Picture]] = {}


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


_opened: list[Callable[[], None]] = []


def close_on_interrupt(close: Callable[[], None]) -> None:
    """Call this if the cell that runs is interrupted."""
    _opened.append(close)


def _next_cell(*_: object) -> None:
    global _current
    _current = None
    _opened.clear()


def _cell_has_run(result: Any) -> None:
    # Wherever the interrupt came, also between two lines of ours. A cell that awaits
    # something is cancelled.
    if isinstance(result.error_in_exec, (KeyboardInterrupt, asyncio.CancelledError)):
        for close in _opened:
            close()
    _opened.clear()


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
        shell.events.register("post_run_cell", _cell_has_run)
    if hasattr(shell, "kernel") and os.name == "posix":
        # An interrupt of a cell that awaits something would be seen only when something
        # comes: ipykernel does not wake its loop (its issue 881). With a handler of any
        # signal, asyncio wakes it for all of them.
        shell.kernel.io_loop.asyncio_loop.add_signal_handler(signal.SIGWINCH, int)
    return shell


_shell = _find_shell()
