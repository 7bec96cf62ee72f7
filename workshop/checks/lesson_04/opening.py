"""The suite, and how it opens what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_04 import waits
from workshop.checks.lesson_04.child import Child
from workshop.checks.lesson_04.messages import INITIALIZED, as_line, initialize_request, ping
from workshop.running import ProgramError

STDIO = "MCP, stdio: MUST"
JSON_RPC = "JSON-RPC 2.0"


@dataclass(frozen=True, slots=True)
class Target:
    """The file under check, and the first child of it, which is started for all checks.

    `at_once` is whether that child answered its first message before more came.
    """

    path: Path
    first: Child
    at_once: bool

    @contextmanager
    def child(self) -> Iterator[Child]:
        """One more child, for one check alone."""
        child = Child(self.path)
        try:
            yield child
        finally:
            child.close()

    @contextmanager
    def session(self) -> Iterator[Child]:
        """One more child, after its handshake."""
        with self.child() as child:
            child.ask(initialize_request("2025-11-25"))
            child.send(as_line(INITIALIZED))
            yield child


@contextmanager
def open_program(path: Path) -> Iterator[Target]:
    """Start the file and send it a ping. Raises ProgramError when that ends it."""
    first = Child(path)
    try:
        first.send(as_line(ping(1)))
        # Something comes, or it ends, or it stays silent: only its end matters here.
        at_once = first.wait(lambda out: out != b"", 2 * waits.SHORT)
        status = first.status(waits.SHORT) if first.ended else None
        if status not in (None, 0) and not first.out:
            raise ProgramError(first.whole_log or f"nothing, and ended with status {status}")
        yield Target(path, first, at_once)
    finally:
        first.close()


suite = Suite(
    "04_stdio_server",
    open_program=open_program,
    start_heading="Run it",
    start_title="The program starts",
    start_hint="It ended, either before the first message or because of it. If it printed an "
    "exception, that names the line.",
)
