"""Fixed: the server that withstands every attack of this lesson.

    MCP_TOKENS=alice:TOKEN,bob:TOKEN uv run scripts/09_security/secure_server.py

Grown from lesson 05's `sse_server.py`: sessions, the stream and POST are here. Who may come in
is decided in `door.py` and `principals.py`, and how much anyone may ask for in `limiting.py`.
Without MCP_TOKENS the server makes up a token and prints it.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from urllib.parse import quote

from connection import Connection
from door import JSON_TYPE, MAX_BODY, put_in_front, read_body
from events import encode_event, now, write_message
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from json_rpc import Json, RpcError, read_message
from leaving import before_leaving
from limiting import Limits
from log import hide_secrets
from methods import Client, answer
from principals import TICKET_SECONDS, Principals, Tickets
from running import serve
from settings import Settings
from starlette.types import Receive, Scope, Send
from web_page import add_page

MAX_WAITING_EVENTS = 100  # for one session: what its reader has not taken yet
MAX_WAITING_BYTES = 2 * MAX_BODY  # and their bytes
MAX_CALLS = 100  # for one session: calls that have no reply yet
MAX_CALLS_BYTES = 2 * MAX_BODY  # and their bytes
SEND_SECONDS = 10.0  # a reader that takes nothing for this long is dropped

logger = logging.getLogger("uvicorn.error")

# --- Sessions ---------------------------------------------------------------------------


class Session:
    """One client of a principal: its id, the events that wait for it, its tasks."""

    def __init__(self, principal: str, sessions: dict[str, "Session"]) -> None:
        self.id = secrets.token_urlsafe(32)  # nobody can guess it
        self.principal = principal  # and nobody else can use it
        self.client = Client()
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_EVENTS)
        self.waiting_bytes = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.calls_bytes = 0
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

    def give_back(self, size: int) -> None:
        """A call has ended: it keeps no message of this size any more."""
        self.calls_bytes -= size

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
TOO_MANY = {"Retry-After": "1"}


class SseTransport:
    """All sessions of a server, and its two endpoints."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = Limits(settings)
        self.sessions: dict[str, Session] = {}
        self.leaving = False

    async def receive_message(self, request: Request) -> Response:
        """POST: the reply goes to the session's stream."""
        principal: str = request.scope["principal"]
        # Before the body is read: a refusal should cost as little as possible.
        if not await self.limits.may_send(principal):
            return PlainTextResponse("Too many messages\n", 429, TOO_MANY)
        body = await read_body(request, self.settings.body_seconds)
        if isinstance(body, Response):
            return body
        # Only now that the body is here: the session may have closed while it came in.
        session = self.sessions.get(request.query_params.get("session_id", ""))
        if session is None or session.principal != principal:
            # The same answer in both cases: nobody learns which ids are in use.
            return PlainTextResponse("No such session: open GET /sse again\n", 404)
        try:
            message = read_message(body)
        except RpcError as error:
            # Not a JSONResponse: it fails for an id with half a character in it, "\ud800".
            refusal = write_message(error.reply()).encode("utf-8", "backslashreplace")
            return Response(refusal, 400, media_type=JSON_TYPE)
        size = len(body)
        if len(session.tasks) > MAX_CALLS or session.calls_bytes + size > MAX_CALLS_BYTES:
            return PlainTextResponse("Too many calls at once\n", 429, TOO_MANY)
        session.calls_bytes += size
        task = session.start(self.reply_on_stream(message, session))
        task.add_done_callback(lambda _: session.give_back(size))
        return Response(status_code=202)

    async def reply_on_stream(self, message: Json, session: Session) -> None:
        # The session is passed along with the request, from beginning to end. A request's id
        # does not say whose it is: every client counts from 1.
        reply = await answer(message, session.client)
        if reply is not None:
            session.send(encode_event("message", write_message(reply)))

    def end_streams(self) -> None:
        """Called on shutdown: end every stream, and open no more."""
        self.leaving = True
        for session in list(self.sessions.values()):
            session.close()


class EventStream(Response):
    """The answer to GET /sse: it lasts as long as the client listens."""

    def __init__(self, transport: SseTransport, greeting: bytes) -> None:
        super().__init__()
        self.transport = transport
        self.greeting = greeting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.transport.leaving:
            await PlainTextResponse("Shutting down\n", 503)(scope, receive, send)
            return
        give_back = await self.transport.limits.take_stream(scope["principal"])
        if give_back is None:
            refusal = PlainTextResponse("Too many streams\n", 429, TOO_MANY)
            await refusal(scope, receive, send)
            return
        # Not in a generator: its `finally` would not run for a client that left before the
        # first byte, and its place would be taken for ever.
        try:
            await self.stream(scope, receive, send)
        finally:
            give_back()

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        # Always a new one: an id that comes from outside never reopens a session.
        session = Session(scope["principal"], self.transport.sessions)
        path = quote(scope.get("root_path", "").rstrip("/") + "/message")
        session.send(encode_event("endpoint", f"{path}?session_id={session.id}"))
        session.send(self.greeting)
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
        """Send what is waiting, and a comment whenever nothing came for a while."""
        while True:
            try:
                async with asyncio.timeout(self.transport.settings.heartbeat_seconds):
                    chunk = await session.next_event()
            except TimeoutError:
                chunk = b": heartbeat\n\n"
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
    tickets = Tickets()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logging.getLogger("uvicorn.access").addFilter(hide_secrets)
        # With --log-level trace it would print each request as it came, query and all.
        logging.getLogger("uvicorn.asgi").setLevel(logging.INFO)
        if settings.made_up:
            print(
                f"MCP_TOKENS is not set. For this run: export TOKEN={settings.tokens['me']}",
                flush=True,
            )
        with before_leaving(transport.end_streams):
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    put_in_front(app, settings, Principals(settings.tokens), tickets)

    @app.get("/sse")
    async def open_stream(client: str = "you") -> Response:
        try:
            greeting = encode_event("connected", f"Hello, {client}\n{now()}", f"{client}-1")
        except ValueError as error:
            return PlainTextResponse(f"In ?client=: {error}\n", 400)
        return EventStream(transport, greeting)

    # A plain route: `@app.post` would resolve its dependencies again for each message.
    app.add_route("/message", transport.receive_message, methods=["POST"])

    @app.post("/ticket")
    async def new_ticket(request: Request) -> JSONResponse:
        if not await transport.limits.may_send(request.scope["principal"]):
            return JSONResponse({"error": "Too many messages"}, 429, TOO_MANY)
        ticket = tickets.new(request.scope["principal"])
        return JSONResponse(
            {"ticket": ticket, "seconds": TICKET_SECONDS}, headers={"Cache-Control": "no-store"}
        )

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    add_page(app)
    return app


settings = Settings.from_environment()
app = create_app(settings)

if __name__ == "__main__":
    serve(app, Connection, settings.allowed_hosts)
