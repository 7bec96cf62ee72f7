"""An event hub over HTTP: publish with POST, subscribe with GET, miss nothing.

    GET    /health            status, time, how many streams are open, the types
    GET    /events/{type}     a stream of one type
    GET    /events?types=a,b  one stream of several types
    POST   /events/{type}     publish a JSON object; answers with its id and its receivers
    DELETE /events/{type}     close the type: its streams end with `data: [DONE]`
    DELETE /connections       cut every stream, as a bad network would
    GET    /                  a dashboard

`Last-Event-ID` (a header, or `?last_event_id=` for clients that can't send one)
resumes a stream after that event.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from hub import Finished, Hub, HubError, Subscriber
from starlette.types import Receive, Scope, Send

MAX_BODY = 65_536
HEARTBEAT_SECONDS = 15.0


class EventStream(StreamingResponse):
    """Sends what is waiting for a subscriber, until its stream ends or its reader leaves."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, subscriber: Subscriber) -> None:
        super().__init__(
            subscriber.pieces(),
            # A stream is never the same twice, and no proxy may buffer it.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self.hub = hub
        self.subscriber = subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, and not in a `finally` of the generator: a generator that never
        # started never runs its `finally`, and the subscriber would never be removed.
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.hub.leave(self.subscriber)


def create_app(hub: Hub, heartbeat: float = HEARTBEAT_SECONDS) -> FastAPI:
    """The routes. `heartbeat` (seconds) is what `/health` tells clients to expect."""
    app = FastAPI(title="Event hub")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "streams": len(hub.streams),
            "heartbeat": heartbeat,
            "last_id": hub.last_id,
            "types": {
                type: {
                    "subscribers": len(topic.subscribers),
                    "history": len(topic.history),
                    "closed": topic.closed,
                }
                for type, topic in sorted(hub.topics.items())
            },
        }

    @app.get("/events")
    async def subscribe_several(request: Request, types: str = "") -> Response:
        return open_stream(hub, request, [name for name in types.split(",") if name])

    @app.get("/events/{type}")
    async def subscribe(request: Request, type: str) -> Response:
        return open_stream(hub, request, [type])

    @app.post("/events/{type}")
    async def publish(request: Request, type: str) -> dict[str, int]:
        data = await read_object(request)
        with as_http_error():
            id, receivers = hub.publish(type, data)
        return {"id": id, "receivers": receivers}

    @app.delete("/events/{type}")
    async def close(type: str) -> dict[str, int]:
        with as_http_error():
            return {"receivers": hub.close(type)}

    @app.delete("/connections")
    async def cut() -> dict[str, int]:
        streams = len(hub.streams)
        app.state.hang_up_all()
        return {"streams": streams}

    @app.get("/")
    async def dashboard() -> FileResponse:
        return FileResponse(Path(__file__).with_name("dashboard.html"))

    @app.get("/page.css")
    async def stylesheet() -> FileResponse:
        return FileResponse(Path(__file__).with_name("page.css"))

    return app


def open_stream(hub: Hub, request: Request, types: list[str]) -> Response:
    """Answer with a stream of `types`, or with 204 when nothing will ever come."""
    # The header wins: an EventSource that comes back sends its newest id there,
    # while the id in its URL is still the one that it began with.
    last_event_id = request.headers.get("last-event-id") or request.query_params.get(
        "last_event_id"
    )
    try:
        with as_http_error():
            subscriber = hub.subscribe(types, last_event_id, request.scope.get("client"))
    except Finished:
        # The standard: a client that gets 204 stops reconnecting.
        return Response(status_code=204)
    return EventStream(hub, subscriber)


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body, a JSON object of at most 64 KiB. Raises HTTPException."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send the header `Content-Type: application/json`.")
    body = bytearray()
    # Counted while it arrives: an endless body must not use up the memory.
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is larger than {MAX_BODY} bytes.")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise HTTPException(400, 'The body must be a JSON object, such as {"user": "ada"}.')
    return data


@contextlib.contextmanager
def as_http_error() -> Iterator[None]:
    """Turn the hub's refusals into HTTP errors."""
    try:
        yield
    except HubError as error:
        raise HTTPException(error.status, str(error)) from None


class HubServer(uvicorn.Server):
    """uvicorn with a heartbeat; it also ends all streams when the server stops."""

    def __init__(self, config: uvicorn.Config, hub: Hub, heartbeat: float) -> None:
        super().__init__(config)
        self.hub = hub
        self.heartbeat = heartbeat

    async def main_loop(self) -> None:
        beating = asyncio.create_task(self.beat_for_ever())
        await super().main_loop()
        beating.cancel()

    async def beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat)
            for subscriber in self.hub.beat():
                self.hang_up(subscriber)

    def hang_up(self, subscriber: Subscriber) -> None:
        """Tear the connection down, and drop whatever its reader never took.

        A clean close would wait until the reader has taken it: for ever.
        """
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == subscriber.reader:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for open streams, and a stream does not end by itself.
        self.hub.end_all()
        last_call = asyncio.get_running_loop().call_later(1.0, self.hang_up_all)
        await super().shutdown(sockets)
        last_call.cancel()

    def hang_up_all(self) -> None:
        for subscriber in list(self.hub.streams):
            self.hang_up(subscriber)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. If there is none, one line says why, and the program ends."""
    # Because the protocol is named, asyncio sends small pieces at once: see nagle_broken.py.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":
        # Connections of a hub that has just ended don't block the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2_048)
        return listener
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"Can't listen on {host}:{port}: {why}. Choose another port: --port 3010")


def serve(app: FastAPI, hub: Hub, listener: socket.socket, heartbeat: float) -> None:
    """Serve until Ctrl-C or SIGTERM, then end the streams and exit with status 0."""
    # No proxy headers: `hang_up` finds a connection by its real address.
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False)
    server = HubServer(config, hub, heartbeat)
    app.state.hang_up_all = server.hang_up_all
    server.run(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish and subscribe to events by type.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--history", type=int, default=1_000, help="events kept for each type")
    parser.add_argument("--queue", type=int, default=256, help="events that may wait")
    parser.add_argument("--retry", type=int, default=2_000, help="reconnection time, in ms")
    parser.add_argument("--first-id", type=int, help="default: the clock in microseconds")
    parser.add_argument(
        "--heartbeat", type=float, default=HEARTBEAT_SECONDS, help="seconds between comments"
    )
    options = parser.parse_args()

    hub = Hub(
        history=options.history,
        queue=options.queue,
        retry=options.retry,
        first_id=options.first_id,
    )
    # Before anybody can connect. uvicorn has handlers of its own, but only while it serves, and
    # once it has shut down it raises the signal again. Stopping when told to is not a failure.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda *_: sys.exit(0))
    listener = listen(options.host, options.port)
    url = f"http://{options.host}:{options.port}"
    print(f"Event hub on {url}")
    print(f"Listen in another terminal: curl -N {url}/events/orders", flush=True)
    serve(create_app(hub, options.heartbeat), hub, listener, options.heartbeat)


if __name__ == "__main__":
    main()
