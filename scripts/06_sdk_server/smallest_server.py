"""The smallest server: one function is one tool, and the SDK's own `run` serves it.

uv run scripts/06_sdk_server/smallest_server.py
"""

from mcp.server import MCPServer
from serving import begin

server = MCPServer("smallest")


@server.tool()
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


if __name__ == "__main__":
    host, port = begin("curl -N {url}", port=8036)
    server.run(transport="sse", host=host, port=port)
