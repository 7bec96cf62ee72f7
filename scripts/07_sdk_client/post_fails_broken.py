"""Broken: a POST that the server refuses, and a call that waits for ever.

    uv run scripts/07_sdk_client/post_fails_broken.py http://127.0.0.1:8000/sse

The SDK writes the refusal to its log and goes on waiting for the reply.
"""

import asyncio
import sys

from mcp import Client
from mcp.client.sse import sse_client

# Lesson 05's server takes bodies up to 4 MiB, and answers a larger one with 413.
TOO_LARGE = "x" * 5 * 1024 * 1024


async def main(url: str) -> None:
    async with Client(sse_client(url), mode="legacy") as client:
        print("Calling echo with 5 MiB. Ctrl-C to stop.", flush=True)
        await client.call_tool("echo", {"message": TOO_LARGE})
        print("Answered.")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit("Still waiting.")
