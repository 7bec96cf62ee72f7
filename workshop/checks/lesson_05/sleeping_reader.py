"""A reader that sleeps, and what may wait for it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urljoin, urlsplit

from workshop.checks.answers import head_and_body, wrong_status
from workshop.checks.lesson_05.blame import has_call
from workshop.checks.lesson_05.opening import suite
from workshop.checks.mcp_session import (
    JSON_HEADERS,
    McpServer,
    Session,
    as_json,
    handshake,
    request,
)
from workshop.failed import Failed
from workshop.raw_stream import SOON

BIG = 400_000  # bytes of one large reply
TOO_MANY = 60  # of them: three times what a server may keep for one reader
FILLING = 15  # of them: more than lies on the way to a reader, less than a server may keep
TOO_MANY_EVENTS = 110  # more than may wait
AT_ONCE = 22  # of them: sent before their replies are awaited
READ = 80_000  # bytes of each reply that is read: all of them are more bytes than may wait


@suite.check(
    "bounded",
    "A client that reads nothing does not fill the memory",
    todo=11,
    after=("tool-called", "closed-session"),
    read="A reader that sleeps",
    rule="This course: at most 100 events and 8 MiB wait for a session",
    why="One client that stops reading would take the memory of the whole server.",
    hints={
        "unbounded": f"{TOO_MANY} replies of {BIG:,} bytes, nobody reads, and the server takes "
        "more. Either they all wait in memory, or they are thrown away and nobody is told. "
        "Close the session: then the client hears 404.",
        "lively-dropped": "A session whose client reads everything was closed. Events that "
        "were taken don't count any more: `next_event` subtracts their bytes.",
        "left-open": "POST does not find the session any more, and its stream is still open. "
        "`session.close()` does both.",
        "too-many-events": f"{TOO_MANY_EVENTS} small replies wait, nobody reads, and the "
        "server takes more. Bytes are one bound; MAX_WAITING_EVENTS is the other.",
    },
    alone=True,
)
def bounded(server: McpServer) -> None:
    big = as_json({"name": "echo", "arguments": {"message": "x" * BIG}})
    with sleeping_stream(server) as (sleeper, endpoint):
        hello = as_json(request("hello", "initialize", handshake())).encode()
        answer = server.request("POST", endpoint, hello, JSON_HEADERS)
        for number in range(TOO_MANY):
            answer = server.request("POST", endpoint, call(number, big), JSON_HEADERS)
            if answer.status >= 400:
                break
        else:
            raise wrong_status(
                "unbounded",
                answer,
                "HTTP status 404, once too much waits for this reader",
                sent=f"{TOO_MANY} calls of `echo` with {BIG:,} bytes, and nobody reads",
            )
        if server.exact and not ends(sleeper):
            raise Failed(
                "left-open",
                sent=answer.request,
                received=head_and_body(answer),
                wanted="this answer, and the end of the session's stream",
            )
    # Another server may take all that waits in one piece: its events then wait elsewhere.
    if has_call(server, "session_events", "events"):
        expect_few_events(server, big)
    with Session.open(server) as lively:
        large = as_json({"name": "echo", "arguments": {"message": "x" * READ}})
        for first in range(0, TOO_MANY_EVENTS, AT_ONCE):
            post_at_once(server, lively.endpoint, call(first, large), AT_ONCE)
            try:
                lively.ask("ping")
            except Failed as failure:
                raise Failed(
                    "lively-dropped",
                    sent=f"{TOO_MANY_EVENTS} calls of `echo`, and each reply is read",
                    received=failure.received,
                    wanted=f"{TOO_MANY_EVENTS} replies",
                ) from None


def call(number: int, params: str) -> bytes:
    """A `tools/call` with these params, which are JSON already: to write them takes a while."""
    return as_json(request(number, "tools/call", "PARAMS")).replace('"PARAMS"', params).encode()


def expect_few_events(server: McpServer, big: str) -> None:
    """Want a session closed for the number of its events, where their bytes are still few."""
    with sleeping_stream(server) as (_, endpoint):
        # These fill what lies between the server and its reader: the pings behind them wait.
        for number in range(FILLING):
            server.request("POST", endpoint, call(number, big), JSON_HEADERS)
        body = as_json(request("last", "ping")).encode()
        post_at_once(server, endpoint, body, TOO_MANY_EVENTS)
        answer = server.request("POST", endpoint, body, JSON_HEADERS)
        if answer.status == 404:
            return
        raise wrong_status(
            "too-many-events",
            answer,
            "HTTP status 404, once 100 events wait for this reader",
            sent=f"{TOO_MANY_EVENTS} pings, and nobody reads",
        )


def post_at_once(server: McpServer, endpoint: str, body: bytes, times: int) -> list[str]:
    """POST it many times on one connection: in turn it takes a second.

    Returns the answers, each from its status on. The last may be no more than its head.
    """
    headers = JSON_HEADERS | {"Content-Length": str(len(body))}
    message = head(server, "POST", endpoint, headers) + body
    came = b""
    with socket.create_connection(address(server), SOON) as connection, suppress(OSError):
        connection.sendall(message * times)
        while came.count(b"\r\n\r\n") < times and (piece := connection.recv(65_536)):
            came += piece
    return [answer.decode("latin-1") for answer in came.split(b"HTTP/1.1 ")[1:]]


def ends(sleeper: socket.socket) -> bool:
    """Read on at last. Whether the response ends within a second."""
    # Megabytes wait: through the small window of a sleeper they take a thousand pieces.
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
    deadline = time.monotonic() + SOON
    came = b""
    with suppress(OSError):
        while time.monotonic() < deadline and not came.endswith(b"\r\n0\r\n\r\n"):
            piece = sleeper.recv(1_000_000)
            if not piece:
                break
            came = came[-10:] + piece
        else:
            return came.endswith(b"\r\n0\r\n\r\n")
        return True
    return False


@contextmanager
def sleeping_stream(server: McpServer) -> Iterator[tuple[socket.socket, str]]:
    """The connection of a stream from which nothing more is read, and its endpoint."""
    opening = head(server, "GET", server.url, {})
    with socket.socket() as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.settimeout(SOON)
        sleeper.connect(address(server))
        sleeper.sendall(opening)
        came = b""
        while not (found := re.search(rb"event: ?endpoint\r?\ndata: ?(\S+)\r?\n", came)):
            piece = sleeper.recv(65_536)
            if not piece:
                sent, wanted = f"GET {server.url}", "an `endpoint` event"
                raise Failed("no-answer", sent=sent, received=came, wanted=wanted)
            came += piece
        yield sleeper, found[1].decode()


def address(server: McpServer) -> tuple[str, int]:
    """Where it listens, for a socket."""
    parts = urlsplit(server.url)
    return parts.hostname or "", parts.port or 80


def head(server: McpServer, method: str, url: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request, with the headers that go with each request to this server."""
    parts = urlsplit(urljoin(server.url, url))
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    fields = {"Host": parts.netloc, **server.headers, **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode()
