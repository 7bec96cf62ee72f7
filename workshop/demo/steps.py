"""What a demo types, read from the lesson's own console blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from workshop.course import Lesson
from workshop.publishing.console import read_block
from workshop.publishing.markdown import fences
from workshop.publishing.ports import Ports

YOURS = "your terminal"
"""The terminal of the blocks that name none."""


@dataclass(frozen=True)
class DemoStep:
    """One thing to type, and where."""

    section: str
    terminal: str
    command: str | None
    """None: Ctrl-C."""
    ends: bool
    """Whether it comes to its end: what is typed after it has to wait for that."""
    port: int | None = None
    """Where it listens, if it is a server: what is typed after it has to wait for that."""
    then: tuple[str, ...] = ()
    """The terminals in which something comes next because of it."""


def steps_of(lesson: Lesson) -> list[DemoStep]:
    """Everything that the lesson's console blocks type, in order. Raises PublishError."""
    text = lesson.text.read_text(encoding="utf-8")
    blocks = fences(text, lesson.slug)
    inside = {line for block in blocks for line in range(block.line, block.end + 1)}
    headings = [
        (number, line.removeprefix("## "))
        for number, line in enumerate(text.splitlines(), 1)
        if re.match("## ", line) and number not in inside
    ]
    found: list[DemoStep] = []
    for fence in blocks:
        if fence.info.split()[:1] != ["console"]:
            continue
        section = next((name for line, name in reversed(headings) if line < fence.line), "")
        block = read_block(fence, lesson.slug)
        terminal = block.terminal or YOURS
        for step in block.steps:
            if step.kind == "listen" and found:
                found[-1] = replace(found[-1], then=(*found[-1].then, terminal))
            elif step.kind == "command":
                found.append(DemoStep(section, terminal, step.command, step.to_its_end))
            elif step.kind == "interrupt":
                found.append(DemoStep(section, terminal, None, ends=True))
    return found


def commands_of(steps: list[DemoStep]) -> str:
    """All that the steps type, as one text."""
    return "\n".join(step.command for step in steps if step.command is not None)


def with_ports(steps: list[DemoStep], ports: Ports, *, own: bool) -> list[DemoStep]:
    """The steps with the port of each server: the lesson's own, or a free one instead."""
    found: list[DemoStep] = []
    for step in steps:
        if step.command is not None:
            typed, port = ports.typed(step.command)
            if own:
                typed = step.command
                port = None if port is None else int(ports.shown(str(port)))
            step = replace(step, command=typed, port=port)
        found.append(step)
    return found
