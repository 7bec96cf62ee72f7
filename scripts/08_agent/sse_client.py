"""A client for the hub that reconnects by itself and misses nothing.

As a program it prints what arrives, one line for each event:

    uv run scripts/03_event_hub/sse_client.py orders news
    uv run scripts/03_event_hub/sse_client.py orders --debug
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import json
import logging
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from event_stream import Event, EventStreamParser, EventTooLarge

log = logging.getLogger("sse_client")

Handler = Callable[[dict[str, Any]], Awaitable[None] | None]
Reporter = Callable[[str, str], None]

# All in seconds.
DEFAULT_HEARTBEAT = 15.0
DEFAULT_RETRY = 1.0
LONGEST_RETRY = 3_600.0
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
REQUEST_TIMEOUT = 10.0


class SSEError(Exception):
    """The hub can't be reached, or refuses. The text says which."""


class StreamOver(Exception):
    """The stream is over for good: coming back would change nothing."""


@dataclass
class Stream:
    """One subscription: how far it got, and the task that owns its connection."""

    event_type: str
    handler: Handler
    opened: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    last_event_id: str = ""
    retry: float = DEFAULT_RETRY
    failures: int = 0
    task: asyncio.Task[None] | None = None


def backoff(failures: int, first: float, longest: float) -> float:
    """A random number of seconds to wait, on top of what the server asked for.

    Its limit doubles with each failure in a row, from `first` up to `longest`, to give a
    server in trouble some room. It is random from 0 up ("full jitter"), so that a thousand
    clients that were cut off together do not all come back together.
    """
    # The exponent is bounded because 2.0 ** 1024 is more than a float can hold.
    return random.uniform(0, min(longest, first * 2.0 ** min(failures, 64)))


def print_problem(event_type: str, text: str) -> None:
    """The default reporter: one line on standard error."""
    print(f"[{event_type}] {text}", file=sys.stderr, flush=True)


class SSEClient:
    """Subscribes to a hub's events and publishes to it.

        async with SSEClient("http://127.0.0.1:3000") as client:
            await client.subscribe("orders", print)
            await client.send_event("orders", {"item": "tea"})

    `report(event_type, text)` is called with what went wrong and was handled: a lost
    connection, a handler that raised, data that is not a JSON object. `on_gap(gap)`
    is called when the hub has lost events: of which `types`, `after` which id and `through`
    which.
    `first_backoff` and `longest_backoff` are in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        report: Reporter = print_problem,
        on_gap: Handler | None = None,
        first_backoff: float = FIRST_BACKOFF,
        longest_backoff: float = LONGEST_BACKOFF,
    ) -> None:
        self.url = url.rstrip("/")
        self.report = report
        self.on_gap = on_gap
        self.first_backoff = first_backoff
        self.longest_backoff = longest_backoff
        self.heartbeat = DEFAULT_HEARTBEAT
        self._session: aiohttp.ClientSession | None = None
        self._streams: dict[str, Stream] = {}

    async def connect(self) -> None:
        """Ask the hub whether it is there, and how often it sends heartbeats.

        Raises SSEError when nothing answers, or when what answers is not a hub.
        """
        url = f"{self.url}/health"
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        try:
            async with self._http().get(url, timeout=timeout) as response:
                response.raise_for_status()
                self.heartbeat = float((await response.json())["heartbeat"])
        except aiohttp.ClientConnectionError as error:
            raise SSEError(f"Nothing answers at {url}. Is the hub running? ({error})") from None
        except TimeoutError:
            raise SSEError(f"{url} did not answer in {REQUEST_TIMEOUT:g} s.") from None
        except (aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
            raise SSEError(f"What answers at {url} is not an event hub: {error!r}") from None

    async def subscribe(self, event_type: str, handler: Handler) -> None:
        """Call `handler(data)` for each event of this type, from now on.

        Returns when the hub has said where the stream begins: nothing that is published
        afterwards is missed. Raises SSEError when the hub refuses, and ValueError for a type
        that is already subscribed.
        """
        if event_type in self._streams:
            raise ValueError(f"{event_type!r} is already subscribed")
        stream = self._streams[event_type] = Stream(event_type, handler)
        # The task owns the connection: it opens it, reads it and closes it. We keep the
        # task in `stream`, because a task that nothing refers to may be garbage-collected.
        stream.task = asyncio.create_task(self._follow(stream))
        try:
            await stream.opened
        except BaseException:
            await self.unsubscribe(event_type)
            raise

    async def unsubscribe(self, event_type: str) -> None:
        """Close the stream of this type; returns when it is closed."""
        stream = self._streams.pop(event_type, None)
        if stream is None or stream.task is None:
            return
        stream.task.cancel()
        # A handler may unsubscribe its own type, and no task can wait for its own end.
        if stream.task is not asyncio.current_task():
            await asyncio.wait([stream.task])

    async def send_event(self, event_type: str, data: dict[str, Any]) -> dict[str, int]:
        """Publish. Returns `{"id": …, "receivers": …}`. Raises SSEError."""
        url = f"{self.url}/events/{event_type}"
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        try:
            async with self._http().post(url, json=data, timeout=timeout) as response:
                if response.status != 200:
                    raise SSEError(f"{response.status} {(await response.text())[:200]}")
                return await response.json()
        except (aiohttp.ClientError, OSError) as error:
            raise SSEError(f"Can't publish to {url}: {error!r}") from None

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for event_type in list(self._streams):
            await self.unsubscribe(event_type)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            # aiohttp's limit is 100 connections. A stream never gives its connection back,
            # and the hundred-and-first would wait for ever.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    async def _follow(self, stream: Stream) -> None:
        """Connect, read until the connection ends, wait, and repeat until it is over."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            parser = EventStreamParser(last_event_id=stream.last_event_id)
            try:
                await self._read(stream, parser)
                problem = "the stream ended"
            except StreamOver as over:
                self._stop(stream, str(over))
                return
            except aiohttp.ClientPayloadError:
                problem = "the connection was cut"
            except (aiohttp.ClientError, OSError) as error:
                problem = str(error) or type(error).__name__
            # The parser moves its id at the blank line that completes an event. If an event
            # was cut in the middle, the id is still the one before: the hub sends it again.
            stream.last_event_id = parser.last_event_id
            if parser.reconnection_time is not None:
                stream.retry = min(parser.reconnection_time / 1_000, LONGEST_RETRY)
            if clock() - began > self.longest_backoff:
                stream.failures = 0
            seconds = stream.retry + backoff(
                stream.failures, self.first_backoff, self.longest_backoff
            )
            stream.failures += 1
            self.report(stream.event_type, f"{problem}; trying again in {seconds:.1f} s")
            await asyncio.sleep(seconds)

    async def _read(self, stream: Stream, parser: EventStreamParser) -> None:
        """One connection, from its opening to its end. Raises StreamOver."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if stream.last_event_id:
            headers["Last-Event-ID"] = stream.last_event_id
        url = f"{self.url}/events/{stream.event_type}"
        log.debug("> GET %s Last-Event-ID: %s", url, stream.last_event_id or "none")
        # Don't limit the total time: a stream may live for days. But one that is silent for
        # much longer than a heartbeat is dead, whatever the network says.
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT, sock_read=2.5 * self.heartbeat
        )
        async with self._http().get(url, headers=headers, timeout=timeout) as response:
            log.debug("< %s %s", response.status, response.content_type)
            await accept(response)
            async for chunk in response.content.iter_any():
                for line in chunk.splitlines():
                    log.debug("< %s", line.decode("utf-8", "replace"))
                try:
                    events = parser.feed(chunk)
                except EventTooLarge as error:
                    raise StreamOver(str(error)) from None
                # The hub's first block has an id. From here on, a cut loses nothing.
                if (events or parser.last_event_id) and not stream.opened.done():
                    stream.opened.set_result(None)
                for event in events:
                    stream.failures = 0
                    await self._handle(stream, event)

    async def _handle(self, stream: Stream, event: Event) -> None:
        """Give one event to its handler. Nothing that a handler does ends the stream."""
        if event.type == "message" and event.data == "[DONE]":
            raise StreamOver("the hub has closed this type")
        try:
            data = json.loads(event.data)
        except (ValueError, RecursionError) as error:
            data = error
        if not isinstance(data, dict):
            self.report(
                stream.event_type,
                f"event {event.last_event_id} skipped, not a JSON object: {event.data[:60]!r}",
            )
            return
        handler: Handler | None = None
        if event.type == stream.event_type:
            handler = stream.handler
        elif event.type == "gap":
            lost = f"events after {data.get('after')} through {data.get('through')}"
            self.report(stream.event_type, f"the hub has lost {lost}")
            handler = self.on_gap
        if handler is None:
            return
        try:
            result = handler(data)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self.report(
                stream.event_type,
                f"the handler failed on event {event.last_event_id}: {error!r}",
            )

    def _stop(self, stream: Stream, why: str) -> None:
        """The stream is over: tell `subscribe` if it is still waiting, or else report it."""
        if self._streams.get(stream.event_type) is stream:
            del self._streams[stream.event_type]
        if stream.opened.done():
            self.report(stream.event_type, f"over: {why}")
        else:
            stream.opened.set_exception(SSEError(why))


async def accept(response: aiohttp.ClientResponse) -> None:
    """Return for an event stream. Raises StreamOver if there is no point in coming back.

    The standard: 204 means stop, and so does a 200 that is not an event stream. A 4xx says
    that the request is wrong, and it will be wrong next time, too. Other trouble may pass.
    """
    if response.status == 204:
        raise StreamOver("204: there is nothing more to come")
    if 400 <= response.status < 500:
        raise StreamOver(f"{response.status} {(await response.text())[:200]}")
    if response.status != 200:
        raise ConnectionError(f"the answer was {response.status} {response.reason}")
    if response.content_type != "text/event-stream":
        raise StreamOver(f"the answer is {response.content_type}, not an event stream")


async def run(url: str, types: list[str]) -> None:
    """Print the events of these types until all of them are closed."""

    def printer(event_type: str) -> Handler:
        return lambda data: print(
            f"{event_type} {json.dumps(data, ensure_ascii=False)}", flush=True
        )

    async with SSEClient(url) as client:
        for event_type in types:
            await client.subscribe(event_type, printer(event_type))
        print(f"Listening to {', '.join(types)} on {url}", flush=True)
        tasks = [stream.task for stream in client._streams.values() if stream.task]
        if tasks:
            await asyncio.wait(tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a hub's events as they come.")
    parser.add_argument("types", nargs="+", help="event types, such as: orders news")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="where the hub is")
    parser.add_argument("--debug", action="store_true", help="show the wire")
    options = parser.parse_args()

    if options.debug:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.DEBUG)
    # SIGTERM ends it as Ctrl-C does. A program started with `&` in a script ignores Ctrl-C
    # unless it says otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(options.url, options.types))
    except SSEError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
