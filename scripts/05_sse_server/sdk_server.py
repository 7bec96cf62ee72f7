"""The official SDK's HTTP+SSE server with the tool `add`: what the benchmark compares with."""

import argparse

from mcp.server import MCPServer

server = MCPServer("calculator")


@server.tool()
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8004)
    arguments = parser.parse_args()
    print(f"Serving MCP on http://{arguments.host}:{arguments.port}/sse", flush=True)
    server.run(transport="sse", host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
