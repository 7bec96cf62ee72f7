"""Exercise NN: send each event as soon as it is made.

GET /sse?interval=SECONDS   three events: `one`, `two` and `three` (default: 0.25 seconds)
"""

# REPLACE: this exercise. CONTRIBUTING.md, "The exercise", explains the marks.

from __future__ import annotations

import argparse
import errno
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def words(interval: float) -> Iterator[str]:
    """Three words, `interval` seconds apart."""
    for word in ("one", "two", "three"):
        yield word
        time.sleep(interval)


def event(word: str) -> str:
    """One event of an event stream whose data is `word`."""
    # TODO 1: Write the event in the format of an event stream. A reader must see
    # where it ends.
    # --- solution
    return f"data: {word}\n\n"
    # --- starter
    # return word
    # --- end


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != "/sse":
            self.send_error(404)
            return
        interval = float(parse_qs(url.query).get("interval", ["0.25"])[0])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with suppress(ConnectionError):  # the client has left
            # TODO 2: Send each event as soon as its word is there.
            # --- solution
            for word in words(interval):
                self.wfile.write(event(word).encode())
            # --- starter
            # late_lump = "".join(event(word) for word in words(interval))
            # self.wfile.write(late_lump.encode())
            # --- end

    def log_message(self, format: str, *args: object) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8999)
    options = parser.parse_args()

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
