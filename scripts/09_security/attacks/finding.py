"""What an attack says when it is over."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of an attack."""

    succeeded: bool
    evidence: str  # what was taken or broken, or what refused it: one line of 70 characters
