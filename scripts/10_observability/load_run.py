"""One load on one server: opens streams, makes calls on some, and says what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from load_client import LoadClient, Results, kind_of
from load_inside import Inside, look_inside
from rich.progress import Progress

AT_ONCE = 50  # streams that open at the same time: a listening socket's queue is limited
WARM_UP = 10  # the first streams load code, so they say little about the memory of one
LAST_SECONDS = 1.0  # for answers, after Ctrl-C
OPEN_SECONDS = 10.0  # from one opened stream to the next


class NotMeasurable(Exception):
    """There is nothing to measure. The text says why, and what to do."""


@dataclass(frozen=True)
class Measured:
    """What one load saw. Times are in milliseconds. None is for what we can't know."""

    streams: int  # that were open when the calls began
    open_at_the_end: int
    opening_seconds: float
    calls: int
    calls_a_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    errors: dict[str, int]
    came_back: int
    came_back_within: tuple[float, float] | None  # seconds, from the first to the last
    kib_a_stream: float | None
    server_calls: int | None  # as counted by the server
    server_p95: float | None  # the upper end of the bucket that it is in
    server_processor_ms: float | None  # of processor time, for each call


@dataclass
class Load:
    """The streams on one server. Use it with `async with`, which closes them all at the end."""

    url: str
    progress: Progress
    pid: int | None = None
    results: Results = field(default_factory=Results)
    clients: list[LoadClient] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPEN_SECONDS)
        self.http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self.staying: list[asyncio.Task[None]] = []
        self.calling_seconds = self.opening_seconds = 0.0
        self.kib_a_stream: float | None = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self.staying:
            task.cancel()
        await asyncio.gather(*self.staying, return_exceptions=True)
        await self.http.close()

    async def open(self, streams: int) -> None:
        """Open so many streams. Raises NotMeasurable if none can be opened."""
        await self.try_one()
        began = time.monotonic()
        task = self.progress.add_task("opening", total=streams, unit="streams")
        warm: Inside | None = None
        while (open_now := len(self.clients)) < streams:
            if open_now == WARM_UP:
                warm = await self.look()
            at_once = WARM_UP if open_now < WARM_UP else AT_ONCE
            some = [
                LoadClient(self.http, self.url, self.results)
                for _ in range(min(at_once, streams - open_now))
            ]
            self.staying += [asyncio.create_task(client.stay()) for client in some]
            waiting = [asyncio.create_task(client.ready.wait()) for client in some]
            _, late = await asyncio.wait(waiting, timeout=OPEN_SECONDS)
            for waiter in late:
                waiter.cancel()
            self.clients += some
            self.progress.advance(task, len(some))
            if late:
                break  # no more will fit
        self.opening_seconds = time.monotonic() - began
        self.clients.sort(key=lambda client: not client.ready.is_set())
        self.streams = self.open_streams()
        if not self.streams:
            why = in_words(self.results.errors or {f"no reply in {OPEN_SECONDS:g} s": streams})
            raise NotMeasurable(f"No stream could be opened: {why}")
        self.before = await self.look()
        if warm and warm.memory and self.before.memory and self.streams > WARM_UP:
            grown = (self.before.memory - warm.memory) / 1024 / (self.streams - WARM_UP)
            # If there were as many streams before, these use the memory that those freed.
            self.kib_a_stream = grown if grown >= 1 else None
        self.progress.remove_task(task)

    async def try_one(self) -> None:
        """Try one stream first. A thousand would only fail in the same way a thousand times."""
        try:
            async with asyncio.timeout(OPEN_SECONDS), self.http.get(self.url) as response:
                kind = response.content_type
                if response.status != 200:
                    text = (await response.text())[:200].strip()
                    raise NotMeasurable(f"{self.url} answers {response.status}: {text}")
                if kind != "text/event-stream":
                    raise NotMeasurable(f"{self.url} is not an event stream, but {kind}")
                line = await response.content.readline()
                if line.strip() != b"event: endpoint":
                    raise NotMeasurable(
                        f"{self.url} is an event stream, but not MCP's: it begins with "
                        f"{line.decode('utf-8', 'replace')[:80].strip()!r}, not with the event "
                        "`endpoint`"
                    )
        except aiohttp.InvalidURL as error:
            raise NotMeasurable(f"{self.url} is not the URL of an event stream") from error
        except TimeoutError as error:
            raise NotMeasurable(f"{self.url} sent nothing in {OPEN_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotMeasurable(f"No server answers at {self.url}: {kind_of(error)}") from error

    async def call_for(self, seconds: float, callers: int) -> tuple[int, float]:
        """Some clients call, wait for the reply, and call again. Returns calls and seconds."""
        calls_before = len(self.results.seconds)
        began = time.monotonic()
        end = began + seconds

        async def call_until_the_end(client: LoadClient) -> None:
            with contextlib.suppress(TimeoutError):
                while (left := end - time.monotonic()) > 0:
                    if not client.ready.is_set():  # its stream has ended: wait for another
                        await asyncio.wait_for(client.ready.wait(), left)
                    await client.call("add", {"a": 20, "b": 22})

        calling = [
            asyncio.create_task(call_until_the_end(client)) for client in self.clients[:callers]
        ]
        try:
            await asyncio.wait(calling)
        except asyncio.CancelledError:
            end = began  # no more calls; those that the server has counted may be answered
            await asyncio.wait(calling, timeout=LAST_SECONDS)
            raise
        finally:
            took = time.monotonic() - began
            self.calling_seconds += took
            for task in calling:
                task.cancel()
        await asyncio.gather(*calling)
        return len(self.results.seconds) - calls_before, took

    async def look(self) -> Inside:
        return await look_inside(self.http, self.url, self.pid)

    def open_streams(self) -> int:
        return sum(client.ready.is_set() for client in self.clients)

    async def forget(self) -> None:
        """The calls so far were the warm-up: forget them."""
        self.results.seconds.clear()
        self.calling_seconds = 0.0
        self.before = await self.look()

    async def measured(self) -> Measured:
        after = await self.look()
        times = sorted(self.results.seconds)
        back = self.results.came_back
        calls = after.calls_since(self.before)
        slowest = after.slowest_since(self.before, 0.95)
        used = after.processor_seconds_since(self.before)
        return Measured(
            streams=self.streams,
            open_at_the_end=self.open_streams(),
            opening_seconds=self.opening_seconds,
            calls=len(times),
            calls_a_second=len(times) / self.calling_seconds if self.calling_seconds else 0.0,
            p50=percentile(times, 0.50),
            p95=percentile(times, 0.95),
            p99=percentile(times, 0.99),
            errors=dict(self.results.errors),
            came_back=len(back),
            came_back_within=(min(back), max(back)) if back else None,
            kib_a_stream=self.kib_a_stream,
            server_calls=None if calls is None else int(calls),
            server_p95=None if slowest is None else 1000 * slowest,
            server_processor_ms=1000 * used / len(times) if used and times else None,
        )


def percentile(times: list[float], share: float) -> float | None:
    """In milliseconds: this share of the (sorted) times were no longer than that."""
    if not times:
        return None
    return 1000 * times[math.ceil(share * len(times)) - 1]


def in_words(errors: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in errors.items()) or "none"
