"""The checks of lesson 07: a client that survives a restart of its server.

The learner's client talks to all of the servers here at once. Each is a small MCP
server over HTTP+SSE that goes wrong in one way: it ends the stream, breaks it, goes away
for a while, forgets a session. Everything that goes over the wire is recorded.

`opening.py` makes the suite. It opens a `Lab` (`lab.py`): the servers of `bad_servers.py`, all
made from the good one in `server.py`, with the times in `settings.py`, and `driver.py`, which
runs the learner's clients in a process. The others are the checks: `first_session.py`,
`reconnecting.py`, `calls.py`, `endpoints.py` and `waiting.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_07 import (  # noqa: F401
    first_session,
    reconnecting,
    calls,
    endpoints,
    waiting,
)
# isort: on

from workshop.checks.lesson_07.opening import suite

__all__ = ["suite"]
