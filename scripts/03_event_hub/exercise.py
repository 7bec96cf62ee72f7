"""Exercise 03: follow an event stream through a bad network, and miss nothing.

As it stands, this client reads one connection to its end and gives up. Make it come
back, at the right time, to the right place, and know when to stop.

    uv run work/03_event_hub/exercise.py http://127.0.0.1:3000/events/orders

It prints one JSON object for each thing that happens: an event, a wait, the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import traceback
from dataclasses import dataclass
from typing import Any

import aiohttp
from event_stream import Event, EventStreamParser


@dataclass(frozen=True)
class Settings:
    """All in seconds."""

    heartbeat: float  # how often the server sends something, even when nothing happens
    retry: float  # the reconnection time, until the server asks for another
    first_backoff: float  # the limit of the first wait's random part
    longest_backoff: float  # the limit that it never grows beyond


def say(url: str, **what: Any) -> None:
    """Print one JSON object on one line."""
    print(json.dumps({"url": url, **what}, ensure_ascii=False), flush=True)


def handle(url: str, event: Event) -> None:
    """Print the event. Raises ValueError when its data is not JSON."""
    say(url, id=event.last_event_id, type=event.type, data=json.loads(event.data))


async def follow(session: aiohttp.ClientSession, url: str, settings: Settings) -> str:
    """Handle each event of the stream, once and in order. Returns why the stream is over."""
    last_event_id = ""
    pace = Pace(settings)
    while True:
        parser = EventStreamParser(last_event_id=last_event_id)
        # TODO 1: Come back. When `read` returns a string, the stream is over for good: return
        # the string. In all other cases the loop goes on: when `read` returns None, because
        # the connection ended, and when it raises an `aiohttp.ClientError` or an `OSError`,
        # because the connection broke.
        return await read(session, url, last_event_id, parser, pace) or "the stream ended"

        # TODO 2: Remember how far this connection got. `parser.last_event_id` knows: it moves
        # only at the blank line that completes an event.
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
    """Read one connection to its end. Returns why the stream is over for good, or None."""
    headers = {"Accept": "text/event-stream"}
    # (TODO 2) Tell the server where to continue: send the id, if any, as `Last-Event-ID`.
    async with session.get(url, headers=headers, timeout=limits(pace.settings)) as response:
        # TODO 3: Return a string if there is no point in coming back: for 204, for any 4xx, and
        # for a 200 whose `response.content_type` is not `text/event-stream`. Any other status
        # that is not 200 may be temporary: raise ConnectionError.
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                # (TODO 3) `[DONE]` as data is how the hub says "the end": return here too.
                pace.event_came()
                # TODO 4: An event that can't be handled must not end the stream. Catch
                # whatever `handle` raises, and `say(url, skipped=…)` what it was.
                handle(url, event)
    return None


def limits(settings: Settings) -> aiohttp.ClientTimeout:
    """How long to wait for what, in seconds."""
    # TODO 5: A stream may live for days: don't limit the total time. But when not a single
    # byte has come for 2.5 heartbeats, the connection is dead: limit that with `sock_read`.
    return aiohttp.ClientTimeout()


class Pace:
    """When to come back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.retry = settings.retry
        self.failures = 0

    def event_came(self) -> None:
        """An event has arrived."""
        # TODO 6: The server works again: reset the number of failures in a row to 0.

    def connection_ended(self, reconnection_time: int | None) -> None:
        """`reconnection_time` is what the stream asked for, in milliseconds, or None."""
        # (TODO 6) Keep it as `self.retry`, in seconds, until the stream asks for another.

    def next_wait(self) -> float:
        """Seconds to wait before the next connection."""
        # (TODO 6) Wait for `self.retry`, because the server asked for it, plus a random time
        # from 0 up to a limit. The limit is `first_backoff` at first, doubles with each failure
        # in a row, and never exceeds `longest_backoff`. That gives a server in trouble some
        # room, and a thousand clients that were cut off together do not come back together.
        return random.uniform(0.1, 0.2)


async def follow_to_the_end(
    session: aiohttp.ClientSession, url: str, settings: Settings
) -> None:
    """Follow one stream and say why it is over. If it crashes, the others go on."""
    try:
        say(url, over=await follow(session, url, settings))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename == __file__ and frame.name != "say"]
        say(url, crashed=f"{error!r} in line {ours[-1].lineno}: {ours[-1].line}")


async def run(urls: list[str], settings: Settings) -> None:
    """Follow all streams at once."""
    # No limit: by default, the 101st connection of aiohttp would wait for ever.
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
