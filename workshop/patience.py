"""How long the checks wait for what must come: longer on a crowded machine.

A learner's program has the machine to itself, and an answer that does not come should be
missed soon. The project's own tests run many programs at once and set WORKSHOP_PATIENCE=4,
say: everything may then take four times as long before a check gives it up.
"""

from __future__ import annotations

import os

_TIMES = float(os.environ.get("WORKSHOP_PATIENCE") or 1)


def stretched(seconds: float) -> float:
    """A time limit, or a pause that has to stay in proportion to one, for this machine."""
    return seconds * _TIMES
