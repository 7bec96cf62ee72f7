"""The checks of lesson 09: attacks on the learner's server, and what must still work.

Each check has its own users, so a limit that one check reaches does not affect another.

`opening.py` makes the suite, the users and the folder of notes. The others are the checks, by
section of the report: `allowed.py`, `who.py`, `sessions.py`, `where.py`, `going_out.py`,
`how_much.py`, `logs.py` and `tools.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_09 import (  # noqa: F401
    allowed,
    who,
    sessions,
    where,
    going_out,
    how_much,
    logs,
    tools,
)
# isort: on

from workshop.checks.lesson_09.opening import suite

__all__ = ["suite"]
