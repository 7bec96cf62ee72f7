"""Broken: after five minutes without a byte the stream is given up, and the session with it.

    uv run scripts/07_sdk_client/idle_broken.py http://127.0.0.1:8000/sse --pause 301

Five minutes is the SDK's default for `sse_read_timeout`. --limit makes it shorter.
"""

import argparse
import asyncio

from mcp import Client, MCPError
from mcp.client.sse import sse_client


async def main() -> None:
    parser = argparse.ArgumentParser(description="Call, be silent, and call again.")
    parser.add_argument("url")
    parser.add_argument("--pause", type=float, default=301.0, metavar="SECONDS")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS")
    arguments = parser.parse_args()

    transport = sse_client(arguments.url, sse_read_timeout=arguments.limit)
    async with Client(transport, mode="legacy") as client:
        for message in ("before", "after"):
            try:
                result = await client.call_tool("echo", {"message": message})
                text = result.content[0].model_dump()["text"]
                print(f"The answer {text} the pause.", flush=True)
            except MCPError as error:
                print(f"No answer {message} the pause: {error}")
            if message == "before":
                await asyncio.sleep(arguments.pause)


if __name__ == "__main__":
    asyncio.run(main())
