"""The feed: what happens in this server, published as events through lesson 03's hub.

    curl -N 'http://127.0.0.1:8010/dashboard/events?types=call'

Every event is counted by type and minute (`analytics.py`). Once a second a sample is published.
The dashboard draws nothing else.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import time as clock
from typing import Any

from analytics import Analytics, Kind, minute_of
from hub import Hub, Subscriber

TYPES = ("stream.opened", "stream.closed", "call", "heartbeat.late", "sample", "summary")
HISTORY = 120  # of each type; two minutes of samples
RETRY = 1_000  # milliseconds until a reader that was cut off reconnects
LATE_SECONDS = 0.1  # a heartbeat that is later than this is an event
WINDOW_SECONDS = 10  # p50 and p95 cover the calls that ended in this time
SUMMARY_MINUTES = 10
STEP = 1.1  # see Latencies
EVERY_SECOND = 1.0
BEAT_SECONDS = 15


class CountingHub(Hub):
    """Lesson 03's hub. It also counts the readers that it cut off because they were too slow.

    Names that begin with `_` are private to the hub. Its file is lesson 03's, unchanged.
    """

    def __init__(self) -> None:
        super().__init__(history=HISTORY, retry=RETRY)
        self.dropped: Counter[str] = Counter()  # readers, by type

    def publish(self, type: str, data: dict[str, Any]) -> tuple[int, int]:
        if type == "call" and not self.listeners(type):
            return self.skip(type), 0
        return super().publish(type, data)

    def skip(self, type: str) -> int:
        """Publish to nobody: the event gets an id, and is lost.

        There are many calls, and encoding one takes longer than counting it. A reader that
        reconnects after such an event gets a `gap`.
        """
        self.last_id += 1
        topic = self._topic(type)
        topic.history.clear()
        topic.lost = self.last_id
        return self.last_id

    def _cut(self, subscriber: Subscriber) -> None:
        for type in subscriber.types:
            self.dropped[type] += 1
        super()._cut(subscriber)

    def forget_all_but_the_last(self, type: str) -> None:
        """Publish a type whose older events are of no use to a reader that comes late."""
        topic = self.topics[type]
        while len(topic.history) > 1:
            topic.lost = topic.history.popleft()[0]

    def listeners(self, type: str) -> int:
        return len(self.topics[type].subscribers) if type in self.topics else 0

    def waiting(self, type: str) -> int:
        """How many events are waiting for the slowest reader of this type."""
        readers = self.topics[type].subscribers if type in self.topics else ()
        return max((len(reader._waiting) for reader in readers), default=0)


class Latencies:
    """How long the calls of the last seconds took, accurate to 5 %.

    They are counted in buckets, each a tenth wider than the one before, so that a thousand
    calls a second need no more memory than one. The histograms at /metrics have wider buckets:
    of an answer after 0.2 ms, they know only that it took less than 1 ms.
    """

    def __init__(self) -> None:
        self.seconds: deque[Counter[int]] = deque([Counter()], maxlen=WINDOW_SECONDS)

    def add(self, seconds: float) -> None:
        self.seconds[-1][math.floor(math.log(max(seconds, 1e-6), STEP))] += 1

    def next_second(self) -> None:
        self.seconds.append(Counter())

    def milliseconds(self, share: float) -> float | None:
        """The time within which this share of the calls was answered; None without a call."""
        steps: Counter[int] = sum(self.seconds, Counter())
        seen = 0
        for step in sorted(steps):
            seen += steps[step]
            if seen >= share * steps.total():
                return round(1000 * STEP ** (step + 0.5), 3)
        return None


class Feed:
    """There is one in each process, like the metrics."""

    def __init__(self) -> None:
        self.hub = CountingHub()
        self.analytics = Analytics()
        self.latencies = Latencies()
        self.streams = 0
        self.calls = 0  # since the last sample
        self.dropped = 0
        self.late = 0
        self.worst = 0.0  # seconds, of the heartbeat that was most late
        self.leaving = False

    def publish(self, type: str, data: Mapping[str, Any], *, milliseconds: float = 0.0) -> None:
        time = second(int(clock()))
        _, received = self.hub.publish(type, {"time": time, **data})
        kind = Kind(minute_of(time), type, data.get("tool", ""), data.get("outcome", ""))
        self.analytics.count(kind, received, milliseconds)

    def stream_opened(self) -> None:
        self.streams += 1
        self.publish("stream.opened", {})

    def stream_closed(self, outcome: str | None, seconds: float) -> None:
        self.streams -= 1
        self.dropped += outcome == "dropped"
        self.publish(
            "stream.closed",
            {"outcome": outcome, "seconds": round(seconds, 3)},
            milliseconds=1000 * seconds,
        )

    def call(self, tool: str, outcome: str, seconds: float) -> None:
        self.calls += 1
        self.latencies.add(seconds)
        took = round(1000 * seconds, 3)
        self.publish("call", {"tool": tool, "outcome": outcome, "ms": took}, milliseconds=took)

    def heartbeat(self, late: float) -> None:
        if late > LATE_SECONDS:
            self.late += 1
            self.worst = max(self.worst, late)
            self.publish(
                "heartbeat.late", {"seconds": round(late, 3)}, milliseconds=1000 * late
            )

    def leave(self) -> None:
        """Accept no more readers. Those that listen may reconnect to the next server."""
        self.leaving = True
        self.hub.end_all()

    @asynccontextmanager
    async def running(self, path: str) -> AsyncIterator[None]:
        """Publish samples and write the sums for as long as the server runs."""
        self.analytics = Analytics(path)
        self.leaving = False
        ending = asyncio.Event()
        tasks = [
            asyncio.create_task(self.sample_for_ever(ending)),
            asyncio.create_task(self.write_for_ever(ending)),
        ]
        try:
            yield
        finally:
            ending.set()
            await asyncio.gather(*tasks)
            await self.analytics.close()

    async def sample_for_ever(self, ending: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        beats = 0
        while not await set_within(ending, EVERY_SECOND):
            now = loop.time()
            self.sample(now - began)
            began = now
            beats = (beats + 1) % BEAT_SECONDS
            if beats == 0:
                self.hub.beat()  # for readers of a type that had no events

    def sample(self, seconds: float) -> None:
        self.publish(
            "sample",
            {
                "at": round(1000 * clock()),  # in milliseconds, as JavaScript counts
                "streams": self.streams,
                "calls": round(self.calls / seconds, 1),
                "p50": self.latencies.milliseconds(0.50),
                "p95": self.latencies.milliseconds(0.95),
                "dropped": self.dropped,
                "late": self.late,
                "worst": round(self.worst, 3),
                "loop_late": round(1000 * (seconds - EVERY_SECOND), 1),
            },
        )
        self.calls = 0
        self.latencies.next_second()

    async def write_for_ever(self, ending: asyncio.Event) -> None:
        while not await set_within(ending, EVERY_SECOND):
            await self.analytics.write()
            if self.hub.listeners("summary"):  # it reads the file: only if somebody listens
                self.publish("summary", await self.summary())
                self.hub.forget_all_but_the_last("summary")

    async def summary(self) -> dict[str, Any]:
        """For each type: how many events there were lately, who listens, and who lags."""
        found = await self.analytics.last_minutes(SUMMARY_MINUTES)
        types = []
        for type in TYPES:
            parts = {kind[1:]: sums for kind, sums in found.items() if kind[0] == type}
            types.append(
                {
                    "type": type,
                    "events": sum(sums.events for sums in parts.values()),
                    "parts": [
                        {"of": " ".join(filter(None, words)), "events": sums.events}
                        for words, sums in sorted(parts.items())
                        if any(words)
                    ],
                    "listeners": self.hub.listeners(type),
                    "waiting": self.hub.waiting(type),
                    "dropped": self.hub.dropped[type],
                }
            )
        # The name and not the path, which concerns only the administrator.
        name = Path(self.analytics.path).name
        return {"types": types, "file": name, "failure": self.analytics.failure}


@lru_cache(maxsize=1)
def second(number: int) -> str:
    """The time, such as "2026-11-28T16:45:09Z". Formatted once a second, not for each call."""
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, but no longer than this. Returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


feed = Feed()
