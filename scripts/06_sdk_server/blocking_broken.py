"""Broken: while the tool works, everybody waits. It blocks in `async def`.

uv run scripts/06_sdk_server/blocking_broken.py
"""

import argparse
import time

from mcp.server import MCPServer
from serving import prepare, url_of

server = MCPServer("blocking")


@server.tool()
async def work(seconds: float) -> None:
    """Work for so many seconds, as an old library does: without `await`."""
    time.sleep(seconds)  # noqa: ASYNC251


def main() -> None:
    parser = argparse.ArgumentParser(description="A server with a tool that blocks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  uv run scripts/06_sdk_server/two_clients.py {url}/sse", flush=True)
    server.run(transport="sse", host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
