"""Fixed: subscribe first, then replay, with no `await` between the two.

    uv run scripts/03_event_hub/seam_fixed.py

Whatever is published from then on is in the queue, and whatever was published before is
in the copy of the history. Nothing is in both or in neither. Compare seam_broken.py.
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
    queue: asyncio.Queue[str] = asyncio.Queue()
    queues.append(queue)
    replay = list(history)
    for event in replay:
        yield event
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
