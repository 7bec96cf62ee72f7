"""Serve the page in this folder: an MCP client in the browser, with its own origin.

uv run scripts/07_sdk_client/browser/serve.py
"""

import argparse
import errno
import mimetypes
import signal
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent

# What the browser lets the page do: run the scripts in this folder and no others, whatever a
# server's tool might slip in, and connect to any MCP server.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "connect-src http: https:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class Page(SimpleHTTPRequestHandler):
    """The files of this folder."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        # You will change these files: the browser must ask for them each time.
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: what matters is in the page."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve an MCP client for the browser.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8007)
    arguments = parser.parse_args()
    host, port = arguments.host, arguments.port
    if not 0 <= port <= 65535:
        parser.error("--port must be between 0 and 65535")

    # Some systems map .js to a different type, and then browsers refuse the scripts.
    mimetypes.add_type("text/javascript", ".js")
    handler = partial(Page, directory=str(HERE))
    # Before it listens: whoever finds it listening may tell it to leave at once.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    # A server on all addresses can be reached on any local one.
    origin = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{server.server_port}"
    print(f"The page is on {origin}. Start a server that lets it in, in another terminal:")
    print(f"  uv run scripts/05_sse_server/sse_server.py --allow-origin {origin}", flush=True)

    with server:
        server.serve_forever()


if __name__ == "__main__":
    main()
