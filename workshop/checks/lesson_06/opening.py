"""The suite, and how it opens what it checks: a file to start, or a server that runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import McpServer
from workshop.running import running

PREFIX = "/mcp"


@contextmanager
def open_program(path: Path) -> Iterator[McpServer]:
    """Start the file. Raises ProgramError."""
    # Importing the SDK and FastAPI takes a while on a busy machine.
    with running(path, seconds=30) as program:
        yield McpServer(f"{program.url}{PREFIX}/sse", program, exact=True)


@contextmanager
def open_url(url: str, headers: Mapping[str, str]) -> Iterator[McpServer]:
    """A server that is already running; `url` is the URL of its event stream."""
    yield McpServer(url, exact=False, headers=headers)


suite = Suite(
    "06_sdk_server",
    open_program=open_program,
    open_url=open_url,
    start_heading="The tea shop",
    start_hint="Read the last line that it prints. A TypeError about arguments of `sse_app` "
    "comes from v1, where the prefix was passed to it: in v2 it takes keywords only, and the "
    "prefix belongs to `app.mount`.",
)
