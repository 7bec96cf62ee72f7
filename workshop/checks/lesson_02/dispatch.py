"""TODO 1: what a blank line does."""

from __future__ import annotations

from workshop.checks.lesson_02.cases import (
    HELLO,
    Case,
    events,
    expect,
    found_in,
    message,
    misread,
)
from workshop.checks.lesson_02.opening import INTERPRETING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "plain-type",
    "An event without a type is a `message`",
    todo=1,
    after=("own-state",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 3, 5 and 6",
    why="Pages and MCP clients listen for `message`, and would miss an event without a type.",
    hints={
        "swapped": "The data came as the type. The order is Event(type, data, last_event_id).",
        "not-a-message": "The stream did not name a type, so `_event_type` is empty. Then the "
        'type of the Event is "message", all in small letters.',
        "lf-added": "There is an LF too many at the end of the data. The standard adds one "
        "after each value, and removes the last one when it dispatches.",
    },
)
def plain_type(parser: Parser) -> None:
    last = len(HELLO) - 1
    case = Case(HELLO, message("hello"), last, "not-a-message", only="types")
    (answer,) = parser.ask([case.fed()])
    for type, data, _ in found_in(case, answer, {}):
        shown = f"{events(case.wanted)}. It returned {events([(type, data, '')])}"
        if (type, data) == ("hello", "message"):
            raise misread(case, answer, "swapped", shown)
        if type != "message":
            raise misread(case, answer, "not-a-message", shown)
        if data == "hello\n":
            raise misread(case, answer, "lf-added", shown)


@suite.check(
    "plain-data",
    "The data is the value of the data line",
    todo=2,
    after=("plain-type",),
    read="A line is a field",
    rule=INTERPRETING,
    why="It is what the server wanted to say.",
    hints={
        "not-the-value": "The value of this line is `hello`. Look at what `_process_line` "
        "passes on, and how it gets into `_data`: append() adds it as one item.",
    },
)
def plain_data(parser: Parser) -> None:
    expect(parser, Case(HELLO, message("hello"), 6, "not-the-value"))


@suite.check(
    "buffers-emptied",
    "Each event has its own data",
    todo=1,
    after=("plain-data",),
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
    "A blank line without data lines before it is not an event",
    todo=1,
    after=("buffers-emptied",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 2",
    why="Servers send blank lines after comments to keep a connection open. Each of them "
    "would be an empty message.",
    hints={
        "empty-event": "There was no data line, so there is nothing to dispatch: append only "
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
    after=("plain-data",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 3",
    why="The line put an LF into the standard's data buffer, so the buffer is not "
    "empty: the listener gets an event whose data is the empty string.",
    hints={
        "event-lost": "There was a data line, and its value is empty. Ask whether there were "
        "data lines, not whether there is text in them."
    },
)
def empty_data(parser: Parser) -> None:
    expect(parser, Case(b"data: \n\n", message(""), 6, "event-lost"))


@suite.check(
    "data-lines",
    "Several data lines are one event with several lines",
    todo=1,
    after=("empty-data",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 3",
    why="This is how a value with line ends travels, such as JSON printed over several lines.",
    hints={
        "joined-otherwise": "There is one LF between the values of two data lines.",
        "last-line-lost": "Only the LF that dispatch itself adds at the end goes away. The LF "
        "before a last, empty data line is part of the data.",
    },
)
def data_lines(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data: a\ndata: b\n\n", message("a\nb"), 7, "joined-otherwise"),
        Case(b"data: a\ndata: \n\n", message("a\n"), 14, "last-line-lost"),
    )
