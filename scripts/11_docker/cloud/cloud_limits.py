"""What a platform cuts, and when: the profiles of `profiles.json`, and the clocks of a request.

No network here: `cloud_box.py` passes the bytes on, and asks these clocks when to stop.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

PROFILES = Path(__file__).with_name("profiles.json")
TIMED = ("first_byte", "idle", "duration")  # the kinds of limit that end in a cut


@dataclass(frozen=True)
class Limit:
    """When the platform cuts. `seconds` are on its own clock."""

    kind: str  # one of TIMED
    seconds: float
    counts: str  # idle: bytes from "both" sides restart it, or only those from the "server"
    end: str  # of an answer that has begun: "reset", or "close", which loses nothing sent
    status: int  # in place of an answer that has not begun


@dataclass(frozen=True)
class Profile:
    title: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Cut:
    """One cut, `seconds` (this machine's) after its request arrived."""

    request: str
    limit: Limit
    seconds: float
    speed: float
    answered: bool

    def __str__(self) -> str:
        did = {"reset": "connection reset", "close": "connection closed"}[self.limit.end]
        return (
            f"{self.request}: cut after {self.seconds * self.speed:.1f} s "
            f"({self.seconds:.2f} s here), {self.limit.kind.replace('_', ' ')} "
            f"{self.limit.seconds:g} s: {did if self.answered else self.limit.status}"
        )


def load_profiles(path: Path = PROFILES) -> dict[str, Profile]:
    """The platforms by name, such as "heroku", with those limits that end in a cut."""
    profiles = json.loads(path.read_text("utf-8"))["profiles"]
    return {
        name: Profile(
            profile["title"],
            tuple(
                Limit(
                    limit["kind"],
                    limit["seconds"],
                    limit.get("counts", "both"),
                    limit.get("end", "close"),
                    limit.get("status", 504),
                )
                for limit in profile["limits"]
                if limit["kind"] in TIMED
            ),
        )
        for name, profile in profiles.items()
    }


class Clocks:
    """One request and its answer: when it began, and when each side last sent something."""

    def __init__(self) -> None:
        self.began = self.client = self.server = time.monotonic()
        self.answered = False

    def client_sent(self) -> None:
        self.client = time.monotonic()

    def server_sent(self) -> None:
        self.server = time.monotonic()
        self.answered = True

    def due(self, limit: Limit, speed: float) -> float:
        """The time at which this limit cuts if nothing more is sent."""
        if limit.kind == "duration":
            since = self.began
        elif limit.kind == "first_byte":
            since = math.inf if self.answered else self.client
        else:
            since = self.server if limit.counts == "server" else max(self.server, self.client)
        return since + limit.seconds / speed

    async def run_out(self, limits: tuple[Limit, ...], speed: float) -> Limit:
        """Sleep until one of the limits cuts; return it.

        What is sent in the meantime can only postpone a limit. So the code that passes bytes
        on need not wake this up: when it wakes, it looks again.
        """
        while True:
            first = min(limits, key=lambda limit: self.due(limit, speed))
            left = self.due(first, speed) - time.monotonic()
            if left <= 0:
                return first
            await asyncio.sleep(left)
