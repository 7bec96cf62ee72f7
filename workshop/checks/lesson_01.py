"""The checks of lesson 01: a stream of events, and a count of its listeners."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.complaints import todo_of
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.raw_client import Answer, Server
from workshop.raw_stream import SOON, Stream
from workshop.running import ProgramError, running

PATH = "/mcp-sse"
# `?interval=` is the exercise's own: a server that does not know it ignores it.
QUICK = f"{PATH}?interval=0.01"
UNHURRIED = f"{PATH}?interval=0.1"
# Nobody waits for the second event: the producer is held. A listener that leaves such a
# stream is never noticed, so counts are always compared with the count before.
HELD = f"{PATH}?interval=3600"

STANDARD = "WHATWG HTML, server-sent events"


@contextmanager
def open_program(path: Path) -> Iterator[Server]:
    """Start the file. Raises ProgramError."""
    with running(path) as program:
        yield Server(program.url, program)


@contextmanager
def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Server]:
    """A server that is already running."""
    yield Server(url, headers=headers)


suite = Suite(
    "01_flask_stream",
    open_program=open_program,
    open_url=open_url,
    start_heading="Your own server",
)


def head_of(stream: Stream) -> str:
    """Status and headers as text."""
    lines = [f"{name}: {value}" for name, value in stream.headers.items()]
    return "\n".join([f"HTTP/1.1 {stream.status}", *lines])


def wait_for_traceback(server: Server) -> None:
    """Give the program time to print it: the server answers 500 first, and then prints."""
    if server.program is not None:
        with suppress(ProgramError):
            server.program.wait_for_output("Traceback", seconds=stretched(0.5))


def blamed(server: Server) -> int | None:
    """The TODO that the program's last exception is about, if it printed one."""
    complaints = server.program.complaints() if server.program else []
    return todo_of(complaints[-1]) if complaints else None


RAISED = (
    "Your code raised an exception, shown here as your program printed it. "
    "Its last line says what is wrong, and the line above it where."
)


def look_for_traceback(server: Server, sent: str) -> None:
    """Raise Failed if the program printed a traceback: it explains the wrong count."""
    wait_for_traceback(server)
    _, found, printed = (
        server.program.output.rpartition("Traceback") if server.program else [""] * 3
    )
    if found:
        lines = [line.rstrip() for line in f"{found}{printed}".splitlines() if line.strip()]
        # After the traceback, the server's request log goes on.
        end = next(
            (at for at, line in enumerate(lines[1:], 1) if not line.startswith(" ")),
            len(lines) - 1,
        )
        received = "\n".join(lines[max(0, end - 3) : end + 1])
        raise Failed(
            "raised",
            sent=sent,
            received=received,
            at=received.rindex("\n") + 1,
            wanted="a stream that ends without an exception",
            todo=blamed(server),
        )


def read_count(server: Server, name: str) -> tuple[Answer, object]:
    """The answer of /listeners, and the count of this name in it; None if there is none."""
    answer = server.request("GET", "/listeners")
    try:
        counts = answer.json()
    except ValueError:
        counts = None
    return answer, counts.get(name) if isinstance(counts, dict) else None


def count_before(server: Server, name: str) -> int:
    """The count once it no longer changes: the streams of earlier checks have ended."""
    deadline = time.monotonic() + SOON
    _, last = read_count(server, name)
    while True:
        time.sleep(0.03)
        _, value = read_count(server, name)
        if value == last or time.monotonic() > deadline:
            return value if isinstance(value, int) else 0
        last = value


def count_after(server: Server, name: str, wanted: int) -> tuple[Answer, object]:
    """Ask /listeners until it says `wanted`, or for a second. Returns the last answer.

    A listener that left is noticed when the next event is sent to it, so the
    right count may come a little later than the question.
    """
    deadline = time.monotonic() + SOON
    while True:
        answer, value = read_count(server, name)
        if value == wanted or time.monotonic() > deadline:
            return answer, value
        time.sleep(0.02)


def less(value: object, wanted: int) -> bool:
    return isinstance(value, int) and value < wanted


@suite.check(
    "answers",
    "GET /mcp-sse is answered with status 200",
    scope="protocol",
    read="Run it",
    rule=f"{STANDARD}: with any other status, EventSource fails the connection",
    why="EventSource gives up for good when the status is not 200.",
    hints={
        "not-200": "The status is not 200. Is the path exactly `/mcp-sse`?",
        "raised": "500 means that your code raised an exception, in the function for "
        "`/mcp-sse` or in what it calls.",
        "returned-nothing": "500, because the function for `/mcp-sse` returned nothing that "
        "Flask can send. Is there a `return` before the Response?",
        "not-called": "500, because the Response was given a function. Call it: only "
        "`updates(interval)` makes a generator.",
        "view-yields": "500, because the function for `/mcp-sse` has a `yield` in it, so it "
        "is a generator itself. Return a Response, and give it the generator.",
        "empty": "The response ended without a single byte. Does `updates` yield each event?",
        "no-text": "The response broke off before its first byte, because an event is not "
        "text. `event` must return a string; print returns nothing.",
    },
)
def answers(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        if stream.status != 200:
            received = head_of(stream)
            hint, todo = why_500(server) if stream.status == 500 else ("not-200", None)
            raise Failed(
                hint,
                todo=todo,
                sent=stream.request,
                received=received,
                at=received.index(str(stream.status)),
                wanted="HTTP/1.1 200",
            )
        if stream.closed and not stream.raw:
            wait_for_traceback(server)
            printed = server.program.output if server.program else ""
            no_text = "must write bytes" in printed
            raise Failed(
                "no-text" if no_text else "empty",
                sent=stream.request,
                wanted="five events",
                todo=2 if no_text else None,
            )


# What Flask says of a view that is wrong, where it names no line of the file.
OF_A_VIEW = {
    "did not return a valid response": "returned-nothing",
    "'function' object is not iterable": "not-called",
    "Working outside of request context": "view-yields",
}


def why_500(server: Server) -> tuple[str, int | None]:
    """A hint of `answers` for the status 500, and the TODO to blame."""
    wait_for_traceback(server)
    printed = server.program.output if server.program else ""
    for told, hint in OF_A_VIEW.items():
        if told in printed:
            return hint, 1
    return "raised", blamed(server)


@suite.check(
    "content-type",
    "The response says that it is an event stream",
    todo=1,
    after=("answers",),
    scope="protocol",
    read="Three headers",
    rule=f"{STANDARD}: MUST be text/event-stream",
    why="EventSource refuses a response of any other type, and does not try again.",
    hints={
        "wrong-type": "By default, Flask says text/html. Give the Response "
        'content_type="text/event-stream", exactly like that.'
    },
)
def content_type(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        if stream.headers.get_content_type() != "text/event-stream":
            received = head_of(stream)
            # A response without the header is read as text/plain: no byte to point at.
            at = received.lower().find("content-type: ")
            raise Failed(
                "wrong-type",
                sent=stream.request,
                received=received,
                at=at + len("content-type: ") if at >= 0 else None,
                wanted="Content-Type: text/event-stream",
            )


@suite.check(
    "not-cached",
    "No cache may answer with an old copy",
    todo=1,
    after=("answers",),
    scope="protocol",
    read="Three headers",
    rule="RFC 9111: no-cache: a stored response must not be reused without asking",
    why="A copy of a stream is old news that looks fresh.",
    hints={
        "cached": 'Add headers={"Cache-Control": "no-cache"} to the Response.',
    },
)
def not_cached(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        said = stream.headers.get("Cache-Control", "").lower()
        if "no-cache" not in said and "no-store" not in said:
            received = head_of(stream)
            raise Failed(
                "cached",
                sent=stream.request,
                received=received,
                wanted="Cache-Control: no-cache",
            )


@suite.check(
    "connection-header",
    "The application leaves `Connection` to the server",
    todo=1,
    after=("answers",),
    read="Three headers",
    rule="PEP 3333: an application must not set hop-by-hop headers",
    why="It is about this one connection, which is the server's business: now both set it.",
    hints={
        "set-by-you": "Two `Connection` headers arrived, one of them from your Response. "
        "Leave it out: the server adds its own.",
    },
)
def connection_header(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        if len(stream.headers.get_all("Connection") or []) > 1:
            received = head_of(stream)
            raise Failed(
                "set-by-you",
                sent=stream.request,
                received=received,
                at=received.lower().index("connection: "),
                wanted="one Connection header, the server's",
            )


def has_news(raw: bytes) -> bool:
    """Whether more than comments and blank lines arrived, well formed or not."""
    return any(line and not line.startswith(b":") for line in raw.splitlines())


@suite.check(
    "streams",
    "The first event arrives while the second is still to come",
    todo=1,
    after=("answers",),
    read="One late lump",
    rule="this course",
    why="A stream that arrives when everything is over is a slow page, not a stream.",
    hints={
        "late-lump": "No event arrived while the second event was an hour away. Something "
        "is buffering: give the Response the generator itself, not a string or a list."
    },
)
def streams(server: Server) -> None:
    wanted = "the first event, though the second one takes an hour"
    try:
        stream = server.open(HELD)
    except Failed as failure:
        if failure.hint != "no-answer":
            raise
        raise Failed("late-lump", sent=failure.sent, wanted=wanted) from failure
    with stream:
        if not stream.wait(lambda stream: has_news(stream.raw)):
            raise Failed("late-lump", sent=stream.request, received=stream.raw, wanted=wanted)


@suite.check(
    "data-field",
    "Each line is a field of the format, and the text is in `data`",
    todo=2,
    after=("answers",),
    scope="protocol",
    read="The blank line",
    rule=f"{STANDARD}: unknown fields are ignored",
    why="A line with an unknown field name is thrown away without an error.",
    hints={
        "no-field": "This line does not begin with a field name of the format. "
        "Write `data: ` in front of the text, in lower case.",
        "no-data": "No line begins with `data:`. The text of an event belongs there; "
        "an event without data is never dispatched.",
        "blank-with-space": "This line looks blank, but it contains a space. A blank line has "
        "nothing before its line end.",
    },
)
def data_field(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        raw = stream.raw
        at = 0
        has_data = False
        for line in raw.splitlines(keepends=True):
            name = line.rstrip(b"\r\n").partition(b":")[0]
            # An empty name is a comment or a blank line.
            if name not in (b"", b"data", b"event", b"id", b"retry"):
                raise Failed(
                    "no-field" if line.strip() else "blank-with-space",
                    sent=stream.request,
                    received=raw,
                    at=at,
                    wanted="data: Update 0",
                )
            has_data = has_data or name == b"data"
            at += len(line)
        if not has_data:
            raise Failed(
                "no-data", sent=stream.request, received=raw, at=0, wanted="data: Update 0"
            )


@suite.check(
    "blank-line",
    "A blank line ends every event",
    todo=2,
    after=("data-field",),
    read="The blank line",
    rule=f"{STANDARD}: a blank line dispatches the event",
    why="Without it the reader waits for more of the same event, for ever.",
    hints={
        "no-newline": "The next event begins on the same line. "
        "An event ends with two line ends: \\n\\n.",
        "written-out": "The characters for a line end came, and no line end. Python makes one "
        "of \\n (with a backslash), in a string without an r before it.",
        "one-newline": "Here the next `data` line begins, and the event before it has not "
        "ended: to the reader they are one. End each event with \\n\\n.",
        "last-unfinished": "The stream ends in the middle of an event, and the reader throws "
        "that event away. The blank line comes after an event, not before the next.",
    },
)
def blank_line(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        raw = stream.raw
        wanted = "data: Update 0\\n\\ndata: Update 1\\n\\n"
        in_event = False
        at = 0
        for line in raw.splitlines(keepends=True):
            twice = line.find(b"data:", 1)
            if twice > 0:
                written = re.search(rb"[\\/]n", line)
                raise Failed(
                    "written-out" if written else "no-newline",
                    sent=stream.request,
                    received=raw,
                    at=at + (written.start() if written else twice),
                    wanted=wanted,
                )
            if in_event and line.startswith(b"data:"):
                raise Failed(
                    "one-newline", sent=stream.request, received=raw, at=at, wanted=wanted
                )
            # Comments, `id` and the like may come before the data: an event
            # begins with its data, and ends with a blank line.
            in_event = line.startswith(b"data") or (in_event and line.strip(b"\r\n") != b"")
            at += len(line)
        if in_event:
            raise Failed(
                "last-unfinished",
                sent=stream.request,
                received=raw,
                at=len(raw),
                wanted=wanted,
            )


@suite.check(
    "ends",
    "The response ends after the last event",
    after=("answers",),
    read="Your own server",
    rule="this course",
    why="A stream that goes on when its feed has ended keeps a thread busy for nothing.",
    hints={
        "still-open": "The stream asked for 0.01 s between two events, and was still open "
        "after a second. Does `updates` get that interval, and does its loop end?"
    },
)
def ends(server: Server) -> None:
    with server.open(QUICK) as stream:
        if not stream.wait_closed():
            raise Failed(
                "still-open",
                sent=stream.request,
                received=stream.raw[:200],
                wanted="five events, and the end of the response",
            )


@suite.check(
    "numbers",
    "The events are `Update 0` to `Update 4`",
    todo=2,
    after=("blank-line", "ends"),
    read="Your own server",
    rule="this course",
    why="Everything that the feed yields must arrive, unchanged and in order.",
    hints={
        "raised": RAISED,
        "starts-at-one": "The first event is `Update 1`. The feed's first number is 0: "
        "send the number as it is.",
        "too-few": "The response ended before the last event. Does the Response get the whole "
        "generator, and does the loop in `updates` go on to the end of the feed?",
        "not-filled-in": "The braces came out as they are written. Only a string with an f "
        "before its quotation mark fills them in.",
        "wrong-text": "This event's data is not what is wanted. "
        "It is the word `Update`, a space and the feed's number, nothing else.",
    },
)
def numbers(server: Server) -> None:
    with server.open(QUICK) as stream:
        stream.wait_closed()
        texts = [event.data for event in stream.events]
        wanted = [f"Update {number}" for number in range(5)]
        if texts == wanted:
            return
        look_for_traceback(server, stream.request)
        wrong = next(
            (
                event.start
                for event, text in zip(stream.events, wanted, strict=False)
                if event.data != text
            ),
            len(stream.raw),
        )
        hint = "starts-at-one" if texts[:1] == ["Update 1"] else "wrong-text"
        if texts and "{" in texts[0]:
            hint = "not-filled-in"
        raise Failed(
            "too-few" if texts == wanted[: len(texts)] else hint,
            sent=stream.request,
            received=stream.raw,
            at=wrong,
            wanted=", ".join(wanted),
        )


@suite.check(
    "counts-in",
    "Two listeners are counted as two",
    todo=3,
    after=("streams",),
    alone=True,
    read="Who is listening?",
    rule="this course",
    why="A server that does not know who is listening can't limit them or end their streams.",
    hints={
        "not-counted": "Two streams are open, and `listeners` stays as it was. Call "
        "`listeners.up()` where a stream begins, and `listeners.down()` only where it ends.",
        "wrong-count": "Two streams are open, and `listeners` is not two higher. "
        "Count each of them in once, not once for each event.",
        "counted-out-early": "A stream is counted out after each of its events, though it goes "
        "on. The `try` must stand around the whole loop, not in it.",
    },
)
def counts_in(server: Server) -> None:
    before = count_before(server, "listeners")
    with server.open(HELD) as first, server.open(HELD) as second:
        first.wait(lambda stream: len(stream.raw) > 0)
        second.wait(lambda stream: len(stream.raw) > 0)
        answer, value = count_after(server, "listeners", before + 2)
        if value != before + 2:
            early = value == before and counts_each_event_out(server, before)
            hint = "not-counted" if value == before else "wrong-count"
            raise Failed(
                "counted-out-early" if early else hint,
                todo=4 if early else None,
                sent=f"two streams, both still open: GET {HELD}\n{answer.request}",
                received=answer.body,
                wanted=f'"listeners": {before + 2}, two more than before',
            )


def counts_each_event_out(server: Server, before: int) -> bool:
    """Whether one stream of five events takes away more than the one listener it has."""
    with server.open(QUICK) as stream:
        stream.wait_closed()
    _, value = count_after(server, "listeners", before - 4)
    return isinstance(value, int) and value < before - 1


@suite.check(
    "not-started",
    "A stream that never began is not counted",
    todo=3,
    after=("counts-in",),
    alone=True,
    read="Who is listening?",
    rule="Python: closing a generator that never started runs none of it",
    why="Its `finally` will never count out what was counted in before the generator began.",
    hints={
        "counted-before-start": "A HEAD request was counted in, and never out: its generator "
        "was made but never started. Count inside the generator, next to its `try`.",
    },
)
def not_started(server: Server) -> None:
    before = count_before(server, "listeners")
    head = server.request("HEAD", PATH)
    answer, value = count_after(server, "listeners", before)
    # Fewer: a stream of an earlier check has only now noticed that its reader left.
    if value != before and not less(value, before):
        raise Failed(
            "counted-before-start",
            sent=f"{head.request}\n{answer.request}",
            received=answer.body,
            wanted=f'"listeners": {before}, as before',
        )


@suite.check(
    "counts-out-at-end",
    "A stream that ended is counted out, once",
    todo=4,
    after=("not-started", "ends"),
    alone=True,
    read="When a listener leaves",
    rule="this course",
    why="A count that only grows says nothing, and a limit built on it locks everybody out.",
    hints={
        "raised": RAISED,
        "still-counted": "The stream has ended and is still counted. "
        "For each `listeners.up()` there must be one `listeners.down()`.",
        "counted-out-twice": "Fewer are counted than before: the stream was counted out twice. "
        "`finally` runs after a normal end too: call `listeners.down()` only there.",
    },
)
def counts_out_at_end(server: Server) -> None:
    before = count_before(server, "listeners")
    with server.open(QUICK) as stream:
        stream.wait_closed()
    answer, value = count_after(server, "listeners", before)
    if value != before:
        look_for_traceback(server, stream.request)
        raise Failed(
            "counted-out-twice" if less(value, before) else "still-counted",
            sent=f"{stream.request}\n(read to its end)\n{answer.request}",
            received=answer.body,
            wanted=f'"listeners": {before}, as before',
        )


@suite.check(
    "counts-out-on-leave",
    "A listener that leaves in the middle is counted out, once",
    todo=4,
    after=("counts-out-at-end",),
    alone=True,
    read="When a listener leaves",
    rule="Python: closing a generator raises GeneratorExit at its `yield`",
    why="Most listeners leave in the middle: someone closes a tab.",
    hints={
        "raised": RAISED,
        "still-counted": "The listener has left and is still counted. The generator was "
        "closed at its `yield`: lines after the loop do not run then, `finally` does.",
        "counted-out-twice": "Fewer are counted than before: it was counted out twice. "
        "One `finally` is enough for every way a stream can end.",
    },
)
def counts_out_on_leave(server: Server) -> None:
    before = count_before(server, "listeners")
    with server.open(UNHURRIED) as stream:
        stream.wait(lambda stream: len(stream.raw) > 0)
    answer, value = count_after(server, "listeners", before)
    if value != before:
        look_for_traceback(server, f"{stream.request}\n(left after the first event)")
        raise Failed(
            "counted-out-twice" if less(value, before) else "still-counted",
            sent=f"{stream.request}\n(left after the first event)\n{answer.request}",
            received=answer.body,
            wanted=f'"listeners": {before}, as before',
        )


@suite.check(
    "feed-closed",
    "Whatever a listener held is freed, once",
    todo=4,
    after=("counts-out-on-leave",),
    alone=True,
    read="When a listener leaves",
    rule="this course",
    why="A feed that stays open is a leak: a subscription, a cursor or a file, for each visit.",
    hints={
        "raised": RAISED,
        "feed-open": "Nobody listens any more, and a feed is still open. "
        "Call `feed.close()` in the `finally`, so that it also runs when a listener leaves.",
        "feed-opened-before-start": "A HEAD request opened a feed, and nothing closed it: its "
        "generator was made but never started. Open the feed inside the generator.",
        "feed-closed-twice": "More feeds were closed than opened. "
        "Close the feed in the `finally` and nowhere else.",
    },
)
def feed_closed(server: Server) -> None:
    before = count_before(server, "open_feeds")
    # One after the other: together, one feed too many could hide one too few.
    for path, how in [(QUICK, "read to its end"), (UNHURRIED, "left after the first event")]:
        with server.open(path) as stream:
            if path == QUICK:
                stream.wait_closed()
            else:
                stream.wait(lambda stream: len(stream.raw) > 0)
        answer, value = count_after(server, "open_feeds", before)
        if value != before:
            look_for_traceback(server, f"{stream.request}\n({how})")
            raise Failed(
                "feed-closed-twice" if less(value, before) else "feed-open",
                sent=f"{stream.request}\n({how})\n{answer.request}",
                received=answer.body,
                wanted=f'"open_feeds": {before}, as before',
            )
    head = server.request("HEAD", PATH)
    answer, value = count_after(server, "open_feeds", before)
    if value != before:
        raise Failed(
            "feed-opened-before-start",
            sent=f"{head.request}\n{answer.request}",
            received=answer.body,
            wanted=f'"open_feeds": {before}, as before',
        )
