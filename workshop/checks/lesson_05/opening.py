"""The suite, and how it opens what it checks: a file to start, or a server that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import McpServer
from workshop.patience import stretched
from workshop.running import running

TRANSPORT = "HTTP+SSE 2024-11-05"
HEARTBEAT = 0.1  # seconds; the program is started with --heartbeat


@contextmanager
def open_program(path: Path) -> Iterator[McpServer]:
    """Start the file. Raises ProgramError."""
    with running(path, "--heartbeat", str(HEARTBEAT), seconds=stretched(10)) as program:
        yield McpServer(f"{program.url}/sse", program, exact=True)


@contextmanager
def open_url(url: str, headers: Mapping[str, str]) -> Iterator[McpServer]:
    """A server that already runs; `url` is the URL of its event stream."""
    yield McpServer(url, exact=False, headers=headers)


suite = Suite(
    "05_sse_server",
    open_program=open_program,
    open_url=open_url,
    start_heading="Run it",
)
