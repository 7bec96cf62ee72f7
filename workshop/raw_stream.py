"""An event stream as raw bytes, pieces and events, each with its time of arrival.

A thread reads it, so that a check can wait for a piece, an event or the end, each with a
limit.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from workshop.background_reader import BackgroundReader
from workshop.course import ROOT
from workshop.loading import load
from workshop.patience import stretched

# How long a check waits for something that should come immediately, in seconds.
SOON = stretched(1.0)

MAX_ANSWER = 16 * 1024 * 1024  # bytes that are kept of a response or a stream


def event_stream_parser() -> Any:
    """A new parser of lesson 02: the course has one, and the checks use it too."""
    return load(ROOT / "scripts/02_event_format/event_stream.py").EventStreamParser()


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event with the place of its bytes in the stream and its time of arrival.

    `start` and `end` index the stream's raw bytes; `seconds` counts from the request.
    """

    type: str
    data: str
    last_event_id: str
    start: int
    end: int
    seconds: float


class Stream:
    """An open response that is still arriving. Close it, or use it in a `with`."""

    def __init__(
        self, request: str, connection: http.client.HTTPConnection, began: float
    ) -> None:
        self.request = request
        self._connection = connection
        self._socket: socket.socket = connection.sock
        self._response = connection.getresponse()
        # From here on only `close` may end a read.
        self._socket.settimeout(None)
        self.status: int = self._response.status
        self.headers = self._response.headers
        self._began = began
        self._parser = event_stream_parser()
        self._raw = bytearray()
        self._event_start = 0
        self._line = b""  # the line that is still coming in, or the last whole one
        self._events: list[ReceivedEvent] = []
        self._pieces: list[tuple[float, bytes]] = []
        self._broke_off = False
        self._reader = BackgroundReader(self._read(), self._take)

    def _read(self) -> Iterator[bytes]:
        try:
            while len(self._raw) < MAX_ANSWER and (piece := self._response.read1(65_536)):
                yield piece
        except (OSError, ValueError, http.client.HTTPException):
            self._broke_off = True  # by the server, or `close` was called

    def _take(self, piece: bytes) -> None:
        seconds = time.monotonic() - self._began
        self._pieces.append((seconds, piece))
        # Line by line, so that each event is known by the bytes it came from.
        for part in piece.splitlines(keepends=True):
            split_line_end = part == b"\n" and self._line.endswith(b"\r")
            whole = self._line.endswith((b"\r", b"\n")) and not split_line_end
            self._line = part if whole else self._line + part
            self._raw += part
            for event in self._parser.feed(part):
                self._events.append(
                    ReceivedEvent(
                        event.type,
                        event.data,
                        event.last_event_id,
                        self._event_start,
                        len(self._raw),
                        seconds,
                    )
                )
            if self._line in (b"\n", b"\r", b"\r\n"):
                self._event_start = len(self._raw)

    @property
    def raw(self) -> bytes:
        """Every byte so far, without the chunked transfer coding."""
        with self._reader.changed:
            return bytes(self._raw)

    @property
    def pieces(self) -> list[tuple[float, bytes]]:
        """(seconds since the request, bytes) of every piece so far."""
        with self._reader.changed:
            return list(self._pieces)

    @property
    def events(self) -> list[ReceivedEvent]:
        """Every event so far."""
        with self._reader.changed:
            return list(self._events)

    @property
    def closed(self) -> bool:
        """Whether the server ended the stream."""
        return self._reader.ended

    @property
    def broke_off(self) -> bool:
        """Whether the stream is over without an end of its response."""
        return self._broke_off

    def wait(self, ready: Callable[[Stream], bool], *, seconds: float = SOON) -> bool:
        """Wait until `ready(stream)` holds; False when time runs out or the stream ends."""
        return self._reader.wait(lambda: ready(self), seconds)

    def event(
        self,
        matches: Callable[[ReceivedEvent], bool] = lambda event: True,
        *,
        after: int = 0,
        seconds: float = SOON,
    ) -> ReceivedEvent | None:
        """The first event that matches, from index `after` on; None if it does not come."""

        def found() -> ReceivedEvent | None:
            return next((event for event in self._events[after:] if matches(event)), None)

        self.wait(lambda stream: found() is not None, seconds=seconds)
        with self._reader.changed:
            return found()

    def wait_closed(self, *, seconds: float = SOON) -> bool:
        """Wait until the server ends the stream; False when it does not."""
        self.wait(lambda stream: stream.closed, seconds=seconds)
        return self.closed

    def close(self) -> None:
        """Leave, as a browser does when its page is closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server closed it first
        self._reader.join(2)
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
