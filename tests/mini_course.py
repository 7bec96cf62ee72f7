"""A course in miniature, for the tests of the command: one quick exercise, no server.

`python -m tests.mini_course ROOT WORDS…` runs `workshop WORDS…` on the course in ROOT.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop import checks, cli
from workshop.checks.engine import Suite
from workshop.course import Course
from workshop.failed import Failed
from workshop.publishing.starters import starter_text
from workshop.running import ProgramError

MANIFEST = """
[[lesson]]
slug = "01_greeting"
title = "A greeting"
minutes = 10
era = "SSE"
summary = "Say hello in an event."
can = "greet anybody who listens."
show = '''
Your greeting, and that it does not wait for the end of anything,
in the editor of your choice:
  cat work/01_greeting/exercise.py
And again:
  cat work/01_greeting/exercise.py \\
    | tail -1
'''

[[lesson]]
slug = "02_farewell"
title = "A farewell"
minutes = 20
era = "SSE"
needs = ["01_greeting"]
summary = "Say goodbye."

[lesson.ports]
8081 = ["exercise.py"]
"""

SOLUTION = '''"""A greeting as an event."""

# TODO 1: The event, with the blank line that ends it.
# --- solution
EVENT = b"data: hello\\n\\n"
# --- starter
# EVENT = b""
# --- end

# TODO 2: Its name.
# --- solution
NAME = "greeting"
# --- starter
# NAME = ""
# --- end
'''

GALLERY = """
[[todo]]
number = 1
title = "Write the event"
hints = ["What ends an event?", "A blank line does.", "EVENT = b'data: …'"]

[[todo]]
number = 2
title = "Name it"
hints = ["What is it?", "A greeting."]
"""


@contextmanager
def open_program(path: Path) -> Iterator[dict[str, object]]:
    """The names that the file at `path` defines."""
    names: dict[str, object] = {}
    try:
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), names)
    except Exception as error:
        raise ProgramError(f"{type(error).__name__}: {error}") from error
    yield names


suite: Suite[dict[str, object]] = Suite(
    "01_greeting",
    open_program=open_program,
    start_heading="Run it",
    start_title="The file runs",
)


@suite.check(
    "event",
    "The event says `hello`",
    todo=1,
    read="The blank line",
    rule="WHATWG HTML, parsing an event stream",
    why="Without the blank line a client waits for ever [see the text].",
    hints={"wrong": "End it with a blank line: [/red] is no markup here."},
)
def event(names: dict[str, object]) -> None:
    data = names.get("EVENT")
    assert isinstance(data, bytes)
    wanted = b"data: hello\n\n"
    if data != wanted:
        right = (n for n in range(len(data)) if not wanted.startswith(data[: n + 1]))
        same = next(right, len(data))
        raise Failed("wrong", sent=b"hello\r\n", received=data, at=same, wanted="data: hello")


@suite.check(
    "ended",
    "It is one event",
    after=("event",),
    todo=1,
    read="The blank line",
    rule="this course",
    why="",
    hints={},
)
def ended(names: dict[str, object]) -> None: ...


@suite.check(
    "name",
    "Its name is `greeting`, whatever the program that sends it may call itself in its log",
    todo=2,
    read="Names",
    rule="this course",
    why="Clients listen by name.",
    hints={"wrong": "Call it `greeting`."},
)
def name(names: dict[str, object]) -> None:
    if names.get("NAME") != "greeting":
        raise Failed("wrong", sent="GET /name\nAccept: text/plain", received=str(names["NAME"]))


def build(root: Path) -> Course:
    """Write the course's files below `root`."""
    for path, text in (
        ("lessons/lessons.toml", MANIFEST),
        ("solutions/01_greeting/exercise.py", SOLUTION),
        ("solutions/01_greeting/exercise.toml", GALLERY),
        ("scripts/01_greeting/exercise.py", starter_text(SOLUTION, "exercise.py")),
        ("scripts/02_farewell/exercise.py", "# TODO 1: Say goodbye.\n"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return load(root)


def load(root: Path) -> Course:
    """The course below `root`, with the learner's folder in it."""
    return Course.load(root, root / "work")


def suite_of(slug: str) -> Suite[dict[str, object]]:
    """The suite of the one lesson that has checks."""
    if slug != suite.slug:
        raise ModuleNotFoundError(slug)
    return suite


if __name__ == "__main__":
    root = Path(sys.argv.pop(1))
    cli.load_course = lambda: load(root)
    checks.suite_of = suite_of
    cli.app()
