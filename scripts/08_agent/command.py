"""What the programs here need but none is about: a URL to read, and errors in one line."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import agents
import mcp
import openai


def run(main: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run `main` with the URL of an event stream, from the command line."""
    title = (sys.modules["__main__"].__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("url", help="an event stream, such as http://127.0.0.1:8008/sse")
    options = parser.parse_args()
    with errors_in_a_line():
        asyncio.run(main(options.url))


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """In this block: what the agent, its model or a server raise ends the program in a line."""
    try:
        yield
    except (agents.AgentsException, mcp.MCPError, openai.OpenAIError) as error:
        sys.exit(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    except KeyboardInterrupt:
        sys.exit(130)
