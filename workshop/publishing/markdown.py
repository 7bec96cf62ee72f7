"""Find the fenced blocks of a Markdown text and replace their bodies, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

from workshop.publishing.difference import PublishError

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True)
class Fence:
    """One fenced block."""

    info: str
    """What follows the opening fence, such as "console terminal=server"."""
    line: int
    """The opening fence's line; the first line of the text is 1."""
    end: int
    """The closing fence's line."""
    body: str
    """The lines between, without the block's own indent, each ended by a newline."""
    indent: str
    mark: str
    """The fence itself: three or more backticks or tildes."""


def fences(text: str, name: str) -> list[Fence]:
    """All fenced blocks in their order. `name` is the file's, for errors.

    Raises PublishError for a block that is never closed, and for a snippet or a
    console in a quotation, on a bullet's own line, or right under a line of HTML such
    as <details>: those cannot be filled in.
    """
    lines = _LINES.findall(text)
    found: list[Fence] = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block" and token.map is not None:
            for number, line in enumerate(lines[slice(*token.map)], token.map[0] + 1):
                if re.match(r"\s*(`{3}|~{3})", line):
                    raise PublishError(
                        f"{name}, line {number}: leave an empty line between the HTML above "
                        "and this block, or it is not read as one."
                    )
        if token.type != "fence" or token.map is None:
            continue
        first, after = token.map
        opening = lines[first]
        if not opening.lstrip().startswith(token.markup):
            if is_snippet(token.info) or token.info.split()[:1] == ["console"]:
                raise PublishError(
                    f"{name}, line {first + 1}: begin this block on its own line, "
                    "outside a quotation."
                )
            continue
        closing = rf"\s*{token.markup[0]}{{{len(token.markup)},}}\s*"
        if after - 1 == first or not re.fullmatch(closing, lines[after - 1]):
            raise PublishError(f"{name}, line {first + 1}: this block is never closed.")
        found.append(
            Fence(
                info=token.info.strip(),
                line=first + 1,
                end=after,
                body=token.content,
                indent=opening[: len(opening) - len(opening.lstrip())],
                mark=token.markup,
            )
        )
    return found


def is_snippet(info: str) -> bool:
    """Whether a block's info string names what the block shows."""
    words = info.split()
    return len(words) == 2 and ("/" in words[1] or "::" in words[1])


def with_bodies(text: str, bodies: list[tuple[Fence, str]], name: str) -> str:
    """`text` with new bodies for these fences. All other bytes stay.

    Raises PublishError for a body that would close its own fence.
    """
    lines = _LINES.findall(text)
    # From the end, so that the numbers of the lines above stay right.
    for fence, body in sorted(bodies, key=lambda pair: -pair[0].line):
        if re.search(rf"^ {{0,3}}{re.escape(fence.mark)}", body, re.MULTILINE):
            raise PublishError(
                f"{name}, line {fence.line}: what belongs here has a line that begins with "
                f"{fence.mark}. Open and close the block with a longer fence."
            )
        ending = "\r\n" if lines[fence.line - 1].endswith("\r\n") else "\n"
        lines[fence.line : fence.end - 1] = [
            f"{fence.indent}{line}{ending}" if line else ending for line in body.splitlines()
        ]
    return "".join(lines)
