"""An exercise as it is on the way, for the tests of its checks."""

from __future__ import annotations

import re


def solved_up_to(source: str, done: int) -> str:
    """The exercise with this many of its TODOs solved, and the others as the starter has them.

    `source` is its solution with the marks; `workshop/publishing/starters.py` checks those.
    """
    lines: list[str] = []
    todo, part = 0, "end"
    for line in source.splitlines():
        text = line.strip()
        # "(TODO 2)" too: a TODO may have several places.
        if found := re.search(r"TODO (\d+)", text):
            todo = int(found[1])
        if text in ("# --- solution", "# --- starter", "# --- end"):
            part = text.removeprefix("# --- ")
        elif part == "end" or part == ("solution" if todo <= done else "starter"):
            lines.append(re.sub("# ?", "", line, count=1) if part == "starter" else line)
    return "\n".join(lines) + "\n"
