"""The settings, from the command line or from the environment."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

HEARTBEAT_STYLES = ("event", "comment")
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/*\s]+")


@dataclass(frozen=True)
class Settings:
    """Hosts and origins are values of the headers of that name, in lower case."""

    heartbeat_seconds: float = 15.0
    heartbeat_style: str = "event"
    allowed_hosts: frozenset[str] = frozenset()  # besides this machine's own names
    allowed_origins: frozenset[str] = frozenset()  # besides the server's own page

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """HEARTBEAT_SECONDS, HEARTBEAT_STYLE, ALLOWED_HOSTS and ALLOWED_ORIGINS (with commas).

        `uvicorn sse_server:app` has no other way to set them. Exits if one of them makes no
        sense.
        """
        try:
            return checked(
                environment.get("HEARTBEAT_SECONDS", "15"),
                environment.get("HEARTBEAT_STYLE", "event"),
                environment.get("ALLOWED_HOSTS", "").split(","),
                environment.get("ALLOWED_ORIGINS", "").split(","),
            )
        except ValueError as error:
            sys.exit(f"In the environment: {error}")


def checked(
    heartbeat_seconds: str, heartbeat_style: str, hosts: list[str], origins: list[str]
) -> Settings:
    """The settings from these strings. Raises ValueError."""
    try:
        seconds = float(heartbeat_seconds)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a heartbeat every {heartbeat_seconds!r} seconds is not possible")
    if heartbeat_style not in HEARTBEAT_STYLES:
        raise ValueError(f"the heartbeat's style is event or comment, not {heartbeat_style!r}")
    allowed_origins = frozenset(origin.strip().lower() for origin in origins if origin.strip())
    for origin in allowed_origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin, such as http://localhost:8007")
    allowed_hosts = frozenset(host.strip().lower() for host in hosts if host.strip())
    return Settings(seconds, heartbeat_style, allowed_hosts, allowed_origins)
