"""TODO 2: the fields, and then the types of TODO 1, which come by a field."""

from __future__ import annotations

from workshop.checks.lesson_02.cases import Case, expect, message
from workshop.checks.lesson_02.opening import INTERPRETING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "one-space",
    "One space after the colon is left out, no more and no less",
    todo=2,
    after=("plain-data",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line with a colon",
    why="`data:x` and `data: x` mean the same, and many servers leave the space out. A second "
    "space is part of the text: indented code would lose its shape.",
    hints={
        "needs-a-space": "The space is optional: the field name ends at the colon.",
        "all-spaces": "Remove one space at the start of the value, and nothing else. Don't use "
        "strip(), here or on whole lines.",
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
    why="There are colons in URLs, times and all JSON.",
    hints={"cut-at-another": "Everything after the first colon is the value."},
)
def later_colons(parser: Parser) -> None:
    expect(parser, Case(b"data:a: b:c\n\n", message("a: b:c"), 6, "cut-at-another"))


@suite.check(
    "no-colon",
    "A line without a colon is a field with an empty value",
    todo=2,
    after=("data-lines", "later-colons"),
    read="A line is a field",
    rule=f"{INTERPRETING}: otherwise",
    why="`data` alone is how some servers write an empty line of data.",
    hints={
        "skipped": "Without a colon, the whole line is the name and the value is empty.",
        "needs-a-colon": "This line has no colon, and your code fails without one. Then the "
        "whole line is the name, and the value is empty.",
    },
)
def no_colon(parser: Parser) -> None:
    unpacked = {"ValueError": "needs-a-colon", "IndexError": "needs-a-colon"}
    expect(
        parser,
        Case(b"data\n\n", message(""), 4, "skipped"),
        Case(b"data: a\ndata\ndata: b\n\n", message("a\n\nb"), 12, "skipped"),
        crashes=unpacked,
    )


@suite.check(
    "names",
    "Names are compared exactly; unknown ones are ignored",
    todo=2,
    after=("no-colon",),
    read="A line is a field",
    rule=f"{INTERPRETING}: process the field, otherwise",
    why="New fields can only be added to a format whose old readers ignore them.",
    hints={
        "other-name": "`Data`, ` data` and `data ` are not the name `data`. Don't use lower() "
        "or strip().",
        "not-blank": "A line of spaces is not empty: it is a field with an unknown name, and "
        "does not end an event.",
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
    after=("data-lines",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line that starts with a colon",
    why="A comment every few seconds is how a server keeps an idle connection open.",
    hints={
        "comment-read": "There is nothing before its colon, so it has no name and sets no "
        "field.",
        "comment-changes": "A comment changes nothing: whatever is known of the event stays.",
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


# --- TODO 1 again: types, which come by TODO 2 --------------------------------------------


@suite.check(
    "event-type",
    "The event field names the type of the event",
    todo=1,
    after=("one-space", "no-colon"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: process the field; dispatch, steps 5 and 6",
    why="A page listens by type. MCP's first event is of type `endpoint`, and a client that "
    "takes it for a message never learns where to POST.",
    hints={
        "no-type": "`_process_line` passes every field to `_process_field`, not only `data` "
        "(TODO 2). That keeps the type in `_event_type`, and `_dispatch` gives it to the "
        "Event (TODO 1).",
        "empty-type": "An empty `event` field means no type, so the event is a `message`.",
        "last-one-counts": "A second `event` line replaces the type that the first one set.",
    },
)
def event_type(parser: Parser) -> None:
    expect(
        parser,
        Case(b"event: add\ndata: 1\n\n", [("add", "1", "")], 0, "no-type"),
        Case(b"data: 1\nevent: add\n\n", [("add", "1", "")], 8, "no-type"),
        Case(b"event: a\nevent: b\ndata: 1\n\n", [("b", "1", "")], 16, "last-one-counts"),
        Case(b"event: \ndata: 1\n\n", message("1"), 7, "empty-type"),
        Case(b"event: add\nevent: \ndata: 1\n\n", message("1"), 18, "empty-type"),
    )


@suite.check(
    "type-ends",
    "A type lasts until the next blank line",
    todo=1,
    after=("event-type", "no-data"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 7",
    why="The next event would get the type of this one, and go to the wrong listeners.",
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
