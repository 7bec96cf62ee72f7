"""Sessions: their ids, and their end."""

from __future__ import annotations

import string
import time
from contextlib import ExitStack

from workshop.checks.lesson_05.opening import suite
from workshop.checks.mcp_session import McpServer, Session
from workshop.failed import Failed
from workshop.raw_stream import SOON


@suite.check(
    "unguessable",
    "Nobody can guess another session's id",
    todo=2,
    after=("endpoint-uri",),
    read="Sessions",
    rule="MCP security best practices, 2025-06-18: secure, non-deterministic session ids",
    scope="protocol",
    why="Anyone who guesses the id can send messages in that session: it is a password.",
    hints={
        "shared": "Two streams were given the same endpoint, so their messages can't be told "
        "apart. Each session needs an id of its own.",
        "too-alike": "Streams opened one after another have ids that are nearly the same. A "
        "counter or a clock (uuid1 too) can be guessed: `secrets` makes ids that can't.",
        "too-short": "The ids are random, but so short that trying all of them finds one. Ask "
        "`secrets` for more: 8 random bytes are the least, and 32 the usual.",
    },
)
def unguessable(server: McpServer) -> None:
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session.open(server, initialize=False)) for _ in range(4)
        ]
    want_unguessable(sessions, equal="shared")


def want_unguessable(sessions: list[Session], equal: str = "too-alike") -> None:
    """Want endpoints that differ in 64 random bits: that is the least considered safe.

    Raises Failed: `too-short`, `too-alike`, or `equal` if two of them are the same.
    """
    endpoints = [session.endpoint for session in sessions]
    first, last = changing_part(endpoints)
    # 64 bits are 16 hexadecimal digits, or 11 of base64.
    digits = set("".join(endpoint[first:last] for endpoint in endpoints))
    bits = 4 if digits <= set(string.hexdigits + "-") else 6
    if len(set(endpoints)) < len(endpoints):
        hint = equal
    elif (last - first) * bits < 64:
        ids = [endpoint.rpartition("=")[2] for endpoint in endpoints]
        # Of four random ids one or the other may have no letter in it. A counter never has.
        short = all(len(id) * bits < 64 for id in ids) and not all(map(str.isdigit, ids))
        hint = "too-short" if short else "too-alike"
    else:
        return
    raise Failed(
        hint,
        sent=f"{sessions[0].stream.request}\n\n({len(sessions)} times)",
        received="\n".join(endpoints),
        at=sum(len(endpoint) + 1 for endpoint in endpoints[:-1]) + first,
        wanted="endpoints that differ in at least 64 random bits",
    )


def changing_part(texts: list[str]) -> tuple[int, int]:
    """Where the part that differs begins and ends, counted in the first text."""
    first = common_length(texts)
    ending = common_length([text[first:][::-1] for text in texts])
    return first, len(texts[0]) - ending


def common_length(texts: list[str]) -> int:
    """How many characters all the strings share at their beginning."""
    columns = enumerate(zip(*texts, strict=False))
    shortest = min(len(text) for text in texts)
    return next((place for place, column in columns if len(set(column)) > 1), shortest)


@suite.check(
    "cleaned-up",
    "When a stream closes, its session is gone",
    todo=3,
    after=("unguessable", "heartbeat"),
    read="A client that leaves",
    rule="This course: GET /health counts the open streams as `connections`",
    why="Whatever is kept for a client that has left stays for ever: memory, and a way in.",
    hints={
        "not-counted": "GET /health has no number `connections`, or it does not count the "
        "open stream.",
        "kept": "The stream is closed, but its session is still counted.",
    },
    alone=True,
)
def cleaned_up(server: McpServer) -> None:
    # All checks have closed their streams by now, the last one a moment ago.
    want_connections(server, 0, "kept")
    session = Session.open(server, initialize=False)
    with session:
        want_connections(server, 1, "not-counted")
    want_connections(server, 0, "kept")


def want_connections(server: McpServer, wanted: int, hint: str) -> None:
    """Ask GET /health until it counts this many connections; Failed after a second."""
    deadline = time.monotonic() + SOON
    while True:
        answer = server.request("GET", "/health")
        try:
            count = answer.json()["connections"]
        except (ValueError, KeyError, TypeError):
            count = None
        if count == wanted:
            return
        if time.monotonic() > deadline or not isinstance(count, int):
            place = answer.body.find(b'"connections"')
            raise Failed(
                "not-counted" if not isinstance(count, int) else hint,
                sent=answer.request,
                received=answer.body,
                at=max(place, 0),
                wanted=f'"connections": {wanted}, the number of open streams',
            )
        time.sleep(0.02)
