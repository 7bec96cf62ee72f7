"""The settings of the secure server. They come from the environment, never from the code."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from limits import RateLimitItem, parse

ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/*\s]+")
OPENS = parse("60/minute")
MESSAGES = parse("50/second")
SHORTEST_TOKEN = 32  # characters: as many as secrets.token_hex(16) has


def token_for_this_run() -> dict[str, str]:
    # One of `token_urlsafe` may begin with a dash, and `--token` would not take it.
    return {"me": secrets.token_hex(32)}


@dataclass(frozen=True)
class Settings:
    """Who may come in, and how much anyone may ask for.

    Hosts and origins are values of the headers Host and Origin, in lower case. A principal is
    the name of somebody who has a token.
    """

    tokens: Mapping[str, str] = field(default_factory=token_for_this_run, repr=False)
    made_up: bool = True  # the token is for this run only, and printed
    allowed_hosts: frozenset[str] = frozenset()  # besides this machine's own names
    allowed_origins: frozenset[str] = frozenset()  # besides the server's own page
    opens: RateLimitItem = OPENS  # streams that a principal may open
    messages: RateLimitItem = MESSAGES  # messages that a principal may send
    streams: int = 10  # streams that a principal may have open at once
    heartbeat_seconds: float = 15.0
    head_seconds: float = 5.0  # from the first byte, or from connecting, to the empty line
    body_seconds: float = 10.0  # for all of a message

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """MCP_TOKENS and the others below. Exits if one of them makes no sense."""
        try:
            tokens = read_tokens(environment.get("MCP_TOKENS", ""))
            return cls(
                tokens=tokens or token_for_this_run(),
                made_up=not tokens,
                allowed_hosts=listed(environment, "ALLOWED_HOSTS"),
                allowed_origins=origins(listed(environment, "ALLOWED_ORIGINS")),
                opens=rate(environment, "RATE_OPENS", OPENS),
                messages=rate(environment, "RATE_MESSAGES", MESSAGES),
                streams=int(number(environment, "MAX_STREAMS", "10", least=1)),
                heartbeat_seconds=number(environment, "HEARTBEAT_SECONDS", "15", least=0.01),
                head_seconds=number(environment, "HEAD_SECONDS", "5", least=0.01),
                body_seconds=number(environment, "BODY_SECONDS", "10", least=0.01),
            )
        except ValueError as error:
            sys.exit(f"In the environment: {error}")


def read_tokens(text: str) -> dict[str, str]:
    """The tokens in "alice:TOKEN,bob:TOKEN", by name. Raises ValueError, without a token."""
    tokens: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, colon, token = entry.partition(":")
        if not (name and colon):
            raise ValueError("MCP_TOKENS is NAME:TOKEN, with commas between several")
        if name in tokens or token in tokens.values():
            raise ValueError(f"MCP_TOKENS has the name or the token of {name!r} twice")
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise ValueError(
                f"the token of {name!r} has fewer than {SHORTEST_TOKEN} characters. "
                "Make one: python -c 'import secrets; print(secrets.token_hex(32))'"
            )
        tokens[name] = token
    return tokens


def listed(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    """The values that a variable lists, separated by commas, in lower case."""
    entries = environment.get(variable, "").split(",")
    return frozenset(entry.strip().lower() for entry in entries if entry.strip())


def origins(entries: frozenset[str]) -> frozenset[str]:
    for entry in entries:
        if not ORIGIN.fullmatch(entry):
            raise ValueError(f"{entry!r} is not an origin, such as http://localhost:8007")
    return entries


def rate(
    environment: Mapping[str, str], variable: str, default: RateLimitItem
) -> RateLimitItem:
    text = environment.get(variable)
    try:
        return parse(text) if text else default
    except ValueError:
        raise ValueError(f"{variable} is a rate such as 60/minute, not {text!r}") from None


def number(
    environment: Mapping[str, str], variable: str, default: str, *, least: float
) -> float:
    text = environment.get(variable) or default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not least <= value < float("inf"):
        raise ValueError(f"{variable} is a number of {least} or more, not {text!r}")
    return value
