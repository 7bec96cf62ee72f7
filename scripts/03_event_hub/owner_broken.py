"""Broken: the stream is lost before its first event. owner_fixed.py is the fix.

    uv run scripts/03_event_hub/owner_broken.py

Leaving `async with` closes the response, so the task that got it reads from a closed
connection, and dies at once. A program that never awaits the task never hears of it: it
is subscribed, and nothing arrives.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp


async def listen(response: aiohttp.ClientResponse) -> None:
    async for chunk in response.content.iter_any():
        print(chunk.decode(), end="", flush=True)


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            task = asyncio.create_task(listen(response))
        print("Subscribed.", flush=True)
        await asyncio.wait([task])
        print(f"The task has ended: {task.exception()!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=3000, help="the hub's port")
    asyncio.run(main(f"http://127.0.0.1:{parser.parse_args().port}/events/orders"))
