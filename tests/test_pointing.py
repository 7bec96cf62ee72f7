"""Bytes that can be seen, and a caret under the right one."""

from __future__ import annotations

import pytest

from workshop.pointing import point_at, visible


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\r\nb\tc\0", r"a\r\nb\tc\0"),
        ("é世✓".encode(), "é世✓"),
        (b"caf\xe9!", r"caf\xe9!"),
        ("\ufeffa\u200b\x1b[2J".encode(), r"\ufeffa\u200b\u001b[2J"),
    ],
)
def test_every_odd_byte_can_be_seen(raw: bytes, text: str) -> None:
    assert visible(raw) == text


@pytest.mark.parametrize(
    ("raw", "at", "drawn"),
    [
        # Line ends: LF, CR, CRLF, and the byte after each.
        (b"event: x\ndata: y\n\n", 7, "event: x\\n\n       ^"),
        (b"event: x\ndata: y\n\n", 9, "event: x\\n\ndata: y\\n\n^"),
        (b"event: x\ndata: y\n\n", 16, "event: x\\n\ndata: y\\n\n       ^"),
        (b"a\rbc\r", 3, "a\\r\nbc\\r\n ^"),
        (b"a\r\nbc", 1, "a\\r\\n\n ^"),
        (b"a\r\nbc", 2, "a\\r\\n\n   ^"),
        (b"a\r\nbc", 3, "a\\r\\n\nbc\n^"),
        # Where the next byte should have come.
        (b"", 0, "\n^"),
        (b"abc", 3, "abc\n   ^"),
        (b"abc\n", 4, "abc\\n\n\n^"),
        # Several bytes for one character, and characters that are two columns wide.
        ("é=x".encode(), 3, "é=x\n  ^"),
        ("世=x".encode(), 3, "世=x\n  ^"),
        ("世=x".encode(), 1, "世=x\n^"),
        (b"caf\xe9!", 3, "caf\\xe9!\n   ^"),
        (b"caf\xe9!", 4, "caf\\xe9!\n       ^"),
    ],
)
def test_the_caret_stands_under_the_byte(raw: bytes, at: int, drawn: str) -> None:
    assert point_at(raw, at) == drawn


@pytest.mark.parametrize("at", [0, 1, 35, 36, 37, 100, 250, 497, 498, 499, 500])
def test_a_long_line_is_cut_around_the_caret(at: int) -> None:
    raw = bytearray(b"." * 500)
    if at < len(raw):
        raw[at] = ord("X")
    line, caret = point_at(bytes(raw), at, width=72).splitlines()
    assert len(line) <= 72
    assert caret == " " * (len(caret) - 1) + "^"
    if at < len(raw):
        assert line[len(caret) - 1] == "X"
    else:
        assert len(caret) - 1 == len(line)
    assert line.startswith("… ") == (at > 36)
    assert line.endswith(" …") == (at < 460)


def test_lines_before_the_wrong_one_are_shown_and_not_too_many() -> None:
    raw = b"".join(b"line %d\n" % number for number in range(20))
    drawn = point_at(raw, raw.find(b"10"), lines=6).splitlines()
    assert drawn == [*(f"line {number}\\n" for number in (6, 7, 8, 9, 10)), "     ^"]


def test_without_a_byte_the_first_lines_are_shown() -> None:
    raw = b"".join(b"line %d\n" % number for number in range(20))
    assert point_at(raw, lines=2) == "line 0\\n\nline 1\\n\n… 18 more lines"
    assert point_at(b"one\n") == "one\\n"
