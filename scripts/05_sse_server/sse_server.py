"""An MCP server over HTTP+SSE, the transport written by hand.

A client opens `GET /sse` and keeps it open: this stream is how the server sends. The stream's
first event says where the client sends, with POST. Both speak JSON-RPC 2.0, as in the Model
Context Protocol's revision 2024-11-05.

    uv run scripts/05_sse_server/sse_server.py

This file has sessions, the stream and POST. Beside it, `json_rpc.py`, `methods.py` and
`tools.py` say what a message means, `door.py` who comes in, `running.py` and `leaving.py` how
it starts and ends. Left out: who a client is (lesson 09), metrics (10), several workers (12),
and today's transport (13).
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

from door import JSON_TYPE, MAX_BODY, put_in_front, read_body
from events import encode_event, now, write_message
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from json_rpc import Json, RpcError, read_message
from leaving import before_leaving
from methods import Client, answer
from running import hide_session_ids, serve
from settings import Settings
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

MAX_WAITING_EVENTS = 100  # for one session: what its reader has not taken yet
MAX_WAITING_BYTES = 2 * MAX_BODY  # and their bytes; a reply is hardly larger than its POST
MAX_CALLS = 100  # for one session: calls that have no reply yet
SEND_SECONDS = 10.0  # a reader that takes nothing for this long is dropped

PAGE = Path(__file__).parent / "page"  # a client in the browser

logger = logging.getLogger("uvicorn.error")

# --- Sessions ---------------------------------------------------------------------------


class Session:
    """One client with its stream: its id, the events that wait for it, its tasks."""

    def __init__(self, sessions: dict[str, "Session"]) -> None:
        # Anyone who has it can send messages in this session: it must not be guessable.
        self.id = secrets.token_urlsafe(32)
        self.client = Client()
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_EVENTS)
        self.waiting_bytes = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.sessions = sessions
        sessions[self.id] = self

    def send(self, event: bytes) -> None:
        """Queue an event. If too much is waiting already, drop the reader instead."""
        if self.waiting.full() or self.waiting_bytes + len(event) > MAX_WAITING_BYTES:
            logger.warning("Dropped a reader that was too slow")
            self.close()
            return
        self.waiting_bytes += len(event)
        self.waiting.put_nowait(event)

    async def next_event(self) -> bytes:
        event = await self.waiting.get()
        self.waiting_bytes -= len(event)
        return event

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` for as long as the session lasts, at most."""
        task = asyncio.create_task(work)
        # The event loop does not keep a task alive: we have to hold a reference.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def close(self) -> None:
        """From now on nobody finds this session, and everything it does ends."""
        self.sessions.pop(self.id, None)
        for task in self.tasks:
            task.cancel()


# --- The transport ----------------------------------------------------------------------

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # This asks nginx to pass each event on at once instead of buffering it.
    (b"x-accel-buffering", b"no"),
]


class SseTransport:
    """All sessions of a server, and its two endpoints."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sessions: dict[str, Session] = {}
        self.leaving = False

    def heartbeat(self) -> bytes:
        """A sign of life: an event, which anyone can see, or a comment, which parsers skip."""
        if self.settings.heartbeat_style == "comment":
            return b": heartbeat\n\n"
        return encode_event("heartbeat", write_message({"time": now()}))

    async def receive_message(self, request: Request) -> Response:
        """POST: its reply goes to the session's stream or, without a session, comes back."""
        body = await read_body(request)
        if isinstance(body, Response):
            return body
        # Not before the body is here: the session may have closed while it came in.
        session_id = request.query_params.get("session_id")
        session = None if session_id is None else self.sessions.get(session_id)
        if session is None and session_id is not None:
            return PlainTextResponse("No such session: open GET /sse again\n", 404)
        try:
            message = read_message(body)
        except RpcError as error:
            # Only this response reaches whoever sent it: on the stream, an error without a
            # usable id answers no request that anybody waits for.
            return Response(write_message(error.reply()) + b"\n", 400, media_type=JSON_TYPE)

        if session is not None:
            if len(session.tasks) > MAX_CALLS:
                return PlainTextResponse("Too many calls at once\n", 429)
            session.start(self.reply_on_stream(message, session))
        elif (reply := await answer(message, None)) is not None:
            return Response(write_message(reply) + b"\n", media_type=JSON_TYPE)
        return Response(status_code=202)

    async def reply_on_stream(self, message: Json, session: Session) -> None:
        reply = await answer(message, session.client)
        if reply is not None:
            session.send(encode_event("message", write_message(reply)))

    def end_streams(self) -> None:
        """Called on shutdown: end every stream, and open no more."""
        self.leaving = True
        for session in list(self.sessions.values()):
            session.close()


class EventStream(Response):
    """The answer to GET /sse: it lasts as long as the client listens.

    The session begins and ends in `__call__`, so that its `finally` always runs. A generator's
    would not, for a client that left before the first byte.
    """

    def __init__(self, transport: SseTransport) -> None:
        super().__init__()
        self.transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.transport.leaving:
            await PlainTextResponse("Shutting down\n", 503)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})

        session = Session(self.transport.sessions)
        # The path to POST to, as the client sees it: with the prefix that a proxy strips.
        path = quote(scope.get("root_path", "").rstrip("/") + "/message")
        session.send(encode_event("endpoint", f"{path}?session_id={session.id}".encode()))
        session.send(encode_event("connected", write_message({"time": now()})))
        sender = session.start(self.send_events(session, send))
        listener = session.start(client_left(receive))
        try:
            await asyncio.wait((sender, listener), return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.close()

        # If the client did not end the stream, tell it that the stream is over.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await send({"type": "http.response.body", "body": b""})

    async def send_events(self, session: Session, send: Send) -> None:
        """Send what is waiting, and a heartbeat whenever it is time for one."""
        every = self.transport.settings.heartbeat_seconds
        next_heartbeat = asyncio.get_running_loop().time() + every
        while True:
            try:
                async with asyncio.timeout_at(next_heartbeat):
                    chunk = await session.next_event()
            except TimeoutError:
                chunk = self.transport.heartbeat()
                next_heartbeat += every
            try:
                # With a full socket, send waits until the reader has taken something.
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                logger.warning("Dropped a reader that took nothing for %g s", SEND_SECONDS)
                return


async def client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# --- The app ----------------------------------------------------------------------------


def create_app(settings: Settings) -> FastAPI:
    """The whole server. How it was started makes no difference to it."""
    transport = SseTransport(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logging.getLogger("uvicorn.access").addFilter(hide_session_ids)
        with before_leaving(transport.end_streams):
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    put_in_front(app, settings)

    @app.get("/sse")
    async def open_stream() -> EventStream:
        return EventStream(transport)

    # A plain route. `@app.post` would resolve arguments and dependencies again for each
    # message; this function has none, and is called more often than all the others.
    app.add_route("/message", transport.receive_message, methods=["POST"])

    @app.get("/health")
    async def health() -> dict[str, str | int]:
        return {"status": "ok", "time": now(), "connections": len(transport.sessions)}

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))

    return app


app = create_app(Settings.from_environment())

if __name__ == "__main__":
    serve(create_app)
