"""The official SDK's HTTP+SSE server with the tool `add`: what the benchmark compares with."""

import argparse
import logging
import signal
import sys

from mcp.server import MCPServer

server = MCPServer("calculator")


@server.tool()
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def is_no_second_answer(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that the server itself has ended: see lesson 06."""
    return not (record.exc_info and "but got 'http.response.start'" in str(record.exc_info[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8004)
    arguments = parser.parse_args()
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    print(f"Serving MCP on http://{arguments.host}:{arguments.port}/sse", flush=True)
    logging.getLogger("uvicorn.error").addFilter(is_no_second_answer)
    server.run(transport="sse", host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
