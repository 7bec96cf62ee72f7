"""Fixed: while the tool works, everybody else is served. A plain `def` runs on a thread.

uv run scripts/06_sdk_server/blocking_fixed.py
"""

import time

from mcp.server import MCPServer
from serving import serve

server = MCPServer("blocking")


@server.tool()
def work(seconds: float) -> None:
    """Work for this many seconds, as an old library does: without `await`."""
    time.sleep(seconds)


if __name__ == "__main__":
    serve(server.sse_app(), "uv run scripts/06_sdk_server/two_clients.py {url}", port=8036)
