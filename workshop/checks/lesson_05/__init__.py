"""The checks of lesson 05: an MCP server over HTTP+SSE.

Those with scope="protocol" fit any server: they know its tools only from its
own list, its session ids only from the endpoint it names, and expect the course's exact
status and error codes only from the course's own programs (`server.exact`).

`opening.py` makes the suite. `blame.py` is what the checks lean on. The others are the
checks, by section of the report: `stream.py`, `sessions.py`, `post.py`, `json_rpc.py`,
`tools.py`, `door.py`, `sleeping_reader.py` and `shutdown.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_05 import (  # noqa: F401
    stream,
    sessions,
    post,
    json_rpc,
    tools,
    door,
    sleeping_reader,
    shutdown,
)
# isort: on

from workshop.checks.lesson_05.opening import suite
from workshop.checks.lesson_05.post import fault_of
from workshop.checks.lesson_05.sessions import changing_part

__all__ = ["changing_part", "fault_of", "suite"]
