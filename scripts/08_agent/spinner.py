"""A sign of life in a terminal while the model thinks, and nothing at all in a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FRAMES = "|/-\\"
SECONDS = 0.1  # for each frame


class Spinner:
    """Spins within a `with` block, until the first piece of the answer is written.

    All output goes through it meanwhile: it has to be wiped before anything else is printed.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if sys.stdout.isatty():
            self._task = asyncio.create_task(self._spin())

    def __exit__(self, *_: object) -> None:
        self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No spinner in this block: somebody is typing."""
        self._stop()
        yield
        self.__enter__()

    def write(self, text: str) -> None:
        """A piece of the answer. The thinking is over."""
        self._stop()
        print(printable(text), end="", flush=True)

    def line(self, text: str) -> None:
        """A whole line, while the thinking goes on."""
        self._wipe()
        print(printable(text), flush=True)

    async def _spin(self) -> None:
        number = 0
        while True:
            frame = FRAMES[number % len(FRAMES)]
            print(f"\r{frame} {self.label}", end="", flush=True)
            number += 1
            await asyncio.sleep(SECONDS)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._wipe()

    def _wipe(self) -> None:
        if sys.stdout.isatty():
            print("\r" + " " * (len(self.label) + 2) + "\r", end="", flush=True)


def printable(text: str) -> str:
    """What a server sends is shown and never obeyed: no control characters reach a terminal."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text
    )
