"""A thread that reads, and others that wait for what comes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

Piece = TypeVar("Piece")


class BackgroundReader:
    """Hands each piece of `source` to `keep`, in its own thread, until `ended`.

    The thread holds `changed` during `keep`. Pass your own if what is waited for can also
    come from elsewhere: whatever brings it must then notify `changed`.
    """

    def __init__(
        self,
        source: Iterable[Piece],
        keep: Callable[[Piece], object],
        changed: threading.Condition | None = None,
    ) -> None:
        self.changed = changed or threading.Condition()
        self.ended = False
        self._thread = threading.Thread(target=self._read, args=(source, keep), daemon=True)
        self._thread.start()

    def _read(self, source: Iterable[Piece], keep: Callable[[Piece], object]) -> None:
        try:
            for piece in source:
                with self.changed:
                    keep(piece)
                    self.changed.notify_all()
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def wait(
        self, ready: Callable[[], bool], seconds: float, *, every: float = math.inf
    ) -> bool:
        """Wait until `ready()`; False when time runs out or the source ends first.

        `ready` is called after each piece, and after `every` seconds without one.
        """
        deadline = time.monotonic() + seconds
        with self.changed:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    return False
                self.changed.wait(min(left, every))
            return True

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, but not longer than this."""
        self._thread.join(seconds)
