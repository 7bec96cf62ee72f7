"""The checks: `engine` runs them, and each lesson has a module or a package with its own."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from workshop.checks.engine import Suite


def suite_of(slug: str) -> Suite[Any]:
    """The checks of a lesson, by its slug: "05_sse_server" has them in `lesson_05`."""
    suite: Suite[Any] = import_module(f"workshop.checks.lesson_{slug[:2]}").suite
    return suite
