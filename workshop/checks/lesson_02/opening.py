"""The suite, and how it opens what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_02.processes import Parser

PARSING = "WHATWG HTML 9.2.5, Parsing an event stream"
INTERPRETING = "WHATWG HTML 9.2.6, Interpreting an event stream"


@contextmanager
def open_program(path: Path) -> Iterator[Parser]:
    """The parser in the file at `path`. Raises ProgramError when it can't be loaded."""
    parser = Parser(path)
    try:
        yield parser
    finally:
        parser.stop()


suite = Suite(
    "02_event_format",
    open_program=open_program,
    start_heading="Your parser",
    start_title="The file can be imported",
    start_hint="Run the file yourself and read the last lines it prints.",
)
