"""Broken: connections that are entered in one task and left in another.

    uv run scripts/07_sdk_client/tasks_broken.py http://127.0.0.1:8000/sse

Each is opened in its own task, so that they open side by side. The main task leaves them.
"""

import asyncio
import sys

from mcp import Client
from mcp.client.sse import sse_client


async def main(url: str) -> None:
    clients = [Client(sse_client(url), mode="legacy") for _ in range(2)]
    await asyncio.gather(*(client.__aenter__() for client in clients))
    for client in clients:
        listed = await client.list_tools()
        print("Its tools:", ", ".join(tool.name for tool in listed.tools), flush=True)
    for client in clients:
        await client.__aexit__(None, None, None)
    print("Closed cleanly.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
