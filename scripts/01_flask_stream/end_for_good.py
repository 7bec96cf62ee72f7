"""End a stream for good: with a final event that the page knows, or with status 204."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request, send_file
from werkzeug.serving import make_server

PAGE = Path(__file__).with_name("end_for_good.html")

app = Flask(__name__)
app.config["INTERVAL"] = 1.0  # seconds between two events; --interval sets it


def updates(interval: float) -> Iterator[str]:
    """Yield five events with ids; ask the browser to reconnect after half a second."""
    yield "retry: 500\n\n"
    for number in range(5):
        if number > 0:
            time.sleep(interval)
        yield f"id: {number}\ndata: Update {number}\n\n"


def updates_and_done(interval: float) -> Iterator[str]:
    """The same, then an event of type `done`: the page closes when it arrives."""
    yield from updates(interval)
    yield "event: done\ndata: that was all\n\n"


def event_stream(events: Iterator[str]) -> Response:
    return Response(
        events, content_type="text/event-stream", headers={"Cache-Control": "no-cache"}
    )


@app.get("/done-event")
def done_event() -> Response:
    """Tell the page: the last event is `done`."""
    return event_stream(updates_and_done(app.config["INTERVAL"]))


@app.get("/no-content")
def no_content() -> Response:
    """Tell the browser: a client that comes back with the last id gets 204, No Content."""
    # EventSource sends the id of the last event it got when it connects again.
    if request.headers.get("Last-Event-ID") == "4":
        return Response(status=204)
    return event_stream(updates(app.config["INTERVAL"]))


@app.get("/")
def page() -> Response:
    """The page that listens to both."""
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
    print(f"Listening on {url} (Ctrl-C stops it). Open that page, or type:")
    print(f"  curl -N {url}/done-event", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
