"""Broken: an event falls into the seam between the replay and the live events.

    uv run scripts/03_event_hub/seam_broken.py

The replay is sent first, and sending takes time. What is published in the meantime is in
neither half. seam_fixed.py is the fix.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

history: list[str] = []
queues: list[asyncio.Queue[str]] = []


def publish(event: str) -> None:
    history.append(event)
    for queue in queues:
        queue.put_nowait(event)


async def stream() -> AsyncIterator[str]:
    for event in list(history):
        yield event
    queue: asyncio.Queue[str] = asyncio.Queue()
    queues.append(queue)
    while True:
        yield await queue.get()


async def main() -> None:
    publish("one")
    events = stream()
    print(await anext(events))
    publish("two")  # while the reader is still busy with the replay
    receiving = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    publish("three")
    print(await receiving)


if __name__ == "__main__":
    asyncio.run(main())
