"""The checks of lesson 04: JSON-RPC and MCP's handshake over stdin and stdout.

`opening.py` makes the suite. It opens a `Target`: the file, and a child process of it
(`child.py`). `messages.py` and `waits.py` are what the checks lean on. The others are the
checks, by section of the report: `lines.py`, `session.py`, `tools.py` and `errors.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_04 import (  # noqa: F401
    lines,
    session,
    tools,
    errors,
)
# isort: on

from workshop.checks.lesson_04.opening import suite

__all__ = ["suite"]
