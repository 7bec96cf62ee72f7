"""A client that shows a tool's progress while the tool works.

uv run scripts/06_sdk_server/watch_progress.py http://127.0.0.1:8006/sse
"""

import time

from connecting import run_client
from mcp import Client
from mcp.client.sse import sse_client


async def main(url: str) -> None:
    began = time.monotonic()

    async def show(progress: float, total: float | None, message: str | None) -> None:
        print(f"{time.monotonic() - began:4.1f} s  {progress:g} of {total:g}: {message}")

    async with Client(sse_client(url), mode="legacy") as client:
        arguments = {"numbers": [1, 2, 3], "seconds": 1}
        began = time.monotonic()
        result = await client.call_tool("add_slowly", arguments, progress_callback=show)
        print("The result:", result.content[0].model_dump()["text"])


if __name__ == "__main__":
    run_client(main, "calculator.py http://127.0.0.1:8006/sse")
