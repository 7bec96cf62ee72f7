"""Run the commands of a lesson's console blocks, and compare what they print."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

from workshop.course import Course
from workshop.publishing.console import (
    ELLIPSIS,
    Block,
    Step,
    is_prefix,
    is_whole,
    merged,
    read_block,
)
from workshop.publishing.difference import Difference, PublishError, unified
from workshop.publishing.markdown import fences, with_bodies
from workshop.publishing.ports import Ports
from workshop.publishing.sandbox import sandbox, sandbox_environment
from workshop.publishing.terminal import Terminal
from workshop.running import port_is_free
from workshop.tools import docker_answers, find

# A running command that prints nothing for so long is taken to have printed all, in
# seconds. Only for blocks that show nothing to wait for, or something else than came.
QUIET = 1.5

# So many seconds a running command has, after what is shown, until all its processes wait.
RESTS = 3.0


def replay(text: str, name: str, course: Course) -> tuple[str, list[Difference]]:
    """A lesson's text with its console blocks as they came now, and what that changed.

    Blocks that need a program that is not here stay as they are.
    Raises PublishError for a block that cannot be read.
    """
    blocks = [
        read_block(fence, name)
        for fence in fences(text, name)
        if fence.info.split()[:1] == ["console"]
    ]
    blocks = [block for block in blocks if block.needs is None or _is_here(block.needs)]
    if not blocks:
        return text, []
    bodies = []
    differences: list[Difference] = []
    commands = "\n".join(step.command for block in blocks for step in block.steps)
    with sandbox(course.root) as folder, ExitStack() as stack:
        ports = Ports(course, commands)
        terminals: dict[str, Terminal] = {}
        for block in blocks:
            if block.terminal not in terminals:
                opened = Terminal(folder, sandbox_environment(folder))
                terminals[block.terminal] = opened
                stack.callback(opened.close)
            player = _Player(terminals[block.terminal], ports, folder, course.root)
            outputs, found = player.play(block, name)
            differences += found
            if not any(not difference.curable for difference in found):
                body = block.body(outputs)
                if body != block.fence.body and found:
                    bodies.append((block.fence, body))
    return with_bodies(text, bodies, name), differences


def _is_here(program: str) -> bool:
    return docker_answers() if program == "docker" else find(program) is not None


# A file right in /tmp.
_SCRATCH = re.compile(r"(?<![\w./-])/tmp/(?=[\w.-]+(?![\w./-]))")


class _Player:
    """Plays the steps of one block in its terminal."""

    def __init__(self, terminal: Terminal, ports: Ports, folder: Path, root: Path) -> None:
        self._terminal = terminal
        self._ports = ports
        self._folder = folder
        self._root = root

    def play(self, block: Block, name: str) -> tuple[list[list[str]], list[Difference]]:
        """The lines to show after each step, and what differs from those shown now."""
        outputs: list[list[str]] = []
        differences = []
        after = block.fence.line
        for step in block.steps:
            line = after + 1
            after += len(step.typed) + len(step.shown)
            try:
                came, problem = self._step(step, time.monotonic() + block.seconds)
            except PublishError as error:
                outputs.append(step.shown)
                differences.append(
                    Difference(name, _what(line, step), str(error), curable=False)
                )
                continue
            if problem is None:
                outputs.append(step.shown)
            else:
                output = merged(step.shown, came)
                outputs.append(output)
                diff = unified("\n".join(step.shown), "\n".join(output))
                differences.append(
                    Difference(name, _what(line, step), f"{problem}\n{diff}", _writable(output))
                )
        return outputs, differences

    def _step(self, step: Step, deadline: float) -> tuple[list[str], str | None]:
        """What came, and in what it differs (None: in nothing)."""
        terminal = self._terminal
        server = None
        if step.kind == "command":
            if terminal.running:
                terminal.wait(lambda: terminal.at_prompt, deadline)
                terminal.take_all()
            if terminal.running:
                raise PublishError(
                    "The command before it in this terminal still runs: end it with ^C."
                )
            command, server = self._ports.typed(step.command)
            if server is not None and not port_is_free(server):
                server = None  # this is a client of it, or it shows what happens then
            # Files that a lesson writes there: two replays side by side must not share them.
            terminal.run(_SCRATCH.sub(f"{self._folder.parent}/", command))
        elif not terminal.running:
            raise PublishError("Nothing runs in this terminal.")
        elif step.kind == "interrupt":
            terminal.interrupt()
        if step.kind == "interrupt" or step.to_its_end:
            return self._whole(step, deadline)
        return self._beginning(step, deadline, server)

    def _whole(self, step: Step, deadline: float) -> tuple[list[str], str | None]:
        """Everything until the prompt is back."""
        terminal = self._terminal
        ended = terminal.wait(lambda: terminal.at_prompt, deadline)
        came = self._lines()
        if not ended:
            came += [self._seen(terminal.unfinished_line())]
            terminal.interrupt()
            terminal.wait(lambda: terminal.at_prompt, time.monotonic() + 5)
        terminal.take_all()
        came, shown = _trimmed(came), _trimmed(step.shown)
        if step.kind == "interrupt" and came[:1] == [""]:
            del came[0]  # bash ends the line in which a terminal shows ^C
        if not ended:
            return came, "It did not come to its end in time. Until then came:"
        return came, None if is_whole(shown, came) else "Something else came:"

    def _beginning(
        self, step: Step, deadline: float, server: int | None
    ) -> tuple[list[str], str | None]:
        """What a command that keeps running prints first, or next."""
        terminal = self._terminal
        shown = _trimmed(step.shown)
        if step.kind == "listen" and shown[:1] != [""]:
            while self._lines()[:1] == [""]:
                terminal.take(1)

        def settled() -> bool:
            if terminal.at_prompt:
                return True
            found = is_prefix(shown, self._lines())
            if not shown or found == "never":
                return terminal.quiet > QUIET
            return found is not None

        in_time = terminal.wait(settled, deadline)
        came = self._lines()
        found = is_prefix(shown, came)
        if not isinstance(found, int) and not in_time:
            # A line without an end, such as a question, is a line when no more comes.
            came = [*came, self._seen(terminal.unfinished_line())]
            found = is_prefix(shown, came)
        if isinstance(found, int) and (shown or not came):
            terminal.take(found)
            if server is not None and not terminal.wait(
                lambda: terminal.at_prompt or terminal.listens(server), deadline
            ):
                return (
                    came,
                    f"It printed what is shown, but never listened on {server}. It printed:",
                )
            # The next command may need what comes right after that: `tee` writes into its file
            # what it has shown, a client connects.
            terminal.wait(terminal.rests, min(deadline, time.monotonic() + RESTS))
            return came[:found], None
        ended = terminal.at_prompt
        terminal.take_all()
        came = _trimmed(came)
        if not shown:
            return came, "The lesson shows nothing of what it prints:"
        if found == "never":
            return came, "Something else came:"
        return came, "It ended before all had come:" if ended else "Not all came in time:"

    def _lines(self) -> list[str]:
        return [self._seen(line) for line in self._terminal.lines()]

    def _seen(self, line: str) -> str:
        """A line as any learner's machine prints it."""
        for folder in (self._folder, self._root):
            line = line.replace(str(folder), ELLIPSIS)
        line = line.replace(str(self._folder.parent), "/tmp")
        return self._ports.shown(line)


def _trimmed(lines: list[str]) -> list[str]:
    """The lines without the empty ones at the end."""
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    return lines[:end]


def _what(line: int, step: Step) -> str:
    return f"line {line}, console, {step.typed[0] if step.typed else 'what came next'}"


def _writable(lines: list[str]) -> bool:
    """Whether the lines can be in a block without being read as something else."""
    return not any(line.startswith("$ ") or line == "^C" for line in lines)
