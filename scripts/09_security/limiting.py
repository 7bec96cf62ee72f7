"""How much one principal may ask for.

A limit on opens says nothing about how many streams are open: one that lasts for an hour was
opened once. So there are two limits, on how often and on how many at once.
"""

from collections import Counter
from collections.abc import Callable

from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from settings import Settings


class Limits:
    """Counts by principal. By address would count a proxy, and everybody behind it, as one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.window = MovingWindowRateLimiter(MemoryStorage())
        self.open_streams: Counter[str] = Counter()

    def may_send(self, principal: str) -> bool:
        return self.window.hit(self.settings.messages, "messages", principal)

    def take_stream(self, principal: str) -> Callable[[], None] | None:
        """Count one more stream. Returns what to call at its end, or None: one too many."""
        if self.open_streams[principal] >= self.settings.streams:
            return None
        if not self.window.hit(self.settings.opens, "opens", principal):
            return None
        self.open_streams[principal] += 1

        def give_back() -> None:
            self.open_streams[principal] -= 1
            if not self.open_streams[principal]:
                del self.open_streams[principal]

        return give_back
