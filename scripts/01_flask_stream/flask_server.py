"""Stream five events from Flask, one a second, to curl and to a page that listens."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, send_file
from werkzeug.serving import make_server

PAGE = Path(__file__).with_name("index.html")

app = Flask(__name__)
app.config["INTERVAL"] = 1.0  # seconds between two events; --interval sets it


def updates(interval: float) -> Iterator[str]:
    """Yield five events of an event stream, `interval` seconds apart."""
    for number in range(5):
        if number > 0:
            time.sleep(interval)
        # The blank line ends the event. Without it, no client ever sees the event.
        yield f"data: Update {number}\n\n"


@app.get("/mcp-sse")
def stream() -> Response:
    """Answer with the generator itself: Flask sends each event when it is yielded."""
    return Response(
        updates(app.config["INTERVAL"]),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache"},
    )


@app.get("/")
def page() -> Response:
    """The page that listens."""
    return send_file(PAGE)


@app.get("/page.css")
def stylesheet() -> Response:
    """How it looks: the same file for every page in this course."""
    return send_file(PAGE.with_name("page.css"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    # Not Flask's 5000: on macOS the AirPlay receiver listens there.
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--one-thread", action="store_true", help="one request at a time")
    options = parser.parse_args()
    app.config["INTERVAL"] = options.interval

    # Ctrl-C and SIGTERM end the program with status 0 and no traceback, whatever it is doing.
    # (A shell script that starts a program with `&` makes it ignore Ctrl-C. This undoes that.)
    for end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(end, lambda *_: sys.exit(0))
    try:
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {options.port} is in use. Choose another: --port {options.port + 1}")
    server = make_server(
        options.host,
        options.port,
        app,
        threaded=not options.one_thread,
        fd=listener.fileno(),
    )
    url = f"http://{options.host}:{options.port}"
    print(f"Listening on {url} (Ctrl-C stops it). In another terminal, type:")
    print(f"  curl -N {url}/mcp-sse", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
