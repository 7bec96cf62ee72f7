"""Broken: two connections that are left in the order in which they were entered.

    uv run scripts/07_sdk_client/tasks_order_broken.py http://127.0.0.1:8000/sse

All in one task. But the scopes of a task are nested: the first can't be left as long as the
second is open.
"""

import asyncio
import sys

from mcp import Client
from mcp.client.sse import sse_client


async def main(url: str) -> None:
    clients = [Client(sse_client(url), mode="legacy") for _ in range(2)]
    for client in clients:
        await client.__aenter__()
    for client in clients:
        await client.__aexit__(None, None, None)
    print("Closed cleanly.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
