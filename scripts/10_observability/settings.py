"""The settings, from the environment: `uvicorn observed_server:app` takes no options."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOG_LEVELS = ("debug", "info", "warning", "error")
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/*\s]+")


@dataclass(frozen=True)
class Settings:
    """Hosts and origins are values of the Host and Origin headers, in lower case."""

    heartbeat_seconds: float = 15.0
    allowed_hosts: frozenset[str] = frozenset()  # besides this machine's own names
    allowed_origins: frozenset[str] = frozenset()  # besides the server's own page
    notice_seconds: float = 0.0  # between "not ready" and refusing: for a load balancer to see
    finish_seconds: float = 0.5  # for calls that are running when the server leaves
    spread_seconds: float = 5.0  # clients reconnect spread out over this time
    slow_seconds: float = 1.0  # a call that takes longer gets a line in the log
    traces_per_second: float = 10.0  # at most
    log_level: str = "info"
    analytics: str = ":memory:"  # the file for the counts by type and minute

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Exits if one of them makes no sense."""
        try:
            return cls(
                heartbeat_seconds=seconds(environment, "HEARTBEAT_SECONDS", 15.0, least=0.01),
                allowed_hosts=listed(environment, "ALLOWED_HOSTS"),
                allowed_origins=origins(listed(environment, "ALLOWED_ORIGINS")),
                notice_seconds=seconds(environment, "NOTICE_SECONDS", 0.0),
                finish_seconds=seconds(environment, "FINISH_SECONDS", 0.5),
                spread_seconds=seconds(environment, "SPREAD_SECONDS", 5.0),
                slow_seconds=seconds(environment, "SLOW_SECONDS", 1.0),
                traces_per_second=number(environment, "TRACES_PER_SECOND", 10.0),
                log_level=one_of(environment, "LOG_LEVEL", "info", LOG_LEVELS),
                analytics=environment.get("ANALYTICS") or ":memory:",
            )
        except ValueError as error:
            sys.exit(f"In the environment: {error}")


def number(
    environment: Mapping[str, str],
    variable: str,
    default: float,
    *,
    least: float = 0.0,
    of: str = "",
) -> float:
    text = environment.get(variable) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value < float("inf"):
        raise ValueError(f"{variable} is a number{of}, {least:g} or more, not {text!r}")
    return value


def seconds(
    environment: Mapping[str, str], variable: str, default: float, *, least: float = 0.0
) -> float:
    return number(environment, variable, default, least=least, of=" of seconds")


def one_of(
    environment: Mapping[str, str], variable: str, default: str, choices: Sequence[str]
) -> str:
    text = (environment.get(variable) or default).lower()
    if text not in choices:
        raise ValueError(f"{variable} is one of {', '.join(choices)}, not {text!r}")
    return text


def listed(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    """The comma-separated values of a variable, in lower case."""
    entries = environment.get(variable, "").split(",")
    return frozenset(entry.strip().lower() for entry in entries if entry.strip())


def origins(entries: frozenset[str]) -> frozenset[str]:
    for entry in entries:
        if not ORIGIN.fullmatch(entry):
            raise ValueError(f"{entry!r} is not an origin, such as http://localhost:8007")
    return entries
