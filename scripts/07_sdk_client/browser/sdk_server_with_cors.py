"""The official SDK's server for a page from another origin: let in, and allowed to read.

    uv run scripts/07_sdk_client/browser/sdk_server_with_cors.py

As `uvicorn sdk_server_with_cors:app` it is the same server. Then ALLOWED_ORIGINS has the pages.
"""

import argparse
import errno
import logging
import os
import signal
import socket
import sys

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

THE_PAGE = "http://127.0.0.1:8007"

server = MCPServer("calculator", version="1.0.0")


@server.tool()
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def create_app(origins: list[str], *more_hosts: str) -> Starlette:
    """The server for pages from these origins, under this machine's names and more."""
    hosts = ("127.0.0.1", "localhost", "[::1]", *more_hosts)
    # The SDK's own check: who comes in. Everyone else gets 403.
    security = TransportSecuritySettings(
        allowed_hosts=[name for host in hosts for name in (host, f"{host}:*")],
        allowed_origins=origins,
    )
    made = server.sse_app(transport_security=security)
    # The browser's check: who may read. The SDK tells the browser nothing about that.
    made.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "MCP-Protocol-Version"],
    )
    logging.getLogger("uvicorn.error").addFilter(is_no_second_answer)
    return made


def is_no_second_answer(record: logging.LogRecord) -> bool:
    """False for the traceback of a stream that the server itself has ended: lesson 06."""
    return not (record.exc_info and "but got 'http.response.start'" in str(record.exc_info[1]))


app = create_app(
    [origin.strip() for origin in os.environ.get("ALLOWED_ORIGINS", THE_PAGE).split(",")]
)


def main() -> None:
    parser = argparse.ArgumentParser(description="An MCP server that pages may use.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8017)
    parser.add_argument("--allow-origin", default=THE_PAGE, metavar="ORIGIN")
    arguments = parser.parse_args()
    host, port, page = arguments.host, arguments.port, arguments.allow_origin
    if not 0 <= port <= 65535:
        parser.error("--port must be between 0 and 65535")
    # A socket with protocol 0, the default, would get no TCP_NODELAY: see lesson 03.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    name, port = "127.0.0.1" if host == "0.0.0.0" else host, listener.getsockname()[1]
    # Stopping when told to is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    print(
        f"Serving MCP on http://{name}:{port}/sse for pages of {page}. Open {page}", flush=True
    )
    uvicorn.Server(uvicorn.Config(create_app([page], host))).run(sockets=[listener])


if __name__ == "__main__":
    main()
