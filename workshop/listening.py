"""Read a stream in the background: every piece as it came, with its time."""

from __future__ import annotations

import codecs
import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Self
from urllib.parse import SplitResult, urlsplit

from workshop.background_reader import BackgroundReader


class Listener:
    """A response that is read in the background. Close it, or use it in a `with`."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.path = path_of(parts)
        self.began = time.monotonic()
        self._connection = http.client.HTTPConnection(parts.netloc)
        try:
            asked = {"Accept": "text/event-stream", **(headers or {})}
            self._connection.request("GET", self.path, headers=asked)
            self._socket = self._connection.sock
            self._response = self._connection.getresponse()
        except BaseException:  # an interrupt, too: nobody else could close it
            self._connection.close()
            raise
        self.answered = time.monotonic()
        self.status = self._response.status
        self.headers = self._response.headers
        self._pieces: list[tuple[float, str]] = []
        self._taken = 0
        self.ended: float | None = None
        """When the stream ended, as `time.monotonic()` counts; None while it is open."""
        self._reader = BackgroundReader(self._read(), self._pieces.append)

    def _read(self) -> Iterator[tuple[float, str]]:
        # A character may arrive in two pieces.
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        # The connection may break, or `close` be called.
        with suppress(OSError, ValueError, http.client.HTTPException):
            while piece := self._response.read1(65_536):
                yield time.monotonic(), decode(piece)
        self.ended = time.monotonic()

    @property
    def text(self) -> str:
        """Everything that has arrived so far."""
        with self._reader.changed:
            return "".join(piece for _, piece in self._pieces)

    def take(self, deadline: float) -> tuple[float, str] | None:
        """The next piece, and when it came. None at the stream's end, or after `deadline`."""
        left = deadline - time.monotonic()
        if not self._reader.wait(lambda: len(self._pieces) > self._taken, left):
            return None
        self._taken += 1
        return self._pieces[self._taken - 1]

    def close(self) -> None:
        """Hang up. The server sees its listener leave."""
        with suppress(OSError):  # the server closed it first
            # This ends the reader's wait; closing alone does not.
            self._socket.shutdown(2)
        # Closed while it reads, http.client raises whatever it happens to trip over.
        self._reader.join(2)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def path_of(parts: SplitResult) -> str:
    """The path and the query, as they are in the first line of a request."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
