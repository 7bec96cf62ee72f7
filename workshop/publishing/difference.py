"""What `workshop publish` finds: a file that is not what its source makes it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


class PublishError(Exception):
    """A source that nothing can be made from. The text says where and what to do."""


@dataclass(frozen=True)
class Difference:
    """One place where a file and its source disagree."""

    path: str
    """The file, from the repository's root."""
    what: str
    """What is different, in one line."""
    diff: str
    """The difference, line by line; or what is wrong with the source."""
    curable: bool = True
    """False when an author must fix the source: `publish` could not write it."""


def unified(is_now: str, should_be: str) -> str:
    """The lines that differ: `-` is in the file, `+` is what the source makes."""
    lines = difflib.unified_diff(
        is_now.splitlines(), should_be.splitlines(), "in the file", "made now", lineterm=""
    )
    return "\n".join(lines)
