"""Draw bytes as text, with a caret under the one that is wrong."""

from __future__ import annotations

from rich.cells import cell_len


def visible(raw: bytes) -> str:
    """Bytes as text in which every line end and every odd byte is visible."""
    return "".join(map(_visible, raw.decode("utf-8", "surrogateescape")))


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\r\t\0":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that is not UTF-8
    return character if character.isprintable() else f"\\u{code:04x}"


def point_at(raw: bytes, at: int | None = None, *, width: int = 72, lines: int = 6) -> str:
    """Draw `raw` line by line, at most `lines` of them, with a caret under byte `at`.

    `at` may be len(raw): then the caret marks where the next byte should have come.
    """
    if at is None:
        drawn = [_clip(visible(line), 0, width)[0] for line in raw.splitlines(keepends=True)]
        more = [f"… {len(drawn) - lines} more lines"] if len(drawn) > lines else []
        return "\n".join(drawn[:lines] + more)
    all_lines = raw.splitlines(keepends=True)
    number = start = 0
    while number < len(all_lines) and start + len(all_lines[number]) <= at:
        start += len(all_lines[number])
        number += 1
    if number == len(all_lines) and raw and not raw.endswith((b"\n", b"\r")):
        # The byte that should have come belongs to the line that is not ended.
        number -= 1
        start -= len(all_lines[number])
    here = all_lines[number] if number < len(all_lines) else b""
    line, column = _clip(visible(here), _column(here, at - start), width)
    before = all_lines[max(0, number - lines + 2) : number]
    drawn = [_clip(visible(one), 0, width)[0] for one in before]
    return "\n".join([*drawn, line, " " * column + "^"])


def _column(line: bytes, at: int) -> int:
    """The terminal's column, from 0, of the character that byte `at` belongs to."""
    column = place = 0
    for character in line.decode("utf-8", "surrogateescape"):
        place += len(character.encode("utf-8", "surrogateescape"))
        if place > at:
            break
        column += cell_len(_visible(character))
    return column


def _clip(text: str, column: int, width: int) -> tuple[str, int]:
    """The part of a long line around `column`, and where `column` is in it.

    Both count the cells of a terminal: "世" takes two.
    """
    total = cell_len(text)
    if total <= width:
        return text, column
    last = total - width + 1  # the first cell of the last part, with room for a caret after it
    first = max(0, min(column - width // 2, last))
    end = total if first == last else first + width - 2
    lead = first + 2 if first else 0
    part, place = "", 0
    for character in text:
        size = cell_len(character)
        if place >= lead and place + size <= end:
            # A wide character that the lead cuts in two leaves a blank.
            part = part or ("… ".ljust(place - first) if first else "")
            part += character
        place += size
    return part + ("" if end == total else " …"), column - first
