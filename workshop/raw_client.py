"""Send HTTP requests and keep every byte of the answers.

`Server` sends them; an `Answer` is a whole response, and a `raw_stream.Stream` one that is
still arriving.
"""

from __future__ import annotations

import http.client
import json
import socket
import string
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from workshop.alarms import after
from workshop.failed import Failed
from workshop.given_headers import hidden
from workshop.raw_stream import MAX_ANSWER, SOON, Stream
from workshop.running import Program


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


class Server:
    """A server under check: its URL, and the program if it was started for the check.

    Paths are joined to `url` as a browser does it. Raises Failed with a common
    hint ("no-connection", "no-answer") when the server does not answer at all.

    `headers` go with every request that does not set them itself, and to no other origin:
    there may be a token in them. What is shown of a request hides their values.
    """

    def __init__(
        self,
        url: str,
        program: Program | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.program = program
        self.headers = dict(headers or {})

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
        given = self._given(target, asked)
        line = target.path or "/"
        if target.query:
            line += f"?{target.query}"
        # What is not allowed in a URL is escaped, as a browser does with a link's.
        line = quote(line, safe=string.punctuation)
        shown = "\n".join(
            [
                f"{method} {line}",
                *(f"{name}: {value}" for name, value in asked.items()),
                *(f"{name}: {hidden(name, value)}" for name, value in given.items()),
            ]
        )
        asked |= given
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

    def _given(self, target: SplitResult, asked: Mapping[str, str]) -> dict[str, str]:
        """The server's own `headers`, as far as they go with a request to `target`."""
        own = urlsplit(self.url)
        if (target.scheme, target.netloc) != (own.scheme, own.netloc):
            return {}  # an `endpoint` event may name anybody's server
        names = {name.lower() for name in asked}
        return {
            name: value for name, value in self.headers.items() if name.lower() not in names
        }

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

    alarm = after(seconds, cut)
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        alarm.cancel()
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
