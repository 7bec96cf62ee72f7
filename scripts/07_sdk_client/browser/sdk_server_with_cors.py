"""The official SDK's server for a page of another origin: let in, and allowed to read.

uv run scripts/07_sdk_client/browser/sdk_server_with_cors.py
"""

import argparse
import errno
import logging
import signal
import socket
import sys

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware

server = MCPServer("calculator", version="1.0.0")


@server.tool()
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def main() -> None:
    parser = argparse.ArgumentParser(description="An MCP server that pages may use.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--allow-origin", default="http://127.0.0.1:8007", metavar="ORIGIN")
    arguments = parser.parse_args()
    host, port, page = arguments.host, arguments.port, arguments.allow_origin
    if not 0 <= port <= 65535:
        parser.error("--port must be between 0 and 65535")

    # The SDK's own check: who comes in. Without it, 403.
    security = TransportSecuritySettings(
        allowed_hosts=[f"{name}:{port}" for name in {host, "127.0.0.1", "localhost"}],
        allowed_origins=[page],
    )
    app = server.sse_app(transport_security=security)
    # The browser's check: who may read. The SDK says nothing to it.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[page],
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "MCP-Protocol-Version"],
    )

    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    name = "127.0.0.1" if host == "0.0.0.0" else host
    print(
        f"Serving MCP on http://{name}:{port}/sse for pages of {page}. Open {page}", flush=True
    )
    # To be told to leave, and to leave, is no failure: lesson 06 has the reasons for both.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    logging.getLogger("uvicorn.error").addFilter(is_no_second_answer)
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


def is_no_second_answer(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that the server itself has ended."""
    return not (record.exc_info and "but got 'http.response.start'" in str(record.exc_info[1]))


if __name__ == "__main__":
    main()
