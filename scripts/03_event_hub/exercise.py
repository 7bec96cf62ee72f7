"""Exercise 03: follow an event stream through a bad network, and miss nothing.

As it stands, this client reads one connection to its end and gives up. Make it come
back, at the right time, to the right place, and know when to stop.

    uv run work/03_event_hub/exercise.py http://127.0.0.1:3000/events/orders

It prints a JSON object for each thing that happens: an event, a wait, the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
from dataclasses import dataclass
from typing import Any

import aiohttp
from event_stream import Event, EventStreamParser


@dataclass(frozen=True)
class Settings:
    """All in seconds."""

    heartbeat: float  # the server is never silent for longer than this
    retry: float  # the reconnection time, until the server says another
    first_backoff: float  # how far the first wait is spread at random
    longest_backoff: float  # and the longest, after many failures in a row


def say(url: str, **what: Any) -> None:
    """Print one JSON object on a line of its own."""
    print(json.dumps({"url": url, **what}, ensure_ascii=False), flush=True)


def handle(url: str, event: Event) -> None:
    """What is done with an event. Raises ValueError when its data is not JSON."""
    say(url, id=event.last_event_id, type=event.type, data=json.loads(event.data))


async def follow(session: aiohttp.ClientSession, url: str, settings: Settings) -> str:
    """Handle each event of the stream, once and in order. Returns why the stream is over."""
    last_event_id = ""
    pace = Pace(settings)
    while True:
        parser = EventStreamParser(last_event_id=last_event_id)
        # TODO 1: `read` returns a text when the stream is over for good. In all other cases
        # come back: when it returns None, because the connection just ended, and when it
        # raises an `aiohttp.ClientError` or an `OSError`, because the connection broke.
        return await read(session, url, last_event_id, parser, pace) or "the stream ended"

        # TODO 2: Remember how far this connection came: the parser knows. It counts only
        # what a blank line has completed, so an event cut in the middle will come again.
        pace.connection_ended(parser.reconnection_time)
        seconds = pace.next_wait()
        say(url, waits=seconds)
        await asyncio.sleep(seconds)


async def read(
    session: aiohttp.ClientSession,
    url: str,
    last_event_id: str,
    parser: EventStreamParser,
    pace: Pace,
) -> str | None:
    """One connection, from its opening to its end. Returns why the stream is over for good."""
    headers = {"Accept": "text/event-stream"}
    # (TODO 2) Say where to go on: the header `Last-Event-ID`, when there is an id.
    async with session.get(url, headers=headers, timeout=limits(pace.settings)) as response:
        # TODO 3: Return a text where coming back is no use: for 204, for any 4xx, for a 200
        # whose `response.content_type` is not `text/event-stream`. Any other status but 200
        # may be gone next time: raise ConnectionError.
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                # (TODO 3) `[DONE]` as data is the hub's word for the end: return here too.
                pace.event_came()
                # TODO 4: An event that can't be handled must not cost the stream. Catch
                # what `handle` raises, and `say(url, skipped=…)` what it was.
                handle(url, event)
    return None


def limits(settings: Settings) -> aiohttp.ClientTimeout:
    """How long to wait for what, in seconds."""
    # TODO 5: A stream may live for days: nothing may limit the whole of it. But when not one
    # byte has come for 2.5 heartbeats, the connection is dead: `sock_read` gives it up.
    return aiohttp.ClientTimeout()


class Pace:
    """When to come back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.retry = settings.retry
        self.failures = 0

    def event_came(self) -> None:
        """An event has arrived."""
        # TODO 6: Now the failures in a row are over.

    def connection_ended(self, reconnection_time: int | None) -> None:
        """`reconnection_time` is what the stream asked for, in milliseconds, or None."""
        # (TODO 6) Keep it as `self.retry`, in seconds. It holds until another is asked for.

    def next_wait(self) -> float:
        """Seconds to wait before the next connection."""
        # (TODO 6) At least `self.retry`, because the server asks for it. On top of that, a
        # random time from 0 up to a limit: `first_backoff` at first, twice as much with each
        # failure in a row, and never more than `longest_backoff`. So a server in trouble gets
        # room, and a thousand clients cut in one moment do not come back in one moment.
        return random.uniform(0.1, 0.2)


async def follow_to_the_end(
    session: aiohttp.ClientSession, url: str, settings: Settings
) -> None:
    """Follow one stream and say why it is over. One that crashes leaves the others alone."""
    try:
        say(url, over=await follow(session, url, settings))
    except Exception as error:
        say(url, crashed=repr(error))


async def run(urls: list[str], settings: Settings) -> None:
    """Follow all streams at once."""
    # No limit: with aiohttp's 100 connections the next stream would wait for ever.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(follow_to_the_end(session, url, settings) for url in urls))


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow event streams, and miss nothing.")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--heartbeat", type=float, default=15.0)
    parser.add_argument("--retry", type=float, default=1.0)
    parser.add_argument("--first-backoff", type=float, default=0.5)
    parser.add_argument("--longest-backoff", type=float, default=30.0)
    options = vars(parser.parse_args())

    urls = options.pop("urls")
    print(json.dumps({"following": len(urls)}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(urls, Settings(**options)))


if __name__ == "__main__":
    main()
