"""Three events, each sent as soon as it is made.

uv run scripts/NN_slug/hello_server.py
"""

# REPLACE: this program. CONTRIBUTING.md, "The programs", says what every program promises.

from __future__ import annotations

import argparse
import errno
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

interval = 0.25


def words() -> Iterator[str]:
    """Three words, `interval` seconds apart."""
    for word in ("one", "two", "three"):
        yield word
        time.sleep(interval)


def event(word: str) -> str:
    """One event of an event stream; the blank line ends it."""
    return f"data: {word}\n\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/sse":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with suppress(ConnectionError):  # the client has left
            for word in words():
                self.wfile.write(event(word).encode())

    def log_message(self, format: str, *args: object) -> None: ...


def main() -> None:
    global interval
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8999)
    parser.add_argument("--interval", type=float, default=interval)
    options = parser.parse_args()
    interval = options.interval

    # Ctrl-C and SIGTERM end the program with status 0 and no traceback, whatever it is doing.
    # (A shell script that starts a program with `&` makes it ignore Ctrl-C. This undoes that.)
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: sys.exit(0))
    try:
        server = ThreadingHTTPServer((options.host, options.port), Handler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {options.port} is in use. Choose another: --port {options.port + 1}")
    url = f"http://{options.host}:{options.port}"
    print(f"Listening on {url} (Ctrl-C stops it). In another terminal, type:")
    print(f"  curl -N {url}/sse", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
