"""The checks of lesson 03: a client that comes back, through every fault of the proxy.

The program follows all of the streams at once. Many of them come through the
lesson's faulty proxy, from a small hub that is scripted here, stream by stream.

`opening.py` makes the suite. It opens a `Follower` (`follower.py`): the program, on a `Lab`
(`lab.py`), which is the hub with the streams of `streams.py` and the times in `settings.py`.
The others are the checks: `first_events.py`, `coming_back.py`, `stopping.py`, `clocks.py` and
`waiting.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_03 import (  # noqa: F401
    first_events,
    coming_back,
    stopping,
    clocks,
    waiting,
)
# isort: on

from workshop.checks.lesson_03.opening import suite

__all__ = ["suite"]
