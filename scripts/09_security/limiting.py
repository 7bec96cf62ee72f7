"""How much one principal may ask for.

A limit on how often streams are opened says nothing about how many are open: one that lasts for
an hour was opened once. So there are two limits, on how often and on how many at once.
"""

from collections import Counter
from collections.abc import Callable

# `limits.storage`, without `aio`, keeps starting threads to tidy up: with it, this server
# answered a third as many calls (`benchmark.py`).
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from settings import Settings


class Limits:
    """Counts per principal. Per address, a proxy and everybody behind it would count as one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.window = SlidingWindowCounterRateLimiter(MemoryStorage())
        self.open_streams: Counter[str] = Counter()

    async def may_send(self, principal: str) -> bool:
        return await self.window.hit(self.settings.messages, "messages", principal)

    async def take_stream(self, principal: str) -> Callable[[], None] | None:
        """Count one more stream. Returns what to call at its end, or None: no room."""
        if self.open_streams[principal] >= self.settings.streams:
            return None
        # Taken before anything is awaited: two at once must not both get the last place.
        self.open_streams[principal] += 1

        def give_back() -> None:
            self.open_streams[principal] -= 1
            if not self.open_streams[principal]:
                del self.open_streams[principal]

        if not await self.window.hit(self.settings.opens, "opens", principal):
            give_back()
            return None
        return give_back
