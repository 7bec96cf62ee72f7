"""Fixed: every call has a time limit, and after one that failed there is a new session.

    uv run scripts/07_sdk_client/post_fails_fixed.py http://127.0.0.1:8000/sse

After a POST that failed, the SDK's session sends nothing more: a second call in it fails
too. So the next call is made in a new session.
"""

import asyncio
import sys

from mcp import Client, MCPError
from mcp.client.sse import sse_client

# Lesson 05's server takes bodies up to 4 MiB, and answers a larger one with 413.
TOO_LARGE = "x" * 5 * 1024 * 1024
SECONDS = 3.0


def session(url: str) -> Client:
    return Client(sse_client(url), mode="legacy", read_timeout_seconds=SECONDS)


async def main(url: str) -> None:
    async with session(url) as client:
        for message in (TOO_LARGE, "small"):
            try:
                await client.call_tool("echo", {"message": message})
                print("Answered.")
            except MCPError as error:
                print(f"{len(message):,} characters: {error}", flush=True)
    async with session(url) as client:
        result = await client.call_tool("echo", {"message": "small"})
        print("In a new session:", result.content[0].model_dump()["text"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
