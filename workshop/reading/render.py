"""The parts of a section as lines for a terminal, or for a pipe.

Prose is folded to the width. The lines of a block are left whole and begin in the first
column, so that a command can be copied as it is: a terminal wraps a long one by itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import ClassVar

from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import BlockQuote, Markdown, MarkdownElement
from rich.padding import Padding
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from workshop.reading.diagrams import drawn
from workshop.reading.sections import Part, Section

WIDEST = 88
INDENT = "    "  # of what a command printed

# Without a background: it would be a dark spot on a light terminal.
_THEME = Theme({"markdown.code": "cyan", "markdown.block_quote": "yellow"})

# Stands for a space in `code`, where a line must not be folded.
_NO_BREAK = "\ue000"


class _Quote(BlockQuote):
    """A quotation, set off by an indent: a bar would be copied with what it says."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(self.elements, (0, 2, 1, 2), style=self.style)


class _Prose(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "blockquote_open": _Quote,
    }

    def __init__(self, text: str, width: int, *, coloured: bool) -> None:
        super().__init__(text, hyperlinks=False)
        for token in self.parsed:
            if token.children:
                token.children = list(_inline(token.children, width, coloured))


def _inline(tokens: list[Token], width: int, coloured: bool) -> Iterator[Token]:
    """Inline tokens: addresses of the web and of pictures are said, other links are text.

    Without colours, code keeps its backticks.
    """
    address = ""
    for token in tokens:
        if token.type == "link_open":
            href = str(token.attrs.get("href", ""))
            address = ""
            if href.startswith("http") and token.markup != "autolink":
                address = href
            elif href.endswith(".svg"):
                address = f"lessons/{href}"
        elif token.type == "link_close":
            if address:
                yield Token("text", "", 0, content=f" ({address})")
        else:
            if token.type == "code_inline":
                if not coloured:
                    token.content = f"`{token.content}`"
                if cell_len(token.content) < width // 2:
                    token.content = token.content.replace(" ", _NO_BREAK)
            yield token


def section_lines(screen: Console, section: Section, *, answers: bool = False) -> list[Text]:
    """A section with its heading. Answers are folded, or shown with `answers`."""
    lines = [Text(section.heading, "bold"), Text("─" * cell_len(section.heading), "dim")]
    for part in section.parts:
        lines += [Text(), *_part(screen, part, answers=answers)]
    return lines


def answer_lines(screen: Console, answer: Part) -> list[Text]:
    """A folded part with its question, opened."""
    lines = _prose(screen, f"**{answer.text}**")
    for part in answer.answer:
        lines += [Text(), *_part(screen, part, answers=True)]
    return lines


def _part(screen: Console, part: Part, *, answers: bool) -> list[Text]:
    if part.kind == "prose":
        return _prose(screen, part.text)
    if part.kind == "diagram":
        return [Text(line) for line in drawn(part.text, width_of(screen))]
    if part.kind == "code":
        kind = part.info.split()[:1]
        if kind in (["console"], ["sh"]) or part.text.startswith("$ "):
            return _console(part)
        return _code(part)
    if answers:
        return answer_lines(screen, part)
    return _prose(screen, f"▸ {part.text}")


def width_of(screen: Console) -> int:
    """How many columns prose and diagrams can have."""
    return min(screen.width, WIDEST)


def _prose(screen: Console, text: str) -> list[Text]:
    width = width_of(screen)
    options = screen.options.update(width=width, no_wrap=False, overflow="fold")
    prose = _Prose(text, width, coloured=screen.color_system is not None)
    lines: list[Text] = []
    with screen.use_theme(_THEME):
        rendered = screen.render_lines(prose, options, pad=False)
    for segments in rendered:
        line = _line(segments)
        if line.plain or (lines and lines[-1].plain):  # one empty line is enough
            lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _line(segments: list[Segment]) -> Text:
    line = Text()
    for segment in segments:
        line.append(segment.text.replace(_NO_BREAK, " "), segment.style)
    line.rstrip()
    return line


def _code(part: Part) -> list[Text]:
    words = part.info.split()
    shown = Syntax("", words[0] if words else "text", theme="ansi_light").highlight(part.text)
    shown.rstrip()
    lines = list(shown.split("\n"))
    # A block that is a part of a program says of which.
    return [Text(words[1], "dim"), *lines] if len(words) > 1 else lines


def _console(part: Part) -> list[Text]:
    """Commands in the first column, without the `$`; what they print, indented."""
    attributes = dict(word.split("=", 1) for word in part.info.split()[1:] if "=" in word)
    terminal = f"In the terminal “{attributes['terminal']}”" if "terminal" in attributes else ""
    rows = part.text.splitlines()
    if part.info == "sh":
        return [Text("Type:", "dim"), *(Text(row, "bold cyan") for row in rows)]
    if not any(row.startswith(("$ ", "^C")) for row in rows):
        label = f"{terminal or 'Here'}, this comes next:"
        return [Text(label, "dim"), *(Text(f"{INDENT}{row}".rstrip()) for row in rows)]
    lines: list[Text] = [Text(f"{terminal}:" if terminal else "Type:", "dim")]
    continued = False
    for row in rows:
        if row.startswith("$ ") or continued:
            lines.append(Text(row if continued else row[2:], "bold cyan"))
            continued = row.endswith("\\")
        elif row == "^C":
            lines.append(Text("(press Ctrl-C)", "bold cyan"))
        else:
            lines.append(Text(textwrap.indent(row, INDENT).rstrip()))
    return lines
