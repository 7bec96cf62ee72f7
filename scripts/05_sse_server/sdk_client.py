"""A client from the official SDK: connect, list the tools, call one, give up after 3 s.

uv run scripts/05_sse_server/sdk_client.py http://127.0.0.1:8000/sse
"""

import asyncio
import sys

import httpx2
from mcp import ClientSession
from mcp.client.sse import sse_client


async def talk(url: str) -> None:
    missing = "no event told me where to POST"
    try:
        async with asyncio.timeout(3), sse_client(url) as (read, write):
            missing = "no reply came on the stream"
            async with ClientSession(read, write) as session:
                welcome = await session.initialize()
                name, version = welcome.server_info.name, welcome.protocol_version
                print(f"Connected to {name}, MCP {version}")
                listed = await session.list_tools()
                print("Its tools:", ", ".join(tool.name for tool in listed.tools))
                result = await session.call_tool("echo", {"message": "hello SSE"})
                print("echo says:", result.content[0].model_dump()["text"])
    except TimeoutError:
        sys.exit(f"Gave up after 3 s: {missing}.")
    except httpx2.ConnectError:
        sys.exit(f"Nothing answers at {url}. Start a server in another terminal.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: sdk_client.py http://127.0.0.1:8000/sse")
    try:
        asyncio.run(talk(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
