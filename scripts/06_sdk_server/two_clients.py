"""One client calls a tool that takes two seconds. How long does another wait for a ping?

uv run scripts/06_sdk_server/two_clients.py http://127.0.0.1:8036/sse
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connecting import run_client
from mcp import ClientSession
from mcp.client.sse import sse_client


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientSession]:
    async with sse_client(url) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


async def main(url: str) -> None:
    longest = 0.0
    async with connected(url) as busy, connected(url) as other:
        call = asyncio.create_task(busy.call_tool("work", {"seconds": 2}))
        while not call.done():
            asked = time.monotonic()
            await other.send_ping()
            longest = max(longest, time.monotonic() - asked)
            await asyncio.sleep(0.05)
        await call
    verdict = "held up" if longest > 1.5 else "not held up"
    print(f"While one worked, the other waited {longest:.1f} s for a ping: {verdict}.")


if __name__ == "__main__":
    run_client(main, "blocking_broken.py http://127.0.0.1:8036/sse")
