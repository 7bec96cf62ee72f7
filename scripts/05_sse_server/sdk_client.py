"""A client from the official SDK: connect, list the tools, call one, give up after 3 s.

uv run scripts/05_sse_server/sdk_client.py http://127.0.0.1:8000/sse
"""

import asyncio
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client


async def talk(url: str) -> None:
    async with sse_client(url) as (read, write), ClientSession(read, write) as session:
        welcome = await session.initialize()
        print(f"Connected to {welcome.server_info.name}, MCP {welcome.protocol_version}")
        listed = await session.list_tools()
        print("Its tools:", ", ".join(tool.name for tool in listed.tools))
        result = await session.call_tool("echo", {"message": "hello SSE"})
        print("echo says:", result.content[0].model_dump()["text"])


async def main() -> None:
    try:
        async with asyncio.timeout(3):
            await talk(sys.argv[1])
    except TimeoutError:
        sys.exit("Not connected after 3 s: no event told me where to POST.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: sdk_client.py http://127.0.0.1:8000/sse")
    asyncio.run(main())
