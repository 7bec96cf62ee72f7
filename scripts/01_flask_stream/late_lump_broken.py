"""Broken: the events leave in one late lump, because `join` waits for the last one."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys
import time
from collections.abc import Iterator

from flask import Flask, Response
from werkzeug.serving import make_server

app = Flask(__name__)
app.config["INTERVAL"] = 1.0  # seconds between two events; --interval sets it


def updates(interval: float) -> Iterator[str]:
    """Yield five events, `interval` seconds apart, and print when each one is made."""
    for number in range(5):
        if number > 0:
            time.sleep(interval)
        print(f"made Update {number}", flush=True)
        yield f"data: Update {number}\n\n"


@app.get("/mcp-sse")
def stream() -> Response:
    """Ask the generator for everything, and only then answer."""
    # A str: Flask knows the whole body, and its length, before it sends a byte.
    body = "".join(updates(app.config["INTERVAL"]))
    return Response(
        body,
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache"},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    # Not Flask's 5000: on macOS the AirPlay receiver listens there.
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")
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
    server = make_server(options.host, options.port, app, threaded=True, fd=listener.fileno())
    url = f"http://{options.host}:{options.port}"
    print(f"Listening on {url} (Ctrl-C stops it). In another terminal, type:")
    print(f"  curl -N {url}/mcp-sse", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
