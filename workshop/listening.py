"""Watch a stream arrive: every piece is printed as it comes, with its time."""

from __future__ import annotations

import codecs
import http.client
import json
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit


class Listener:
    """A stream that is read in the background. Close it, or use it in a `with`.

    `show` prints what arrived, each piece with the seconds since the request.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._began = time.monotonic()
        self._connection = http.client.HTTPConnection(parts.netloc)
        path = _path(parts)
        self._connection.request("GET", path, headers={"Accept": "text/event-stream"})
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers
        self._pieces: list[tuple[float, str]] = []
        self._shown = 0
        self._ended: float | None = None
        self._changed = threading.Condition()
        print(f"GET {path} -> {self.status}, {self.headers.get('Content-Type')}", flush=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # A character may arrive in two pieces.
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        try:
            while piece := self._response.read1(65_536):
                with self._changed:
                    self._pieces.append((time.monotonic() - self._began, decode(piece)))
                    self._changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the connection broke, or `close` was called
        with self._changed:
            self._ended = time.monotonic() - self._began
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """Everything that has arrived so far."""
        with self._changed:
            return "".join(piece for _, piece in self._pieces)

    def show(self, events: int | None = 1, *, seconds: float = 30.0) -> None:
        """Print what arrives until this many blank lines; each ends an event.

        It begins where the last `show` stopped. None: whatever comes within `seconds`.
        """
        deadline = time.monotonic() + seconds
        seen = ""
        while events is None or seen.replace("\r\n", "\n").count("\n\n") < events:
            with self._changed:
                while self._shown == len(self._pieces) and self._ended is None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        if events is not None:
                            print(f"(Nothing more came within {seconds:g} s.)", flush=True)
                        return
                    self._changed.wait(left)
                if self._shown == len(self._pieces):
                    print(f"{self._ended:8.3f} s | (the stream ended)", flush=True)
                    return
                at, piece = self._pieces[self._shown]
                self._shown += 1
            seen += piece
            # Printed piece by piece, and flushed: what you see is when it came.
            for number, line in enumerate(piece.splitlines() or [""]):
                print(f"{at:8.3f} s | {line}" if number == 0 else f"{'|':>12} {line}")
            print(end="", flush=True)

    def close(self) -> None:
        """Hang up. The server sees its listener leave."""
        with self._changed:
            if self._ended is None:
                # This ends the reader's wait; closing alone does not.
                self._socket.shutdown(2)
        # Closed while it reads, http.client raises whatever it happens to trip over.
        self._reader.join(2)
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def listen(url: str) -> Listener:
    """Open a stream and keep reading it in the background, while other cells run."""
    return Listener(url)


def show_stream(url: str, events: int | None = None, *, seconds: float = 30.0) -> None:
    """Open a stream, print what arrives as it arrives, and hang up.

    It stops after this many events, at the stream's end, or after `seconds`.
    """
    with listen(url) as listener:
        listener.show(events, seconds=seconds)


def post(url: str, message: object) -> str:
    """POST a JSON value; print status, type and body of the answer, and return the body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    path = _path(parts)
    try:
        connection.request(
            "POST", path, json.dumps(message), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
    kind = answer.getheader("Content-Type", "no Content-Type")
    print(f"POST {path} -> {answer.status}, {kind}")
    if body:
        print(body)
    return body


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
