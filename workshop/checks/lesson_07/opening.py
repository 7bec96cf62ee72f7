"""The suite, and how it opens what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_07.lab import Lab

COURSE = "this course"
SSE = "HTML standard, 9.2"
TRANSPORT = "HTTP+SSE 2024-11-05"
LIFECYCLE = "MCP: the initialization phase"


@contextmanager
def open_program(path: Path) -> Iterator[Lab]:
    """Start the servers of the checks, and the learner's clients on them."""
    lab = Lab()
    try:
        lab.drive(path)
        yield lab
    finally:
        lab.close()


suite = Suite(
    "07_sdk_client",
    open_program=open_program,
    start_heading="The exercise",
    start_title="The file can be loaded, and has a `Client`, `Settings` and `Pace`",
    start_hint="Python can't read the file, or it ends at once. The last line says why.",
    printed=lambda lab: "".join(lab.other_output),
)
