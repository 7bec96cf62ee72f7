"""TODO 5: pieces, and then the line ends of TODO 4 in pieces."""

from __future__ import annotations

from dataclasses import replace

from workshop.checks.lesson_02.cases import (
    Case,
    byte_by_byte,
    events,
    every_cut,
    expect,
    found_in,
    message,
    misread,
)
from workshop.checks.lesson_02.opening import INTERPRETING, PARSING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "pieces",
    "A chunk may end anywhere",
    todo=5,
    after=("data-lines", "buffers-emptied", "event-type", "id-stays", "lf-kept"),
    read="Chunks end anywhere",
    rule=PARSING,
    why="TCP and HTTP cut where they like. It works on your machine, and fails on a slow "
    "network, once a day.",
    hints={
        "held-back": "The first event is complete. Return it now, even if another one begins "
        "in the same chunk.",
        "rest-is-not-a-line": "The chunk ended with the LF of `data: a`. Whatever comes after "
        "the last LF of a text is not a line yet, even if it is empty: here it was taken for a "
        "blank line.",
        "cut-in-a-line": "The chunk ended in the middle of a line. Keep that half, and put "
        "it in front of the next text. Keep only that: an old half must not come back.",
        "cut-between-lines": "The chunk ended where a line ended. Whatever is known of the "
        "event so far belongs to the parser, not to one call of feed.",
    },
)
def pieces(parser: Parser) -> None:
    expect(parser, Case(b"data: a\n\ndata: b", message("a"), 8, "held-back"))
    two_lines = b"data: a\ndata: b\n\n"
    case = Case(two_lines, message("a\nb"), 7, "", (two_lines[:8], two_lines[8:]))
    (answer,) = parser.ask([case.fed()])
    if len(found := found_in(case, answer, {})) == 2:
        shown = f"{events(case.wanted)}. It returned {events(found)}"
        raise misread(case, answer, "rest-is-not-a-line", shown)

    # Lines whose halves are not lines themselves, so that only the cut matters.
    stream = b"id: 7\nevent: add\ndata: hello\ndata: you\n\nevent: end\ndata: two\n\n"
    wanted = [("add", "hello\nyou", "7"), ("end", "two", "7")]
    in_lines, between_lines = [], []
    for case in every_cut(stream, wanted, "cut-in-a-line"):
        if case.chunks[0].endswith(b"\n"):
            between_lines.append(replace(case, hint="cut-between-lines"))
        else:
            in_lines.append(case)
    three = (stream[:20], stream[20:24], stream[24:])
    in_lines.append(Case(stream, wanted, 20, "cut-in-a-line", three))
    expect(parser, *between_lines, *in_lines)
    expect(parser, byte_by_byte(stream, wanted, "cut-in-a-line"))


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


# --- TODO 4 again: line ends in pieces ----------------------------------------------------


@suite.check(
    "cr-at-once",
    "A CR at the end of a chunk ends its line at once",
    todo=4,
    after=("cr", "pieces"),
    read="Three line ends",
    rule=PARSING,
    why="The next chunk may be hours away. The event is complete now.",
    hints={
        "waits": "Don't hold the CR back to see what follows. End the line, remember that it "
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
        "LF is the rest of the line end, not a blank line.",
        "forgot-the-cr": "A chunk without text came between CR and LF, and changes nothing.",
        "remembered-too-long": "There is text between that CR and this LF, so the LF ends "
        "a line too. Only the very last character before the LF matters.",
        "more-than-one-lf": "Only one LF belongs to the CR. The second one is a blank line.",
    },
)
def crlf_in_two_chunks(parser: Parser) -> None:
    stream, wanted = b"data: a\r\ndata: b\r\n\r\n", message("a\nb")
    empty = (stream[:8], b"", stream[8:])
    later = b"data: a\rdata: b\n\n"
    once, twice = (later[:15], later[15:]), (later[:8], later[8:15], later[15:])
    blank = b"data: a\r\n\n"
    expect(
        parser,
        *every_cut(stream, wanted, "lf-counted-again"),
        byte_by_byte(stream, wanted, "lf-counted-again"),
        Case(stream, wanted, 8, "forgot-the-cr", empty),
        Case(later, wanted, 15, "remembered-too-long", once),
        Case(later, wanted, 15, "remembered-too-long", twice),
        Case(blank, message("a"), 9, "more-than-one-lf", (blank[:8], blank[8:])),
    )
