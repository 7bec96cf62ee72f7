"""BROKEN: the stream is lost before its first event. owner_fixed.py is the cure.

Leaving `async with` closes the response, so the task that was handed it reads from a
closed connection. The task dies at once. Programs that never await the task never
hear of it: they sit there, subscribed, and nothing arrives.
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
