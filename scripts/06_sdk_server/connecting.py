"""What every client in this lesson needs: its URL, and one clear line when that fails."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine

import httpx2
from mcp import MCPError


def run_client(main: Callable[[str], Coroutine[None, None, None]], example: str) -> None:
    """Run `main` with the URL on the command line.

    `example` is the server to start first, and where it listens by default.
    """
    server, url = example.split()
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2]
    if len(sys.argv) != 2:
        sys.exit(f"Usage: {name} {url}")
    # Ctrl-C ends it at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    problem = None
    try:
        asyncio.run(main(sys.argv[1]))
    # The SDK's clients raise groups of exceptions: one for each task group on the way.
    except* httpx2.ConnectError:
        start = f"uv run scripts/06_sdk_server/{server}"
        problem = f"Nothing listens at {sys.argv[1]}. In another terminal, start: {start}"
    except* httpx2.HTTPError as errors:
        problem = f"No event stream at {sys.argv[1]}: {first_line(errors)}"
    except* MCPError as errors:
        problem = f"The call failed: {first_line(errors)}"
    sys.exit(problem)


def first_line(error: BaseException) -> str:
    """What the innermost error says, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).partition("\n")[0]
