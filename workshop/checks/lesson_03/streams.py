"""The streams that the program follows: what the hub sends, and what the proxy does to it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from workshop.checks.lesson_03.settings import BEAT, FAILURES, LATE_BEAT, TICK

Json = dict[str, Any]
Script = Callable[[int, int], AsyncIterator[bytes | int]]


def event(number: int, data: str = "", type: str = "orders") -> bytes:
    """An event of the hub; its data says its number."""
    data = data or json.dumps({"n": number})
    return f"event: {type}\nid: {number}\ndata: {data}\n\n".encode()


def events(first: int, last: int) -> bytes:
    return b"".join(event(number) for number in range(first, last + 1))


async def beats() -> AsyncIterator[bytes | int]:
    """Comments for as long as the connection lasts."""
    while True:
        yield b": heartbeat\n\n"
        await asyncio.sleep(BEAT)


async def history(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Thirty events, from the one after the id that was sent, and then heartbeats."""
    yield b"retry: 20\n\n"
    for each in range(after + 1, 31):
        yield event(each)
    async for beat in beats():
        yield beat


async def quiet(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Nothing but heartbeats. The first is late, as on a slow network."""
    yield b"retry: 20\n\n"
    await asyncio.sleep(LATE_BEAT)
    async for beat in beats():
        yield beat


async def burst(number: int, after: int) -> AsyncIterator[bytes | int]:
    """All at once, as after a buffering proxy."""
    yield b"retry: 20\n\n" + events(after + 1, 30)
    async for beat in beats():
        yield beat


async def ticking(number: int, after: int) -> AsyncIterator[bytes | int]:
    """An event every 30 ms, for as long as the connection lasts."""
    yield b"retry: 20\n\n"
    for each in itertools.count(after + 1):
        yield event(each)
        await asyncio.sleep(TICK)


async def few(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Five events, so that a proxy may take its time with each byte."""
    yield b"retry: 20\n\n" + events(after + 1, 5)
    async for beat in beats():
        yield beat


async def ending(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Three events, and a clean end."""
    yield b"retry: 20\n\n" + events(after + 1, after + 3)
    if number > 1:
        async for beat in beats():
            yield beat


async def unfinished(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The second event lacks its blank line when the connection ends."""
    if number == 1:
        yield b"retry: 20\n\n" + event(1) + event(2)[:-1]
        return
    yield events(after + 1, 3)
    async for beat in beats():
        yield beat


async def silent_second(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The second connection ends before it has said anything."""
    if number == 1:
        yield b"retry: 200\n\n" + event(1)
    elif number > 2:
        yield events(after + 1, 2)
        async for beat in beats():
            yield beat
    else:
        yield b": nothing yet\n\n"


async def primed(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The first connection says only where it begins: an id and no event."""
    if number == 1:
        yield b"id: 7\nretry: 20\n\n"
        return
    yield events(after + 1, 8)
    async for beat in beats():
        yield beat


async def done(number: int, after: int) -> AsyncIterator[bytes | int]:
    """An event that only mentions it, and then the real end."""
    mentioned = event(1, '{"n": 1, "text": "not [DONE] yet"}')
    yield b"retry: 20\n\n" + mentioned + b"data: [DONE]\n\n"


async def page(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"<!doctype html><title>Log in first</title>"


async def patient(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Asks for 250 ms twice, then for 20 ms, for 250 and for none, and ends each time.

    With the last comes an event: else a client without a longest wait could add 320 ms at
    random by then, and seem to have ignored the 0.
    """
    if number > 5:
        yield 204
        return
    yield b"retry: %d\n\n" % (250, 250, 20, 250, 0)[number - 1]
    if number == 5:
        yield event(1)


async def recovering(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Four failures, then an event, then nothing more."""
    if number <= 4:
        yield 500
    elif number == 5:
        yield b"retry: 20\n\n" + event(1)
    else:
        yield 204


async def failing(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Nothing but failures, as many as the checks look at: a crowd is busy with it."""
    yield 500 if number <= FAILURES else 204


async def odd(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"retry: 20\n\n"
    if after < 3:
        yield event(1) + event(2, "{oops") + event(3)
    async for beat in beats():
        yield beat


# Each stream: its script, and what the proxy does to it. None: there is no proxy.
STREAMS: dict[str, tuple[Script, Json | None]] = {
    "burst": (burst, {"buffer": 600}),
    "ticking": (ticking, None),
    "split": (few, {"split": True, "delay": 0.02, "seed": 1}),
    "ending": (ending, None),
    "cut": (history, {"cut_after": 5, "times": 2}),
    "anywhere": (history, {"cut_within": 700, "times": 6, "seed": 2}),
    "unfinished": (unfinished, None),
    "silent_second": (silent_second, None),
    "primed": (primed, None),
    "error": (history, {"status": 503, "times": 2}),
    "over": (history, {"status": 204}),
    "refused": (history, {"status": 404}),
    "gone": (history, {"status": 410}),
    "bad": (history, {"status": 400}),
    "done": (done, None),
    "page": (page, None),
    "json": (page, None),
    "charset": (few, None),
    "odd_data": (odd, None),
    "stalled": (history, {"stall_after": 5, "times": 1}),
    "quiet": (quiet, None),
    "patient": (patient, None),
    "recovering": (recovering, None),
    "failing": (failing, None),
}
# Those that soon have something to say in any program that runs.
SETTLING = (
    *("ending", "cut", "unfinished", "silent_second", "primed", "error", "over", "refused"),
    *("gone", "bad", "done", "page", "json", "odd_data", "patient", "recovering", "failing"),
)
