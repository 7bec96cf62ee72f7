"""Exercise 01: stream events, count the listeners, and free what a listener held.

GET /mcp-sse?interval=SECONDS   five events, `Update 0` to `Update 4` (default: 1 second)
GET /listeners                  {"listeners": 1, "open_feeds": 1}
"""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response, request
from werkzeug.serving import make_server

app = Flask(__name__)


class Count:
    """A number that many threads change: each listener has a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def up(self) -> None:
        with self._lock:
            self.value += 1

    def down(self) -> None:
        with self._lock:
            self.value -= 1


listeners = Count()
open_feeds = Count()


class Feed:
    """The numbers 0 to 4, `interval` seconds apart. Whatever opens a feed must close it.

    It stands for what a listener holds in a real server: a subscription, a
    database cursor, an open file.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        open_feeds.up()

    def __iter__(self) -> Iterator[int]:
        for number in range(5):
            if number > 0:
                time.sleep(self.interval)
            yield number

    def close(self) -> None:
        open_feeds.down()


@app.get("/mcp-sse")
def stream() -> Response:
    """Stream `updates` to the client."""
    interval = request.args.get("interval", default=1.0, type=float)
    # TODO 1: Send each event as soon as it is made. Say that this is an event
    # stream, and that no cache may answer with an old copy.
    return Response("".join(updates(interval)))


def event(number: int) -> str:
    """One event of an event stream whose data is `Update NUMBER`."""
    # TODO 2: Write the event in the format of an event stream. The field is called
    # `data`, and the reader must see where the event ends.
    return f"Update {number}"


def updates(interval: float) -> Iterator[str]:
    """Yield the events of one feed; count this listener for as long as it listens."""
    feed = Feed(interval)
    # TODO 3: Count this listener in. Choose the place with care: a HEAD request
    # calls `stream` too, but its generator is never asked for an event.

    # TODO 4: Count the listener out and close the feed, once, however the stream
    # ends: after the last event, or because the listener left in the middle.
    for number in feed:
        yield event(number)


@app.get("/listeners")
def count_listeners() -> dict[str, int]:
    """How many clients are listening now, and how many feeds are open, as JSON."""
    return {"listeners": listeners.value, "open_feeds": open_feeds.value}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    # Not Flask's 5000: on macOS the AirPlay receiver listens there.
    parser.add_argument("--port", type=int, default=5001)
    options = parser.parse_args()

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
