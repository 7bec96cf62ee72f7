"""Headers that a learner gives for somebody else's server, such as a token: never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Printable ASCII: a line end in it would begin another header, of anybody's choice.
VALUE = re.compile(r"[ -~]+")

# A shorter value would be found in places where it is only a word.
SECRET = 8  # characters


def read_headers(lines: Iterable[str]) -> dict[str, str]:
    """The headers in lines like `Authorization: Bearer x`.

    Raises ValueError, which never quotes the value: it may be a token.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(
                f"header {number} has no colon. One looks like 'Authorization: Bearer TOKEN'"
            )
        if not NAME.fullmatch(name):
            raise ValueError(f"the name of header {number} is not one that HTTP allows")
        if not VALUE.fullmatch(value := value.strip(" ")):
            raise ValueError(
                f"the value of {name} must be one line of printable ASCII, and not empty"
            )
        headers[name] = value
    return headers


def credential(name: str, value: str) -> str:
    """The part of a header's value that stays secret: of `Bearer x` only the `x`."""
    _, space, rest = value.partition(" ")
    return rest if space and name.lower().endswith("authorization") else value


def hidden(name: str, value: str) -> str:
    """The value as a report may show it: `Bearer …`."""
    return value.removesuffix(credential(name, value)) + "…"


def without_secrets(text: bytes, headers: Mapping[str, str]) -> bytes:
    """`text` with stars for each secret in it, as long as it was: places keep their index.

    A server may send back what it was sent, in an error message for instance.
    """
    for name, value in headers.items():
        secret = credential(name, value).encode()
        if len(secret) >= SECRET:
            text = text.replace(secret, b"*" * len(secret))
    return text
