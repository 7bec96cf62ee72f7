"""An error ends a program of this folder with one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import agents
import mcp
from pins import PinsError


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    # What these would log is reported in one line.
    for noisy in ("mcp", "openai.agents", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        yield
    except (agents.AgentsException, mcp.MCPError, PinsError) as error:
        sys.exit(str(error).partition("\n")[0])
    except KeyboardInterrupt:
        sys.exit(130)
