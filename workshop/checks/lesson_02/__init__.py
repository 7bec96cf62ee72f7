"""The checks of lesson 02: a parser for event streams, fed with bytes cut everywhere.

`opening.py` makes the suite. It opens a `Parser` (`processes.py`): the learner's parser, fed by
`driver.py` in a process of its own. `cases.py` is what the checks lean on. The others are the
checks, TODO by TODO: `first_event.py`, `dispatch.py`, `fields.py`, `ids_and_retry.py`,
`line_ends.py`, `pieces.py` and `characters.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_02 import (  # noqa: F401
    first_event,
    dispatch,
    fields,
    ids_and_retry,
    line_ends,
    pieces,
    characters,
)
# isort: on

from workshop.checks.lesson_02.opening import suite

__all__ = ["suite"]
