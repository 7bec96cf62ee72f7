"""Read a stream as bytes with times, and point at the byte that is wrong.

`Server` sends requests and keeps every byte of the answers. `Stream` is an open
event stream: a thread reads it, so that a check can wait for a piece, an event
or the end, each with a limit. `point_at` draws bytes with a caret under one.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import string
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self
from urllib.parse import quote, urljoin, urlsplit

from rich.cells import cell_len

from workshop.checks.engine import Failed
from workshop.course import ROOT
from workshop.patience import stretched
from workshop.running import Program

# How long a check waits for something that should come immediately, in seconds.
SOON = stretched(1.0)

MAX_ANSWER = 16 * 1024 * 1024  # bytes that are kept of a response or a stream


@cache
def load(path: Path) -> ModuleType:
    """The Python file at `path` as a module, without putting its folder on sys.path."""
    name = f"workshop_loaded_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while the file is running.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


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


def read_json(text: str | bytes) -> Any:
    """A JSON value. Raises ValueError when `text` is not JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response: `request` is what was sent, as text to show a learner."""

    request: str
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as a JSON value. Raises ValueError when it is not JSON."""
        return read_json(self.body)


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
        self._closed = False
        self._broke_off = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while len(self._raw) < MAX_ANSWER and (piece := self._response.read1(65_536)):
                with self._changed:
                    self._take(piece, time.monotonic() - self._began)
                    self._changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException):
            self._broke_off = True  # by the server, or `close` was called
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _take(self, piece: bytes, seconds: float) -> None:
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
        with self._changed:
            return bytes(self._raw)

    @property
    def pieces(self) -> list[tuple[float, bytes]]:
        """(seconds since the request, bytes) of every piece so far."""
        with self._changed:
            return list(self._pieces)

    @property
    def events(self) -> list[ReceivedEvent]:
        """Every event so far."""
        with self._changed:
            return list(self._events)

    @property
    def closed(self) -> bool:
        """Whether the server ended the stream."""
        with self._changed:
            return self._closed

    @property
    def broke_off(self) -> bool:
        """Whether the stream is over without an end of its response."""
        with self._changed:
            return self._broke_off

    def wait(self, ready: Callable[[Stream], bool], *, seconds: float = SOON) -> bool:
        """Wait until `ready(stream)` holds; False when time runs out or the stream ends."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not ready(self):
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    return False
                self._changed.wait(left)
            return True

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
        with self._changed:
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
        self._reader.join(timeout=2)
        self._response.close()
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


class Server:
    """A server under check: its URL, and the program if it was started for the check.

    Paths are joined to `url` as a browser does it. Raises Failed with a common
    hint ("no-connection", "no-answer") when the server does not answer at all.
    """

    def __init__(self, url: str, program: Program | None = None) -> None:
        self.url = url
        self.program = program

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = SOON,
        finish: bool = True,
    ) -> Answer:
        """Send a request and read the whole answer. An iterable body goes out in chunks.

        `finish=False` leaves out the end of an iterable body: the server then has to
        answer while the body is still coming in.
        """
        connection, shown, _ = self._send(method, path, body, headers, seconds, finish)
        try:
            with _at_most(connection, seconds):
                response = connection.getresponse()
                body = response.read(MAX_ANSWER)
            return Answer(shown, response.status, response.headers, body)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._no_answer(error, shown) from error
        finally:
            connection.close()

    def post_json(
        self, path: str, value: object, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """POST `value` as JSON."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return self.request(
            "POST", path, body, {"Content-Type": "application/json", **(headers or {})}
        )

    def open(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = SOON,
    ) -> Stream:
        """GET `path` and return as soon as the response's head has come."""
        asked = {"Accept": "text/event-stream", **(headers or {})}
        connection, shown, began = self._send("GET", path, None, asked, seconds)
        try:
            with _at_most(connection, seconds):
                return Stream(shown, connection, began)
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise self._no_answer(error, shown) from error

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str] | None,
        seconds: float,
        finish: bool = True,
    ) -> tuple[http.client.HTTPConnection, str, float]:
        target = urlsplit(urljoin(self.url, path))
        secure = target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(target.hostname or "", target.port, timeout=seconds)
        asked = dict(headers or {})
        line = target.path or "/"
        if target.query:
            line += f"?{target.query}"
        # What is not allowed in a URL is escaped, as a browser does with a link's.
        line = quote(line, safe=string.punctuation)
        shown = "\n".join(
            [f"{method} {line}", *(f"{name}: {value}" for name, value in asked.items())]
        )
        if isinstance(body, bytes) and body:
            shown += "\n\n" + body[:2_000].decode("utf-8", "backslashreplace")
        began = time.monotonic()
        try:
            connection.connect()
            # A body of 4 MiB takes a while on a busy machine.
            with _at_most(connection, 3 * seconds):
                if body is None or isinstance(body, bytes):
                    connection.request(method, line, body, asked)
                else:
                    _send_chunked(connection, method, line, body, asked, finish)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server answered before all of the body was sent: read what it says
        except OSError as error:
            connection.close()
            raise self._no_answer(error, shown) from error
        return connection, shown, began

    @staticmethod
    def _no_answer(error: Exception, shown: str) -> Failed:
        if isinstance(error, TimeoutError):
            return Failed("no-answer", sent=shown, wanted="an answer within a second")
        return Failed(
            "no-connection", sent=shown, received=str(error), wanted="an HTTP response"
        )


@contextmanager
def _at_most(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Raise TimeoutError when what is done here takes longer.

    A socket's own timeout starts again with every byte: a server that sends one now and
    then, or a head without an end, could keep a check waiting forever.
    """
    over = threading.Event()
    # The connection forgets it once the response has it.
    kept: socket.socket = connection.sock

    def cut() -> None:
        over.set()
        with suppress(OSError):
            kept.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError


def _send_chunked(
    connection: http.client.HTTPConnection,
    method: str,
    line: str,
    body: Iterable[bytes],
    headers: Mapping[str, str],
    finish: bool,
) -> None:
    # http.client's own `request` can't leave a body open.
    host_given = any(name.lower() == "host" for name in headers)
    connection.putrequest(method, line, skip_host=host_given)
    connection.putheader("Transfer-Encoding", "chunked")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in body:
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    if finish:
        connection.send(b"0\r\n\r\n")


def visible(raw: bytes) -> str:
    """Bytes as text in which every line end and every odd byte is visible."""
    return "".join(map(_visible, raw.decode("utf-8", "surrogateescape")))


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\r\t\0":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that is not UTF-8
    return character if character.isprintable() else f"\\u{code:04x}"


def point_at(raw: bytes, at: int | None = None, *, width: int = 72, lines: int = 6) -> str:
    """Draw `raw` line by line, at most `lines` of them, with a caret under byte `at`.

    `at` may be len(raw): then the caret marks where the next byte should have come.
    """
    if at is None:
        drawn = [_clip(visible(line), 0, width)[0] for line in raw.splitlines(keepends=True)]
        more = [f"… {len(drawn) - lines} more lines"] if len(drawn) > lines else []
        return "\n".join(drawn[:lines] + more)
    all_lines = raw.splitlines(keepends=True)
    number = start = 0
    while number < len(all_lines) and start + len(all_lines[number]) <= at:
        start += len(all_lines[number])
        number += 1
    if number == len(all_lines) and raw and not raw.endswith((b"\n", b"\r")):
        # The byte that should have come belongs to the line that is not ended.
        number -= 1
        start -= len(all_lines[number])
    here = all_lines[number] if number < len(all_lines) else b""
    line, column = _clip(visible(here), _column(here, at - start), width)
    before = all_lines[max(0, number - lines + 2) : number]
    drawn = [_clip(visible(one), 0, width)[0] for one in before]
    return "\n".join([*drawn, line, " " * column + "^"])


def _column(line: bytes, at: int) -> int:
    """The terminal's column, from 0, of the character that byte `at` belongs to."""
    column = place = 0
    for character in line.decode("utf-8", "surrogateescape"):
        place += len(character.encode("utf-8", "surrogateescape"))
        if place > at:
            break
        column += cell_len(_visible(character))
    return column


def _clip(text: str, column: int, width: int) -> tuple[str, int]:
    """The part of a long line around `column`, and where `column` is in it.

    Both count the cells of a terminal: "世" takes two.
    """
    total = cell_len(text)
    if total <= width:
        return text, column
    last = total - width + 1  # the first cell of the last part, with room for a caret after it
    first = max(0, min(column - width // 2, last))
    end = total if first == last else first + width - 2
    lead = first + 2 if first else 0
    part, place = "", 0
    for character in text:
        size = cell_len(character)
        if place >= lead and place + size <= end:
            # A wide character that the lead cuts in two leaves a blank.
            part = part or ("… ".ljust(place - first) if first else "")
            part += character
        place += size
    return part + ("" if end == total else " …"), column - first
