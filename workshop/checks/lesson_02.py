"""The checks of lesson 02: a parser for event streams, fed with bytes cut everywhere."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.checks.engine import Failed, Suite
from workshop.running import ProgramError, environment

DRIVER = Path(__file__).with_name("parser_driver.py")
PARSING = "WHATWG HTML 9.2.5, Parsing an event stream"
INTERPRETING = "WHATWG HTML 9.2.6, Interpreting an event stream"

Found = tuple[str, str, str]  # type, data, last event id


class Driver:
    """One process with the learner's file in it."""

    def __init__(self, path: Path) -> None:
        # A file: a full pipe would stop the process in its next print.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`stop` closes it)
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
        )
        try:
            self._answer(seconds=4.0)
        except (TimeoutError, EOFError) as error:
            reason = "The import does not end." if isinstance(error, TimeoutError) else ""
            printed = self.printed
            self.stop()
            raise ProgramError(printed or reason) from None

    @property
    def printed(self) -> str:
        """What went to standard error, the last lines of it."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-12:])

    def ask(self, runs: list[list[bytes]], *, seconds: float) -> list[dict[str, Any]]:
        """Feed a new parser for each run. Raises TimeoutError, and EOFError at its death."""
        assert self._process.stdin is not None
        question = json.dumps([[chunk.hex() for chunk in chunks] for chunks in runs]) + "\n"
        try:
            self._process.stdin.write(question.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Any:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            piece = os.read(pipe, 65_536)
            if not piece:
                raise EOFError
            answer += piece
        return json.loads(answer)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        with suppress(BrokenPipeError):  # a question may stand in the buffer unsent
            self._process.communicate()
        self._errors.close()


class Parser:
    """The learner's parser, in as many processes as are needed: one, unless it hangs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # No SimpleQueue: its `get` forgets the timeout in Python 3.11, if another thread is
        # quicker in just that moment, and waits for ever.
        self._idle: queue.Queue[Driver] = queue.Queue()
        self._idle.put(Driver(path))
        self._starting = threading.Lock()
        self._patience = 1.0  # seconds for an answer that takes milliseconds

    def ask(self, runs: list[list[bytes]]) -> list[dict[str, Any]]:
        """Feed each run to a parser of its own. Raises Failed when there is no answer."""
        driver = self._take()
        try:
            answer = driver.ask(runs, seconds=self._patience)
        except (TimeoutError, EOFError) as error:
            self._patience = 0.4  # it hung once: the others shall not take as long
            hint = "hangs" if isinstance(error, TimeoutError) else "crashed"
            shown = calls(runs[0]) + (" and others after it" if len(runs) > 1 else "")
            printed = driver.printed
            driver.stop()
            raise Failed(
                hint, sent=shown, received=printed, wanted="an answer", label="Printed"
            ) from None
        else:
            self._idle.put(driver)
        return answer

    def _take(self) -> Driver:
        while True:
            with suppress(queue.Empty):
                return self._idle.get(timeout=0.1)
            # Another check's question takes long. One process more, and one at a time:
            # many that start beside one that spins would be slower than the wait.
            if self._starting.acquire(blocking=False):
                try:
                    return Driver(self._path)
                finally:
                    self._starting.release()

    def stop(self) -> None:
        """End all processes."""
        while not self._idle.empty():
            self._idle.get().stop()


@contextmanager
def open_program(path: Path) -> Iterator[Parser]:
    """The parser in the file at `path`. Raises ProgramError when it can't be loaded."""
    parser = Parser(path)
    try:
        yield parser
    finally:
        parser.stop()


suite = Suite(
    "02_event_format",
    open_program=open_program,
    start_heading="The exercise",
    start_title="The file can be imported",
    start_hint="Run the file yourself and read the last lines it prints.",
)


# --- asking and comparing ----------------------------------------------------------------


def calls(chunks: list[bytes]) -> str:
    """The chunks as a learner would feed them, in one line."""
    shown = [f"feed({chunk!r})" for chunk in chunks]
    return " ".join(shown if len(shown) <= 6 else [*shown[:5], "…", shown[-1]])


def events(found: Iterable[Iterable[Any]]) -> str:
    """Events as text, with the id where there is one."""
    shown = []
    for type, data, last_event_id in found:
        fields = f"type={type!r}, data={data!r}"
        shown.append(f"({fields}, id={last_event_id!r})" if last_event_id else f"({fields})")
    return ", ".join(shown) or "no event"


@dataclass(frozen=True, slots=True)
class Case:
    """A stream, the events in it, and what to say when a parser finds others.

    `at` is the byte that is then misread.
    """

    stream: bytes
    wanted: list[Found]
    at: int
    hint: str
    chunks: tuple[bytes, ...] = ()  # without: the stream in one chunk
    last_event_id: str | None = None  # afterwards, None: it does not matter
    reconnection_time: int | None = None

    def fed(self) -> list[bytes]:
        return list(self.chunks) or [self.stream]


def expect(parser: Parser, *cases: Case, crashes: dict[str, str] | None = None) -> None:
    """Raise Failed for the first case that the parser reads otherwise.

    `crashes` has the hints for exceptions that this check knows, by how they begin.
    """
    answers = parser.ask([case.fed() for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        said = calls(case.fed())
        if answer["printed"]:
            said += f" It printed: {answer['printed']!r}"
        if "error" in answer:
            got = answer["error"].strip().splitlines()[-1]
            hints = [hint for start, hint in (crashes or {}).items() if got.startswith(start)]
            if not hints:
                raise Failed(
                    "crashed",
                    sent=said,
                    received=answer["error"],
                    wanted=events(case.wanted),
                    label="Raised",
                )
            raise Failed(
                hints[0],
                sent=said,
                received=case.stream,
                at=case.at,
                wanted=f"{events(case.wanted)}. It raised {got}",
                label="Misread",
            )
        found: list[Found] = [tuple(event) for step in answer["steps"] for event in step]
        wanted, got = events(case.wanted), events(found)
        wrong = found != case.wanted
        if not wrong and case.last_event_id is not None:
            wrong = answer["last_event_id"] != case.last_event_id
            wanted = f"last_event_id {case.last_event_id!r}"
            got = repr(answer["last_event_id"])
        if not wrong and case.reconnection_time is not None:
            time_wanted = case.reconnection_time if case.reconnection_time >= 0 else None
            wrong = answer["reconnection_time"] != time_wanted
            wanted = f"reconnection_time {time_wanted!r}"
            got = repr(answer["reconnection_time"])
        if wrong:
            raise Failed(
                case.hint,
                sent=said,
                received=case.stream,
                at=case.at,
                wanted=f"{wanted}. It returned {got}",
                label="Misread",
            )


def message(*data: str) -> list[Found]:
    """Plain events: no type, no id."""
    return [("message", text, "") for text in data]


def every_cut(stream: bytes, wanted: list[Found], hint: str) -> list[Case]:
    """The stream cut in two at every place, and then byte by byte."""
    cases = [
        Case(stream, wanted, place, hint, (stream[:place], stream[place:]))
        for place in range(1, len(stream))
    ]
    single = tuple(stream[i : i + 1] for i in range(len(stream)))
    return [*cases, Case(stream, wanted, 0, hint, single)]


# --- TODO 1: dispatch --------------------------------------------------------------------


@suite.check(
    "one-event",
    "A data line and a blank line are an event",
    read="Events end with a blank line",
    rule=INTERPRETING,
    why="Everything else is built on this one.",
    hints={
        "no-event": "`feed` returns the list of events that the chunk completed. "
        "The blank line completes one: does your code come by there, and is the list returned?",
        "not-events": "`feed` returns a list of `Event`. Its `type`, `data` and "
        "`last_event_id` are text, each a str.",
    },
)
def one_event(parser: Parser) -> None:
    stream = b"data: hello\n\n"
    case = Case(stream, message("hello"), len(stream) - 1, "no-event")
    shapes = {"TypeError: feed returned None": "no-event", "TypeError: feed ": "not-events"}
    expect(parser, case, crashes=shapes)


@suite.check(
    "buffers-emptied",
    "Each event has its own data",
    todo=1,
    after=("one-event",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 7",
    why="The second listener would get the first one's data once more.",
    hints={
        "data-stays": "After dispatching, the data buffer is empty again.",
        "one-event-a-chunk": "A chunk can complete more than one event. Return all of them.",
    },
)
def buffers_emptied(parser: Parser) -> None:
    stream, wanted = b"data: a\n\ndata: b\n\n", message("a", "b")
    expect(
        parser,
        Case(stream, wanted, 9, "data-stays", (stream[:9], stream[9:])),
        Case(stream, wanted, 9, "one-event-a-chunk"),
    )


@suite.check(
    "no-data",
    "A blank line without data lines before it is no event",
    todo=1,
    after=("one-event", "buffers-emptied"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 2",
    why="Servers send blank lines after comments to keep a connection open. Each of them "
    "would be an empty message.",
    hints={
        "empty-event": "There was no data line, so nothing is to be dispatched: append only "
        "if there is data."
    },
)
def no_data(parser: Parser) -> None:
    expect(
        parser,
        Case(b"\n\ndata: a\n\n", message("a"), 0, "empty-event"),
        Case(b"data: a\n\n\n\n", message("a"), 9, "empty-event"),
    )


@suite.check(
    "empty-data",
    "An empty data line is data",
    todo=1,
    after=("one-event",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 3",
    why="The line put a line feed into the standard's data buffer, so the buffer is not "
    "empty: the listener gets an event whose data is the empty string.",
    hints={
        "event-lost": "There was a data line, and its value is empty. Ask if there were data "
        "lines, not if there is text in them."
    },
)
def empty_data(parser: Parser) -> None:
    expect(parser, Case(b"data: \n\n", message(""), 6, "event-lost"))


@suite.check(
    "data-lines",
    "Several data lines are one event with several lines",
    todo=1,
    after=("one-event", "empty-data"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 3",
    why="It is how a value with line ends travels, JSON printed over several lines for one.",
    hints={
        "joined-otherwise": "Between the values of two data lines stands one LF.",
        "last-line-lost": "Only the LF that dispatch itself puts at the end goes away. An LF "
        "that the last, empty data line brought is part of the data.",
    },
)
def data_lines(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data: a\ndata: b\n\n", message("a\nb"), 7, "joined-otherwise"),
        Case(b"data: a\ndata: \n\n", message("a\n"), 14, "last-line-lost"),
    )


# --- TODO 2: fields ----------------------------------------------------------------------


@suite.check(
    "one-space",
    "One space after the colon is left out, not more and not less",
    todo=2,
    after=("one-event",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line with a colon",
    why="`data:x` and `data: x` say the same, and many servers leave the space out. A second "
    "space is the sender's: indented text would lose its shape.",
    hints={
        "needs-a-space": "The space is optional: the field name ends at the colon.",
        "all-spaces": "Take off one space at the start, and no other: no strip().",
    },
)
def one_space(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data:a\n\n", message("a"), 5, "needs-a-space"),
        Case(b"data:  a\n\n", message(" a"), 6, "all-spaces"),
        Case(b"data: a \n\n", message("a "), 7, "all-spaces"),
        Case(b"data:\ta\n\n", message("\ta"), 5, "all-spaces"),
    )


@suite.check(
    "later-colons",
    "Only the first colon separates",
    todo=2,
    after=("one-space",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line with a colon",
    why="URLs, times and all JSON have colons in them.",
    hints={"cut-at-another": "What stands after the first colon is the value, all of it."},
)
def later_colons(parser: Parser) -> None:
    expect(parser, Case(b"data:a: b:c\n\n", message("a: b:c"), 6, "cut-at-another"))


@suite.check(
    "no-colon",
    "A line without a colon is a field with an empty value",
    todo=2,
    after=("one-event", "data-lines"),
    read="A line is a field",
    rule=f"{INTERPRETING}: otherwise",
    why="`data` alone is how some servers write an empty line of data.",
    hints={"skipped": "Without a colon, the whole line is the name and the value is empty."},
)
def no_colon(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data\n\n", message(""), 4, "skipped"),
        Case(b"data: a\ndata\ndata: b\n\n", message("a\n\nb"), 12, "skipped"),
    )


@suite.check(
    "names",
    "Names are compared exactly; what is unknown is ignored",
    todo=2,
    after=("one-event", "no-colon"),
    read="A line is a field",
    rule=f"{INTERPRETING}: process the field, otherwise",
    why="New fields can only be added to a format whose old readers ignore them.",
    hints={
        "other-name": "`Data`, ` data` and `data ` are other names than `data`: no lower() "
        "and no strip().",
        "not-blank": "A line of spaces is not empty: it is a field of an unknown name, and "
        "ends no event.",
    },
)
def names(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data: a\n \ndata: b\n\n", message("a\nb"), 8, "not-blank"),
        Case(b"Data: a\ndata: b\n\n", message("b"), 0, "other-name"),
        Case(b" data: a\ndata: b\n\n", message("b"), 0, "other-name"),
        Case(b"data : a\ndata: b\n\n", message("b"), 4, "other-name"),
        Case(b"foo: a\ndata: b\ndatax: c\n\n", message("b"), 0, "other-name"),
    )


@suite.check(
    "comments",
    "A line that starts with a colon is a comment",
    todo=2,
    after=("one-event", "data-lines"),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line that starts with a colon",
    why="A comment every few seconds is how a server keeps an idle connection open.",
    hints={
        "comment-read": "Before its colon stands nothing, so it has no name and sets no field.",
        "comment-changes": "A comment changes nothing: what is known of the event stays.",
    },
)
def comments(parser: Parser) -> None:
    expect(
        parser,
        Case(b": ping\ndata: a\n\n", message("a"), 0, "comment-read"),
        Case(b":data: a\ndata: b\n\n", message("b"), 0, "comment-read"),
        Case(b":\n:data\ndata: b\n\n", message("b"), 0, "comment-read"),
        Case(b"data: a\n: ping\ndata: b\n\n", message("a\nb"), 8, "comment-changes"),
    )


@suite.check(
    "event-type",
    "The event field names the type of the event",
    todo=2,
    after=("one-event",),
    read="A line is a field",
    rule=f"{INTERPRETING}: process the field; dispatch, steps 5 and 6",
    why="A page listens by type. MCP's first event is of type `endpoint`, and a client that "
    "takes it for a message never learns where to POST.",
    hints={
        "no-type": "Keep the value of `event`, and give it to the Event when it is dispatched.",
        "empty-type": "An empty `event` field is no type: the event is a `message`.",
    },
)
def event_type(parser: Parser) -> None:
    expect(
        parser,
        Case(b"event: add\ndata: 1\n\n", [("add", "1", "")], 0, "no-type"),
        Case(b"data: 1\nevent: add\n\n", [("add", "1", "")], 8, "no-type"),
        Case(b"event: \ndata: 1\n\n", message("1"), 7, "empty-type"),
        Case(b"event: add\nevent: \ndata: 1\n\n", message("1"), 18, "empty-type"),
    )


@suite.check(
    "type-ends",
    "A type ends with its block, also when the block was no event",
    todo=1,
    after=("event-type", "no-data", "buffers-emptied"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 7",
    why="The next event would be called after the one before it, and go to wrong listeners.",
    hints={
        "type-stays": "After an event is dispatched, the event type buffer is empty again.",
        "type-stays-without-data": "Step 2 empties the event type buffer, too: the type of "
        "a block without data must not wait for the next event.",
    },
)
def type_ends(parser: Parser) -> None:
    one = [("add", "1", ""), ("message", "2", "")]
    expect(
        parser,
        Case(b"event: add\ndata: 1\n\ndata: 2\n\n", one, 20, "type-stays"),
        Case(b"event: add\n\ndata: 1\n\n", message("1"), 11, "type-stays-without-data"),
    )


# --- TODO 3: id and retry ----------------------------------------------------------------


@suite.check(
    "id-stays",
    "An id belongs to its event and to all that follow it",
    todo=3,
    after=("one-event", "buffers-emptied"),
    read="Ids: where to go on",
    rule=f"{INTERPRETING}: dispatch, step 1",
    why="`Last-Event-ID` says where to go on. Forgetting it means to start from the beginning.",
    hints={
        "no-id": "An `id` line goes into the last event id buffer, the blank line makes it "
        "the last event id, and the event carries that.",
        "id-forgotten": "The data and the type are emptied after each event. The last event "
        "id buffer is not.",
    },
)
def id_stays(parser: Parser) -> None:
    both = [("message", "a", "7"), ("message", "b", "7")]
    expect(
        parser,
        Case(b"id: 7\ndata: a\n\n", both[:1], 0, "no-id", last_event_id="7"),
        Case(b"data: a\nid: 7\n\n", both[:1], 8, "no-id", last_event_id="7"),
        Case(b"id: 7\ndata: a\n\ndata: b\n\n", both, 15, "id-forgotten", last_event_id="7"),
    )


@suite.check(
    "id-alone",
    "An id without data is no event, and counts all the same",
    todo=3,
    after=("id-stays", "no-data"),
    read="Ids: where to go on",
    rule=f"{INTERPRETING}: dispatch, steps 1 and 2",
    why="A server may say how far it is without an event: all of the last ones were for "
    "somebody else. Step 1 comes before step 2, which is where httpx-sse is wrong.",
    hints={
        "id-not-kept": "Set the last event id before you ask if there is data.",
        "took-it-for-an-event": "Only data makes an event. An id does not.",
    },
)
def id_alone(parser: Parser) -> None:
    expect(
        parser,
        Case(b"id: 7\n\ndata: a\n\n", [("message", "a", "7")], 6, "took-it-for-an-event"),
        Case(b"id: 7\n\n", [], 6, "id-not-kept", last_event_id="7"),
    )


@suite.check(
    "id-at-the-blank-line",
    "An id counts from the blank line on, not before",
    todo=3,
    after=("id-stays",),
    read="Ids: where to go on",
    rule=f"{INTERPRETING}: dispatch, step 1",
    why="If the connection breaks in the middle of event 8, it must be sent again. Who says "
    "`Last-Event-ID: 8` then never gets it.",
    hints={
        "too-early": "The `id` line sets the buffer. `last_event_id` changes when the event "
        "is dispatched."
    },
)
def id_at_the_blank_line(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: 8\ndata: b\n"
    expect(parser, Case(stream, [("message", "a", "7")], 15, "too-early", last_event_id="7"))


@suite.check(
    "id-with-nul",
    "An id with NUL in it is ignored",
    todo=3,
    after=("id-stays",),
    read="Ids: where to go on",
    rule=f"{INTERPRETING}: process the field, id",
    why="It will be sent as a header, and no header can carry a NUL.",
    hints={"nul-taken": "Ignore the whole field if there is a NUL anywhere in its value."},
)
def id_with_nul(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n"
    both = [("message", "a", "7"), ("message", "b", "7")]
    expect(parser, Case(stream, both, 20, "nul-taken"))


@suite.check(
    "id-empty",
    "An empty id resets the last event id",
    todo=3,
    after=("id-stays",),
    read="Ids: where to go on",
    rule=f"{INTERPRETING}: process the field, id",
    why="It is the only way for a server to say: from here on, start from the beginning.",
    hints={"not-reset": "An empty value is a value. Only a NUL makes you ignore an id."},
)
def id_empty(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: \ndata: b\n\n"
    both = [("message", "a", "7"), ("message", "b", "")]
    expect(parser, Case(stream, both, 19, "not-reset", last_event_id=""))


@suite.check(
    "retry",
    "retry sets the reconnection time, if it is digits and nothing else",
    todo=3,
    after=("no-data", "one-space"),
    read="Retry: how long to wait",
    rule=f"{INTERPRETING}: process the field, retry",
    why="A client that waits -1 ms, or crashes on `soon`, has let the server break it.",
    hints={
        "not-set": "`retry: 3000` is 3000 milliseconds, as an int.",
        "too-late": "It belongs to no event, and counts from its own line on.",
        "not-digits": "Only the ASCII digits 0 to 9. int() takes much more: signs, spaces, "
        "underscores, the digits of other scripts.",
    },
)
def retry(parser: Parser) -> None:
    refused = ["-1", "+1", " 1", "1.5", "1_000", "1e3", "", "soon", "٣"]
    expect(
        parser,
        Case(b"retry: 3000\n\n", [], 7, "not-set", reconnection_time=3000),
        Case(b"retry: 3000\n", [], 11, "too-late", reconnection_time=3000),
        *(
            Case(
                f"retry: 5\nretry: {value}\n\n".encode(),
                [],
                16,
                "not-digits",
                reconnection_time=5,
            )
            for value in refused
        ),
        crashes={"ValueError": "not-digits"},
    )


# --- TODO 4: line ends -------------------------------------------------------------------


@suite.check(
    "crlf",
    "CRLF ends a line, once",
    todo=4,
    after=("one-event", "no-data", "data-lines"),
    read="Three line ends",
    rule=PARSING,
    why="Servers on Windows, and many HTTP libraries, write CRLF.",
    hints={
        "cr-in-the-value": "Each CR of a CRLF belongs to the line end, not to the value.",
        "two-line-ends": "CRLF is one line end. Taken as two, each line has a blank one after.",
    },
)
def crlf(parser: Parser) -> None:
    stream = b"data: a\r\ndata: b\r\n\r\n"
    expect(
        parser,
        Case(b"data: a\r\n\n", message("a"), 7, "cr-in-the-value"),
        Case(stream, message("a\nb"), 8, "two-line-ends"),
    )


@suite.check(
    "cr",
    "CR alone ends a line",
    todo=4,
    after=("crlf",),
    read="Three line ends",
    rule=PARSING,
    why="The standard names three line ends, and a browser takes all of them.",
    hints={"not-a-line-end": "A CR with no LF after it ends a line just as LF does."},
)
def cr(parser: Parser) -> None:
    expect(parser, Case(b"data: a\rdata: b\r\r:\n", message("a\nb"), 7, "not-a-line-end"))


@suite.check(
    "other-separators",
    "Nothing else ends a line",
    todo=4,
    after=("one-event",),
    read="Three line ends",
    rule=PARSING,
    why="JSON may have U+2028 in its strings as it is. One such character would cut a message.",
    hints={
        "cut-at-another": "str.splitlines() cuts at eight more characters: VT, FF, FS, GS, RS, "
        "NEL, U+2028 and U+2029. Cut at CR and LF only."
    },
)
def other_separators(parser: Parser) -> None:
    def one(character: str) -> Case:
        stream = f"data: a{character}b\n\n".encode()
        return Case(stream, message(f"a{character}b"), 7, "cut-at-another")

    expect(parser, *map(one, "\v\f\x1c\x1d\x1e\x85\u2028\u2029"))


# --- TODO 5: pieces ----------------------------------------------------------------------


@suite.check(
    "pieces",
    "A chunk may end anywhere",
    todo=5,
    after=("one-event", "data-lines", "buffers-emptied"),
    read="Chunks end anywhere",
    rule=PARSING,
    why="TCP and HTTP cut where they like. It works on your machine, and fails on a slow "
    "network, once a day.",
    hints={
        "cut-in-a-line": "The chunk ended in the middle of a line. Keep that half, and put "
        "it before the next chunk.",
        "cut-between-lines": "The chunk ended where a line ended. What is known of the event "
        "so far belongs to the parser, not to one call of feed.",
    },
)
def pieces(parser: Parser) -> None:
    # Lines of which no half is a line of its own, so that only the cut matters.
    stream, wanted = b"data: hello\ndata: you\n\ndata: two\n\n", message("hello\nyou", "two")
    at_line_ends = [
        Case(stream, wanted, place, "cut-between-lines", (stream[:place], stream[place:]))
        for place in range(1, len(stream))
        if stream[place - 1 : place] == b"\n"
    ]
    expect(parser, *at_line_ends, *every_cut(stream, wanted, "cut-in-a-line"))


@suite.check(
    "unfinished",
    "An event that the stream leaves unfinished is dropped",
    todo=5,
    after=("pieces",),
    read="Chunks end anywhere",
    rule=f"{INTERPRETING}: the end of the file",
    why="Half an event looks like a whole one. JSON cut in half at least fails; half a "
    "number does not.",
    hints={"half-an-event": "Only a blank line dispatches. The end of the stream does not."},
)
def unfinished(parser: Parser) -> None:
    for stream in (b"data: a\n\ndata: b\n", b"data: a\n\ndata: b"):
        # b"" is what a connection's read returns at its end.
        case = Case(stream, message("a"), len(stream), "half-an-event", (stream, b""))
        expect(parser, case)


# --- TODO 4 again: line ends in pieces ---------------------------------------------------


@suite.check(
    "cr-at-once",
    "A CR at the end of a chunk ends its line at once",
    todo=4,
    after=("cr", "pieces"),
    read="Three line ends",
    rule=PARSING,
    why="The next chunk may be hours away. The event is complete now.",
    hints={
        "waits": "Do not hold the CR back to see what follows. End the line, remember that it "
        "was a CR, and leave out an LF if the next chunk starts with one."
    },
)
def cr_at_once(parser: Parser) -> None:
    stream = b"data: a\r\r"
    expect(parser, Case(stream, message("a"), len(stream) - 1, "waits"))


@suite.check(
    "crlf-in-two-chunks",
    "A CRLF cut in two is still one line end",
    todo=4,
    after=("cr-at-once", "unfinished"),
    read="Three line ends",
    rule=PARSING,
    why="It happens as often as any other cut, and makes an event out of half of one.",
    hints={
        "lf-counted-again": "The chunk before ended with CR, and this one starts with LF: that "
        "LF is the rest of the line end, and no blank line.",
        "forgot-the-cr": "A chunk without text came between CR and LF, and changes nothing.",
        "remembered-too-long": "Between that CR and this LF stands text, so the LF ends a line "
        "of its own. Any other character after the CR ends the wait for its LF.",
    },
)
def crlf_in_two_chunks(parser: Parser) -> None:
    stream, wanted = b"data: a\r\ndata: b\r\n\r\n", message("a\nb")
    empty = (stream[:8], b"", stream[8:])
    later = b"data: a\rdata: b\n\n"
    expect(
        parser,
        *every_cut(stream, wanted, "lf-counted-again"),
        Case(stream, wanted, 8, "forgot-the-cr", empty),
        Case(later, wanted, 15, "remembered-too-long", (later[:8], later[8:15], later[15:])),
    )


# --- TODO 6: characters ------------------------------------------------------------------


@suite.check(
    "characters-in-pieces",
    "A chunk may end in the middle of a character",
    todo=6,
    after=("pieces",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="Every character but the ASCII ones is two to four bytes. Decoding chunk by chunk "
    "breaks names, prices and emoji, now and then.",
    hints={
        "cut-in-a-character": "The first bytes of the character came in one chunk, the rest "
        "in the next. An incremental decoder keeps them: look for `codecs` in the lesson."
    },
)
def characters_in_pieces(parser: Parser) -> None:
    text = "é 漢 🙂"
    cases = every_cut(f"data: {text}\n\n".encode(), message(text), "cut-in-a-character")
    expect(parser, *cases, crashes={"UnicodeDecodeError": "cut-in-a-character"})


@suite.check(
    "not-utf8",
    "A byte that is not UTF-8 becomes U+FFFD",
    todo=6,
    after=("one-event",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="One bad byte from a server must not end its clients, and must not vanish unseen.",
    hints={
        "raised": "Decoding must not raise: what is not UTF-8 is replaced.",
        "vanished": "A bad byte is replaced with U+FFFD, not left out.",
    },
)
def not_utf8(parser: Parser) -> None:
    stream = b"data: a\xffb\n\n"
    case = Case(stream, message("a\ufffdb"), 7, "vanished")
    expect(parser, case, crashes={"UnicodeDecodeError": "raised"})


@suite.check(
    "byte-order-mark",
    "One byte order mark may lead the stream",
    todo=6,
    after=("characters-in-pieces", "not-utf8", "no-data"),
    read="Characters end anywhere, too",
    rule=f"{PARSING}: stream",
    why="Some editors and servers write it. Left in place it becomes part of the first field's "
    "name, and the first event is lost.",
    hints={
        "mark-kept": "The first character of the stream, if it is U+FEFF, is no part of it. "
        "Its three bytes can come in three chunks.",
        "too-many-removed": "Only the very first character of the stream: not each chunk's, "
        "and not one in a value.",
    },
)
def byte_order_mark(parser: Parser) -> None:
    stream = b"\xef\xbb\xbfdata: a\n\n"
    later = b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbfc\n\n"
    kept = message("a", "\ufeffc")
    two_marks = b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n"
    expect(
        parser,
        Case(stream, message("a"), 0, "mark-kept"),
        *every_cut(stream, message("a"), "mark-kept"),
        Case(later, kept, 9, "too-many-removed"),
        Case(later, kept, 9, "too-many-removed", (later[:9], later[9:])),
        Case(two_marks, message("b"), 3, "too-many-removed"),
    )
