"""The checks of lesson 06: an MCP server of the official SDK, mounted in an app under a prefix.

Those with scope="protocol" fit any server, wherever it is mounted: all they know is the URL
of its event stream. The others know the tea shop of the exercise: its routes, its public
name, and the tools `stock` and `pack`. A packet is scanned with a POST to a route, so a
check decides when the tool may go on, and can see progress arrive live.

`opening.py` makes the suite. `answers.py` is what the checks lean on. The others are the
checks, by section of the report: `mount.py`, `door.py`, `failing_tool.py` and `slow_tool.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_06 import (  # noqa: F401
    mount,
    door,
    failing_tool,
    slow_tool,
)
# isort: on

from workshop.checks.lesson_06.opening import suite

__all__ = ["suite"]
