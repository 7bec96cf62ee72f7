"""The checks of lesson 09: three events, each sent as soon as it is made."""

# REPLACE: these checks. CONTRIBUTING.md, "The checks", explains each argument.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.failed import Failed
from workshop.raw_client import Server
from workshop.running import running

STANDARD = "WHATWG HTML, server-sent events"
EVENTS = b"data: one\n\ndata: two\n\ndata: three\n\n"


@contextmanager
def open_program(path: Path) -> Iterator[Server]:
    """Start the file. Raises ProgramError."""
    with running(path) as program:
        yield Server(program.url, program)


suite = Suite(
    "09_security",
    open_program=open_program,
    start_heading="Run it",
)


@suite.check(
    "format",
    "Each event is a `data` line and a blank line",
    todo=1,
    read="What an event is",
    rule=f"{STANDARD}: parsing an event stream",
    why="A client ignores what it does not know, and waits for the blank line for ever.",
    hints={
        "no-blank-line": "The blank line is missing: without it, no event ever ends.",
        "wrong-bytes": "Compare byte for byte. The field's name is `data`.",
    },
)
def format_(server: Server) -> None:
    with server.open("/sse?interval=0.01") as stream:
        stream.wait_closed()
        if stream.raw != EVENTS:
            pairs = zip(stream.raw, EVENTS, strict=False)
            lines = stream.raw == EVENTS.replace(b"\n\n", b"\n")
            raise Failed(
                "no-blank-line" if lines else "wrong-bytes",
                sent=stream.request,
                received=stream.raw,
                at=next((at for at, (came, due) in enumerate(pairs) if came != due), None),
                wanted="data: one, and a blank line",
            )


@suite.check(
    "live",
    "The first event arrives before the second is made",
    todo=2,
    after=("format",),
    read="One late lump",
    rule="this course",
    why="An event that waits for the next one is news no longer.",
    hints={"late": "Nothing came. Do you collect the events before you send them?"},
)
def live(server: Server) -> None:
    # Nobody waits for the second word: the producer is held.
    with server.open("/sse?interval=3600") as stream:
        if not stream.wait(lambda stream: len(stream.events) > 0):
            raise Failed(
                "late",
                sent=stream.request,
                received=stream.raw,
                wanted="the first event, an hour before the second is made",
            )
