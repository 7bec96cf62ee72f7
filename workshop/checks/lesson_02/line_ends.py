"""TODO 4: the three line ends."""

from __future__ import annotations

from workshop.checks.lesson_02.cases import Case, events, expect, found_in, message, misread
from workshop.checks.lesson_02.opening import PARSING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "crlf",
    "CRLF ends a line, once",
    todo=4,
    after=("no-data", "data-lines"),
    read="Three line ends",
    rule=PARSING,
    why="Servers on Windows, and many HTTP libraries, write CRLF.",
    hints={
        "cr-in-the-value": "The CR of a CRLF belongs to the line end, not to the value.",
        "two-line-ends": "CRLF is one line end. If it counts as two, a blank line follows "
        "every line.",
        "chunk-without-text": "A chunk may have no text in it. Then there is no last "
        "character to look at.",
    },
)
def crlf(parser: Parser) -> None:
    stream = b"data: a\r\ndata: b\r\n\r\n"
    expect(
        parser,
        Case(b"data: a\r\n\n", message("a"), 7, "cr-in-the-value"),
        Case(stream, message("a\nb"), 8, "two-line-ends"),
        Case(stream, message("a\nb"), 0, "chunk-without-text", (b"", stream, b"")),
        crashes={"IndexError": "chunk-without-text"},
    )


@suite.check(
    "cr",
    "CR alone ends a line",
    todo=4,
    after=("crlf",),
    read="Three line ends",
    rule=PARSING,
    why="The standard has three line ends, and browsers know all of them.",
    hints={"not-a-line-end": "A CR without an LF after it ends a line, just as LF does."},
)
def cr(parser: Parser) -> None:
    expect(parser, Case(b"data: a\rdata: b\r\r:\n", message("a\nb"), 7, "not-a-line-end"))


@suite.check(
    "other-separators",
    "Nothing else ends a line",
    todo=4,
    after=("plain-data",),
    read="Three line ends",
    rule=PARSING,
    why="JSON may contain U+2028 unescaped. One such character would cut a message in two.",
    hints={
        "cut-at-another": "str.splitlines() splits at eight more characters: VT, FF, FS, GS, "
        "RS, NEL, U+2028 and U+2029. Split at LF only, once CR and CRLF have become LF."
    },
)
def other_separators(parser: Parser) -> None:
    for character in "\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        text = f"a{character}b"
        case = Case(f"data: {text}\n\n".encode(), message(text), 7, "cut-at-another")
        (answer,) = parser.ask([case.fed()])
        found = found_in(case, answer, {})
        # Only whether it was cut: how it was decoded is another check's question.
        if len(found) != 1 or not found[0][1].endswith("b"):
            shown = f"{events(case.wanted)}. It returned {events(found)}"
            raise misread(case, answer, "cut-at-another", shown)


@suite.check(
    "lf-kept",
    "An LF at the start of a chunk ends a line",
    todo=4,
    after=("no-data", "crlf"),
    read="Three line ends",
    rule=PARSING,
    why="A blank line would be missed, and two events would become one.",
    hints={
        "lf-dropped": "Leave out an LF at the start of a chunk only if the character before it "
        "was a CR."
    },
)
def lf_kept(parser: Parser) -> None:
    stream = b"data: a\n\n"
    case = Case(stream, message("a"), 8, "lf-dropped", (stream[:8], stream[8:]))
    # If the data is lost when another line comes first, the LF is not to blame.
    other = Case(b"data: a\n:\n\n", message("a"), 8, "", (b"data: a\n", b":\n\n"))
    answers = parser.ask([other.fed()])
    if other.same(found_in(other, answers[0], {})):
        expect(parser, case)
