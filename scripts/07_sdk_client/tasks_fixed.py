"""Fixed: one task enters all connections, and leaves them, the last one first.

    uv run scripts/07_sdk_client/tasks_fixed.py http://127.0.0.1:8000/sse

An AsyncExitStack keeps a list of what was entered. Other tasks may use the clients meanwhile.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from mcp import Client
from mcp.client.sse import sse_client


async def show_tools(client: Client) -> None:
    listed = await client.list_tools()
    print("Its tools:", ", ".join(tool.name for tool in listed.tools), flush=True)


async def main(url: str) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(sse_client(url), mode="legacy"))
            for _ in range(2)
        ]
        await asyncio.gather(*(show_tools(client) for client in clients))
    print("Closed cleanly.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
