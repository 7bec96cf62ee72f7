"""Broken: while the tool works, nobody else is served. It blocks in an `async def`.

uv run scripts/06_sdk_server/blocking_broken.py
"""

import time

from mcp.server import MCPServer
from serving import serve

server = MCPServer("blocking")


@server.tool()
async def work(seconds: float) -> None:
    """Work for this many seconds, as an old library does: without `await`."""
    time.sleep(seconds)  # noqa: ASYNC251


if __name__ == "__main__":
    serve(server.sse_app(), "uv run scripts/06_sdk_server/two_clients.py {url}", port=8036)
