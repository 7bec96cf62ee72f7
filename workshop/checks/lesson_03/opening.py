"""The suite, and how it opens what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_03.follower import Follower
from workshop.checks.lesson_03.lab import Lab

STANDARD = "HTML standard, 9.2"
COURSE = "this course"


@contextmanager
def open_program(path: Path) -> Iterator[Follower]:
    """Start the program on all streams of a new lab."""
    lab = Lab()
    try:
        follower = Follower(path, lab)
        try:
            follower.wait_until_following()
            yield follower
        finally:
            follower.close()
    finally:
        lab.close()


suite = Suite(
    "03_event_hub",
    open_program=open_program,
    start_heading="Your client",
    start_title="The program starts and follows the streams it is given",
    printed=lambda follower: follower.rest,
)
