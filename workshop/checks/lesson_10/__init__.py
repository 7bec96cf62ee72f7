"""The checks of lesson 10: what three servers show about themselves, and whether they are well.

`opening.py` makes the suite, with the three servers in the learner's file. The checks are in
the other files: `numbers.py` for metrics, `failures.py` for what the client and the log learn
about an error, `patients.py` for the three illnesses, and `leaving.py`.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_10 import (  # noqa: F401
    numbers,
    failures,
    patients,
    leaving,
)
# isort: on

from workshop.checks.lesson_10.opening import suite

__all__ = ["suite"]
