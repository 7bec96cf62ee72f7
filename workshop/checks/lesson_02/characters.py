"""TODO 6: characters."""

from __future__ import annotations

from workshop.checks.lesson_02.cases import Case, byte_by_byte, every_cut, expect, message
from workshop.checks.lesson_02.opening import INTERPRETING, PARSING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "characters-in-pieces",
    "A chunk may end in the middle of a character",
    todo=6,
    after=("pieces",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="Every character that is not ASCII takes two to four bytes. Decoding chunk by chunk "
    "breaks names, prices and emoji, now and then.",
    hints={
        "not-utf8": "Decode the stream as UTF-8. Here each character was whole, but misread.",
        "cut-in-a-character": "The first bytes of the character came in one chunk, the rest "
        "in the next. The incremental decoder in `self._decoder` keeps them for you.",
    },
)
def characters_in_pieces(parser: Parser) -> None:
    text = "é 漢 🙂"
    stream, wanted = f"data: {text}\n\n".encode(), message(text)
    expect(
        parser,
        Case(stream, wanted, 6, "not-utf8"),
        *every_cut(stream, wanted, "cut-in-a-character"),
        byte_by_byte(stream, wanted, "cut-in-a-character"),
        crashes={"UnicodeDecodeError": "cut-in-a-character"},
    )


@suite.check(
    "invalid-bytes",
    "A byte that is not UTF-8 becomes U+FFFD",
    todo=6,
    after=("characters-in-pieces",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="One bad byte from a server must not crash its clients, and must not vanish unseen.",
    hints={
        "raised": "Decoding must not raise: bytes that are not UTF-8 are replaced.",
        "vanished": "A bad byte is replaced with U+FFFD. It is not left out, and does not "
        "become anything else.",
    },
)
def invalid_bytes(parser: Parser) -> None:
    stream = b"data: a\xffb\n\n"
    case = Case(stream, message("a\ufffdb"), 7, "vanished")
    expect(parser, case, crashes={"UnicodeDecodeError": "raised"})


@suite.check(
    "byte-order-mark",
    "A byte order mark at the start of the stream is left out",
    todo=6,
    after=("invalid-bytes",),
    read="Characters end anywhere, too",
    rule=f"{PARSING}: stream",
    why="Some editors and servers write it. Left in, it becomes part of the first field's "
    "name, and the first event is lost.",
    hints={
        "mark-kept": "If the first character of the stream is U+FEFF, leave it out. "
        "Its three bytes can come in three chunks.",
        "too-many-removed": "Only the very first character of the stream: not in each chunk, "
        "and not in a value.",
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
        byte_by_byte(stream, message("a"), "mark-kept"),
        Case(later, kept, 9, "too-many-removed"),
        Case(later, kept, 9, "too-many-removed", (later[:9], later[9:])),
        Case(two_marks, message("b"), 3, "too-many-removed"),
    )
