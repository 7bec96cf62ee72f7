"""Mermaid diagrams drawn with characters, as wide as there is room."""

from __future__ import annotations

import re

from rich.cells import cell_len
from termaid import render

# Labels are wrapped at these widths, tried in turn until the drawing fits.
_COMFORTABLE = (None, 60, 48, 40, 32, 28, 24, 20)
_NARROW = (16, 12, 10, 8)


def drawn(source: str, width: int) -> list[str]:
    """The diagram as lines of at most `width` columns, or the narrowest that there is.

    A flowchart that goes from left to right is turned rather than squeezed.
    """
    source = source.replace("<br>", " ").replace("[(", "[").replace(")]", "]")
    # An arrow with an open head is drawn as one with a filled head.
    source = source.replace("--)", "-->>")
    turned = re.sub(r"^(\s*(?:flowchart|graph)) (?:LR|RL)\b", r"\1 TD", source, count=1)
    narrowest: list[str] = []
    for one, label_widths in (
        (source, _COMFORTABLE),
        (turned, (*_COMFORTABLE, *_NARROW)),
    ):
        for label_width in label_widths:
            drawing = render(one, max_label_width=label_width, padding_x=1, padding_y=0)
            lines = [line.rstrip() for line in drawing.strip("\n").splitlines()]
            if not narrowest or _width(lines) < _width(narrowest):
                narrowest = lines
            if _width(narrowest) <= width:
                return narrowest
    return narrowest


def _width(lines: list[str]) -> int:
    return max((cell_len(line) for line in lines), default=0)
