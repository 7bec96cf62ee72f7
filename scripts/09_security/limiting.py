"""How much one principal may ask for.

A limit on opens says nothing about how many streams are open: one that lasts for an hour was
opened once. So there are two limits, on how often and on how many at once.
"""

import time
from collections import Counter, deque
from collections.abc import Callable

from limits import RateLimitItem
from settings import Settings


class Window:
    """How often in a while, by principal: the times of what was allowed, the oldest first.

    The package `limits` has it, too, and more: for several processes that count together, in
    Redis. For one process, it starts a thread each hundredth of a second to tidy up. That made
    this server a third slower (`benchmark.py`).
    """

    def __init__(self, rate: RateLimitItem) -> None:
        self.amount = rate.amount
        self.seconds = rate.get_expiry()
        self.allowed: dict[str, deque[float]] = {}

    def hit(self, principal: str) -> bool:
        # Principals are those with a token, so these are few, and there need be no tidying.
        now = time.monotonic()
        times = self.allowed.setdefault(principal, deque())
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if len(times) >= self.amount:
            return False
        times.append(now)
        return True


class Limits:
    """Counts by principal. By address would count a proxy, and everybody behind it, as one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.messages = Window(settings.messages)
        self.opens = Window(settings.opens)
        self.open_streams: Counter[str] = Counter()

    def may_send(self, principal: str) -> bool:
        return self.messages.hit(principal)

    def take_stream(self, principal: str) -> Callable[[], None] | None:
        """Count one more stream. Returns what to call at its end, or None: one too many."""
        if self.open_streams[principal] >= self.settings.streams:
            return None
        if not self.opens.hit(principal):
            return None
        self.open_streams[principal] += 1

        def give_back() -> None:
            self.open_streams[principal] -= 1
            if not self.open_streams[principal]:
                del self.open_streams[principal]

        return give_back
