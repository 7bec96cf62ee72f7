"""Fixed: one task opens the stream, reads it and closes it.

    uv run scripts/03_event_hub/owner_fixed.py

Nothing else touches the connection. Compare owner_broken.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

import aiohttp


async def listen(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as response:
        async for chunk in response.content.iter_any():
            print(chunk.decode(), end="", flush=True)


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(listen(session, url))
        print("Subscribed.", flush=True)
        await asyncio.wait([task])
        print(f"The task has ended: {task.exception()!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=3000, help="the hub's port")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(f"http://127.0.0.1:{parser.parse_args().port}/events/orders"))
