"""Read console blocks, and compare what they show with what came.

$ command          is typed; `$ command \\` goes on in the next line
output             what it printed; `…` in a line stands for what varies,
…                  a line of it alone for any number of lines
^C                 Ctrl-C is pressed; what follows came until the prompt was back
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from workshop.publishing.difference import PublishError
from workshop.publishing.markdown import Fence

ELLIPSIS = "…"
DEFAULT_TERMINAL = ""


@dataclass
class Step:
    """One thing that is done in a terminal, and the lines shown after it."""

    kind: Literal["command", "interrupt", "listen"]
    """"listen": nothing is typed, the block shows what a running command printed next."""
    typed: list[str] = field(default_factory=list)
    """The block's lines up to the output, as they stand there."""
    command: str = ""
    to_its_end: bool = True
    """False: the command keeps running when the shown lines have come."""
    shown: list[str] = field(default_factory=list)


@dataclass
class Block:
    """One console block."""

    fence: Fence
    terminal: str
    seconds: float
    needs: str | None
    """A program without which this block is not replayed, such as nginx or docker."""
    steps: list[Step]

    def body(self, outputs: list[list[str]]) -> str:
        """The block's text with these lines as the steps' outputs."""
        lines: list[str] = []
        for step, output in zip(self.steps, outputs, strict=True):
            lines += [*step.typed, *output]
        return "".join(f"{line}\n" for line in lines)


def read_block(fence: Fence, name: str) -> Block:
    """The block in this fence. Raises PublishError for an unknown attribute."""
    attributes = {"terminal": DEFAULT_TERMINAL, "seconds": "20", "needs": ""}
    for word in fence.info.split()[1:]:
        key, equals, value = word.partition("=")
        if key not in attributes or not equals or not value:
            raise PublishError(
                f"{name}, line {fence.line}: a console takes terminal=NAME, seconds=N and "
                f"needs=PROGRAM, not {word!r}."
            )
        attributes[key] = value
    try:
        seconds = float(attributes["seconds"])
    except ValueError:
        raise PublishError(f"{name}, line {fence.line}: seconds=N wants a number.") from None
    steps: list[Step] = []
    continued = False
    for line in fence.body.splitlines():
        if continued:
            steps[-1].typed.append(line)
            steps[-1].command += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            steps.append(Step("command", [line], line[2:]))
        elif line == "^C":
            if steps and steps[-1].kind == "command":
                steps[-1].to_its_end = False
            steps.append(Step("interrupt", [line]))
        else:
            if not steps:
                steps.append(Step("listen", to_its_end=False))
            steps[-1].shown.append(line.rstrip())
        continued = bool(steps and (line.startswith("$ ") or continued) and line[-1:] == "\\")
    if attributes["terminal"] != DEFAULT_TERMINAL and steps and steps[-1].kind == "command":
        steps[-1].to_its_end = False
    return Block(fence, attributes["terminal"], seconds, attributes["needs"] or None, steps)


def is_prefix(shown: list[str], lines: list[str]) -> int | Literal["never"] | None:
    """How many of `lines` the shown ones account for, the fewest possible.

    None when more lines may still complete them, "never" when none can.
    """
    states = _reachable({0}, shown)
    for count, line in enumerate(lines):
        if len(shown) in states:
            return count
        states = _step(states, shown, line)
        if not states:
            return "never"
    return len(lines) if len(shown) in states else None


def is_whole(shown: list[str], lines: list[str]) -> bool:
    """Whether the shown lines account for all of `lines`."""
    states = _reachable({0}, shown)
    for line in lines:
        states = _step(states, shown, line)
    return len(shown) in states


def _step(states: set[int], shown: list[str], line: str) -> set[int]:
    """From the places reached in `shown`, those reached after one line more."""
    after: set[int] = set()
    for place in states:
        if place == len(shown):
            continue
        if shown[place] == ELLIPSIS:
            after.add(place)
        elif line_matches(shown[place], line):
            after.add(place + 1)
    return _reachable(after, shown)


def _reachable(states: set[int], shown: list[str]) -> set[int]:
    """With each place before a `…` line, the place behind it: it may stand for no line."""
    closed: set[int] = set()
    for place in states:
        closed.add(place)
        while place < len(shown) and shown[place] == ELLIPSIS:
            place += 1
            closed.add(place)
    return closed


def line_matches(shown: str, line: str) -> bool:
    """Whether one shown line, with its elisions, is this line.

    In a line with an elision, a run of spaces stands for any number of them: the
    columns of a table move with what varies.
    """
    pattern = ".*".join(re.escape(part) for part in shown.split(ELLIPSIS))
    if ELLIPSIS in shown:
        pattern = re.sub(r"(?:\\ ){2,}", " +", pattern)
    return re.fullmatch(pattern, line, re.DOTALL) is not None


def merged(shown: list[str], lines: list[str]) -> list[str]:
    """`lines` with the author's elisions where they still fit.

    A line that a shown line matches is shown as before. Between two such lines, a
    `…` line goes on standing for what is not shown.
    """
    result: list[str] = []
    from_shown = from_lines = 0
    for at_shown, at_line in [*_pairs(shown, lines), (len(shown), len(lines))]:
        result += _gap(shown[from_shown:at_shown], lines[from_lines:at_line])
        result += shown[at_shown : at_shown + 1]
        from_shown, from_lines = at_shown + 1, at_line + 1
    # Where elisions overlap in an unlucky way, the plain lines are right.
    return result if is_whole(result, lines) else lines


def _pairs(shown: list[str], lines: list[str]) -> list[tuple[int, int]]:
    """The longest way to pair shown lines with lines that match, in order."""
    rows, columns = len(shown), len(lines)
    matches = [
        [text != ELLIPSIS and line_matches(text, line) for line in lines] for text in shown
    ]
    # best[i][j]: how many pairs shown[i:] and lines[j:] can have.
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            paired = 1 + best[i + 1][j + 1] if matches[i][j] else 0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < rows and j < columns:
        if matches[i][j] and best[i][j] == 1 + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] == best[i][j]:
            i += 1
        else:
            j += 1
    return pairs


def _gap(shown: list[str], lines: list[str]) -> list[str]:
    """What to show for `lines`, where `shown` stood and nothing matched."""
    if ELLIPSIS not in shown:
        return lines
    before = shown.index(ELLIPSIS)
    behind = len(shown) - before - 1
    if len(lines) < before + behind:
        return lines
    return [*lines[:before], ELLIPSIS, *lines[len(lines) - behind :]]
