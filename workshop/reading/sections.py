"""A lesson's text as sections, and each section as parts that are shown differently."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

_SUMMARY = re.compile(r"<details><summary>(.*)</summary>")


@dataclass
class Part:
    """A piece of a section: prose as Markdown, a code block, a diagram, or a folded answer."""

    kind: Literal["prose", "code", "diagram", "answer"]
    text: str = ""
    """The Markdown of prose, or the body of a block; for an answer, its question."""
    info: str = ""
    """A code block's info string, such as "console terminal=server"."""
    answer: list[Part] = field(default_factory=list)


@dataclass
class Section:
    """One `## ` heading and what is below it; the first has the lesson's title."""

    heading: str
    parts: list[Part] = field(default_factory=list)

    @property
    def answers(self) -> list[Part]:
        """What is folded in this section, in order."""
        return [part for part in self.parts if part.kind == "answer"]


def sections_of(text: str) -> list[Section]:
    """The sections of a Markdown text, in order. It begins with a heading."""
    lines = text.splitlines()
    found: list[Section] = []
    folded: Part | None = None
    for token, where, content in _blocks(text):
        if token.type == "heading_open" and token.tag in ("h1", "h2") and folded is None:
            found.append(Section(content))
            continue
        parts = folded.answer if folded is not None else found[-1].parts
        source = textwrap.dedent("\n".join(lines[slice(*where)])).strip("\n")
        if token.type == "html_block":
            if opening := _SUMMARY.match(source):
                folded = Part("answer", _as_markdown(opening[1]))
                found[-1].parts.append(folded)
            elif source.startswith("</details>"):
                folded = None
            # All other HTML is comments for those who read the source.
        elif token.type == "fence":
            info = token.info.strip()
            kind = "diagram" if info == "mermaid" else "code"
            parts.append(Part(kind, token.content.rstrip("\n"), info))
        elif source:
            _add_prose(parts, source)
    return found


def _add_prose(parts: list[Part], source: str) -> None:
    if parts and parts[-1].kind == "prose":
        parts[-1].text += f"\n\n{source}"
    else:
        parts.append(Part("prose", source))


def _blocks(text: str) -> Iterator[tuple[Token, list[int], str]]:
    """Each block that is in no other: its token, its lines, and its text if it is a heading.

    A code block in a list comes on its own, between what is before and after it.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for at, token in enumerate(tokens):
        if token.level > 0 or token.map is None:
            continue
        content = tokens[at + 1].content if token.type == "heading_open" else ""
        begin, end = token.map
        for inner in takewhile(lambda inner: inner.level > 0, tokens[at + 1 :]):
            if inner.type == "fence" and inner.map is not None:
                yield token, [begin, inner.map[0]], content
                yield inner, inner.map, ""
                begin = inner.map[1]
        if begin < end:
            yield token, [begin, end], content


def _as_markdown(summary: str) -> str:
    """The HTML of a <summary> as Markdown."""
    return html.unescape(re.sub(r"</?code>", "`", summary))


def find_section(sections: list[Section], wanted: str) -> int | None:
    """The index of the section with this number (from 1) or heading; None if there is none.

    The beginning of a heading is enough, or any part of it, in any case of letters.
    """
    if wanted.isdecimal():
        return int(wanted) - 1 if 1 <= int(wanted) <= len(sections) else None
    headings = [section.heading.casefold() for section in sections]
    name = wanted.strip().removeprefix("## ").casefold()
    for matches in (str.__eq__, str.startswith, str.__contains__):
        for index, heading in enumerate(headings):
            if name and matches(heading, name):
                return index
    return None
