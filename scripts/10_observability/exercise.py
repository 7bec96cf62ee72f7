"""Lesson 10, the exercise: three servers, each with a different problem.

Do the TODOs in order, each one when the lesson tells you to. First make the numbers tell the
truth. Then put a load on each server, and find out from its numbers what is wrong with it,
before you read its code.

    uv run work/10_observability/exercise.py --server ash
    uv run workshop check 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType
from typing import Any, NamedTuple, Protocol

import uvicorn
from prometheus_client import Gauge, Histogram, disable_created_metrics, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

Message = dict[str, Any]
Tool = Callable[..., str]

HEARTBEAT_SECONDS = float(os.environ.get("HEARTBEAT_SECONDS") or 1)
SPREAD_SECONDS = 10  # clients come back within this time after the server has left
TOOL_LIMIT = 30.0  # seconds
PACKET = 1400  # bytes that fit into one packet
PATHS = ("/sse", "/message", "/health", "/metrics", "/diagnosis")

# ---- What is measured ---------------------------------------------------------------------

disable_created_metrics()  # no series "…_created": they would double the text

SHORT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG = (1, 10, 60, 300, 900, 3_600, 14_400, 43_200, 86_400)

REQUEST_SECONDS = Histogram(
    "http_request_seconds", "From request to answer.", ["path", "status"], buckets=SHORT
)
SESSION_SECONDS = Histogram(
    "mcp_server_session_duration_seconds", "How long a stream was open.", buckets=LONG
)
TOOL_SECONDS = Histogram(
    "mcp_tool_seconds", "How long a tool ran.", ["tool", "outcome"], buckets=SHORT
)
STREAMS = Gauge("mcp_streams_active", "Event streams that are open.")
SESSIONS = Gauge("mcp_sessions", "Sessions that the server holds.")
EVENT_WAIT = Histogram(
    "mcp_event_wait_seconds", "From making an event to sending it.", buckets=SHORT
)
HEARTBEAT_LATE = Histogram(
    "mcp_heartbeat_late_seconds", "How late a heartbeat was.", buckets=SHORT
)


class Observe:
    """Measure each request: how long it took, and how it ended."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, kind = 0, ""

        async def look_and_send(message: AsgiMessage) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message["headers"]).get(b"content-type", b"").decode()
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, look_and_send)
        finally:
            took = time.perf_counter() - began
            path = path_label(scope)
            # TODO 1: An event stream lasts as long as its client listens. That says nothing
            # about how quickly this server answers. Observe it in SESSION_SECONDS instead, and
            # everything else in REQUEST_SECONDS. `kind` is the Content-Type of the answer.
            REQUEST_SECONDS.labels(path, status).observe(took)


def path_label(scope: Scope) -> str:
    """The label for the path of a request."""
    # TODO 2: Each value of a label adds a time series, which stays for ever. There is no limit
    # to values that come from outside: any path that somebody tries, and the session's id in
    # the query. Return scope["path"] if it is one of PATHS, and "other" if it is not.
    return f"{scope['path']}?{scope['query_string'].decode()}"


def tool_label(message: Message) -> str:
    """The label for the tool that a message calls."""
    name = message["params"].get("name")
    # (TODO 2) The name of a tool comes from outside, too. Return it if it is in TOOLS, and
    # "other" if it is not. It may be any JSON value, even a list.
    return str(name)


def log(event: str, **fields: object) -> None:
    """Write one line: a JSON object."""
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


def internal_error(error: Exception, message: Message, session: Session) -> Message:
    """The JSON-RPC error for a call that failed. Also writes a line to the log."""
    # TODO 3: The client may learn that something broke, and an id to find it by in the log.
    # Answer with the code -32603, the message "Internal error", and `data` with an id for this
    # error. Log the same id, with the exception's type and where it was raised. Don't log the
    # exception's text: it may quote what the client sent. Don't log the session's id: anyone
    # who has it can send messages in that session.
    log("call failed", session=session.id, message=message)
    return {"code": -32000, "message": "".join(traceback.format_exception(error))}


# ---- What is wrong with which? ------------------------------------------------------------


def diagnosis() -> dict[str, str]:
    """Which server has which problem: "ash", "birch" or "cedar". GET /diagnosis shows it."""
    # TODO 4: Run each server, put a load on it, and read its /metrics. One keeps sessions whose
    # streams have ended. One blocks the event loop: while a tool runs, nothing else does. One
    # holds back events that are ready to be sent. Say which is which.
    return {"leaks": "", "blocks": "", "buffers": ""}


class Server(Protocol):
    """The three servers do these things in different ways."""

    async def attend(self, session: Session, carry: Callable[[], Awaitable[None]]) -> None:
        """`carry` sends the session's events until its client leaves."""
        ...

    async def run(self, tool: Tool, arguments: dict[str, Any]) -> str:
        """Call a tool. Tools are plain functions, and some of them take a while."""
        ...

    def batches(self, session: Session) -> AsyncIterator[list[Event]]:
        """The session's events, in the groups in which they are sent."""
        ...


class Ash:
    # TODO 5: Fix what is wrong with Ash. Its other two methods are fine.

    async def attend(self, session: Session, carry: Callable[[], Awaitable[None]]) -> None:
        try:
            await carry()
        finally:
            session.close()

    async def run(self, tool: Tool, arguments: dict[str, Any]) -> str:
        return await asyncio.to_thread(tool, **arguments)

    async def batches(self, session: Session) -> AsyncIterator[list[Event]]:
        batch: list[Event] = []
        while event := await session.next_event():
            batch.append(event)
            size = sum(len(event.raw) for event in batch)
            if event.raw == HEARTBEAT or size >= PACKET:
                yield batch
                batch = []
        yield batch


class Birch:
    # TODO 6: Fix what is wrong with Birch. Its other two methods are fine.

    async def attend(self, session: Session, carry: Callable[[], Awaitable[None]]) -> None:
        try:
            await carry()
        except (asyncio.CancelledError, OSError):
            session.close()
            raise

    async def run(self, tool: Tool, arguments: dict[str, Any]) -> str:
        call = functools.partial(tool, **arguments)
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def batches(self, session: Session) -> AsyncIterator[list[Event]]:
        while True:
            event = await session.next_event()
            if event is None:
                return
            yield [event]


class Cedar:
    # TODO 7: Fix what is wrong with Cedar. Its other two methods are fine.

    async def attend(self, session: Session, carry: Callable[[], Awaitable[None]]) -> None:
        with contextlib.closing(session):
            await carry()

    async def run(self, tool: Tool, arguments: dict[str, Any]) -> str:
        async def call() -> str:
            return tool(**arguments)

        return await asyncio.wait_for(call(), TOOL_LIMIT)

    async def batches(self, session: Session) -> AsyncIterator[list[Event]]:
        event = await session.next_event()
        while event is not None:
            yield [event]
            event = await session.next_event()


SERVERS: dict[str, Server] = {"ash": Ash(), "birch": Birch(), "cedar": Cedar()}


def leave() -> None:
    """End every stream when the server is stopped: uvicorn waits for all of them."""
    for session in list(sessions.values()):
        # TODO 8: When its stream ends, a client reconnects, and all of them do so at the same
        # moment. Before the end, tell each client to wait for a different time: send a `retry`
        # field, in milliseconds, and an empty line. Spread the times over SPREAD_SECONDS.
        session.close()


# ---- What the three have in common --------------------------------------------------------


class Event(NamedTuple):
    raw: bytes
    made: float


HEARTBEAT = b": heartbeat\n\n"


def encode_event(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


class Session:
    """One client: its id, and the events waiting to be sent on its stream."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(32)
        self.name = hashlib.sha256(self.id.encode()).hexdigest()[:12]  # for the log
        self.waiting: asyncio.Queue[Event | None] = asyncio.Queue()  # None ends the stream
        sessions[self.id] = self

    def send(self, raw: bytes) -> None:
        self.waiting.put_nowait(Event(raw, time.perf_counter()))

    def close(self) -> None:
        """From now on a POST does not find this session, and its stream ends."""
        sessions.pop(self.id, None)
        self.waiting.put_nowait(None)

    async def next_event(self) -> Event | None:
        """Wait for an event, or until the next heartbeat is due. None means the end."""
        loop = asyncio.get_running_loop()
        due = loop.time() + HEARTBEAT_SECONDS
        try:
            async with asyncio.timeout_at(due):
                return await self.waiting.get()
        except TimeoutError:
            HEARTBEAT_LATE.observe(loop.time() - due)
            return Event(HEARTBEAT, time.perf_counter())


sessions: dict[str, Session] = {}
SESSIONS.set_function(lambda: len(sessions))


class EventStream(StreamingResponse):
    """The answer to GET /sse."""

    media_type = "text/event-stream"

    def __init__(self, server: Server) -> None:
        super().__init__(self.chunks(), headers={"Cache-Control": "no-store"})
        self.server = server
        self.session = Session()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        carry = functools.partial(super().__call__, scope, receive, send)
        log("stream opened", session=self.session.name)
        with STREAMS.track_inprogress():
            await self.server.attend(self.session, carry)
        log("stream closed", session=self.session.name)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield encode_event("endpoint", f"/message?session_id={self.session.id}")
        async for batch in self.server.batches(self.session):
            yield b"".join(event.raw for event in batch)
            for event in batch:
                if event.raw != HEARTBEAT:
                    EVENT_WAIT.observe(time.perf_counter() - event.made)


def add(a: int, b: int) -> str:
    """Asks a remote calculator, through a library that does not support asyncio."""
    time.sleep(0.05)
    return str(a + b)


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return f"Waited {seconds} s"


def report(day: str) -> str:
    raise ConnectionError(f"reports.internal:5432 does not answer about {day}")


TOOLS: dict[str, Tool] = {"add": add, "wait": wait, "report": report}


async def answer(message: Message, session: Session, server: Server) -> Message:
    """The result of a request, or its error."""
    match message["method"]:
        case "initialize":
            server_info = {"name": "patient", "version": "1.0.0"}
            offer = {"capabilities": {"tools": {}}, "serverInfo": server_info}
            return {"result": {"protocolVersion": "2024-11-05", **offer}}
        case "ping":
            return {"result": {}}
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            return {"result": {"tools": tools}}
        case "tools/call" if isinstance(message.get("params"), dict):
            began = time.perf_counter()
            reply = await call_tool(message, session, server)
            outcome = "error" if "error" in reply else "ok"
            took = time.perf_counter() - began
            TOOL_SECONDS.labels(tool_label(message), outcome).observe(took)
            return reply
        case _:
            return {"error": {"code": -32601, "message": "There is no such method"}}


async def call_tool(message: Message, session: Session, server: Server) -> Message:
    name, arguments = message["params"].get("name"), message["params"].get("arguments")
    if not isinstance(name, str) or name not in TOOLS:
        return {"error": {"code": -32602, "message": "There is no such tool"}}
    try:
        text = await server.run(TOOLS[name], arguments or {})
    except Exception as error:
        return {"error": internal_error(error, message, session)}
    return {"result": {"content": [{"type": "text", "text": text}]}}


def create_app(server: Server) -> Starlette:
    """The whole server."""
    background: set[asyncio.Task[None]] = set()

    async def reply(message: Message, session: Session) -> None:
        content = await answer(message, session, server)
        whole = {"jsonrpc": "2.0", "id": message["id"], **content}
        session.send(encode_event("message", json.dumps(whole)))

    async def open_stream(request: Request) -> Response:
        return EventStream(server)

    async def receive_message(request: Request) -> Response:
        session = sessions.get(request.query_params.get("session_id", ""))
        if session is None:
            return PlainTextResponse("No such session: open GET /sse again\n", 404)
        try:
            message = json.loads(await request.body())
        except (ValueError, RecursionError):
            return PlainTextResponse("Not JSON\n", 400)
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return PlainTextResponse("Not a message of JSON-RPC\n", 400)
        if "id" in message:
            task = asyncio.create_task(reply(message, session))
            # The event loop does not keep a task alive: we have to hold a reference.
            background.add(task)
            task.add_done_callback(background.discard)
        return Response(status_code=202)

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(generate_latest())

    async def show_diagnosis(request: Request) -> Response:
        return JSONResponse(diagnosis())

    routes = [
        Route("/sse", open_stream),
        Route("/message", receive_message, methods=["POST"]),
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/diagnosis", show_diagnosis),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Observe)], lifespan=lifespan)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """From before the first request to after the last one."""
    logging.getLogger("uvicorn.access").disabled = True  # it would log each session's id
    loop = asyncio.get_running_loop()
    uvicorns_own = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }

    def leave_first(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(leave)
        handler = uvicorns_own[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in uvicorns_own:
        signal.signal(number, leave_first)
    yield
    for number, handler in uvicorns_own.items():
        signal.signal(number, handler)


app = create_app(SERVERS["ash"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=SERVERS, default="ash")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8010)
    arguments = parser.parse_args()
    # Name the protocol: only then does asyncio turn off Nagle's algorithm (lesson 03).
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((arguments.host, arguments.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        port = arguments.port
        sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
    # When uvicorn is done, it raises the signal again. Stopping on request is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    url = f"http://{arguments.host}:{arguments.port}"
    print(f"{arguments.server.title()} serves MCP on {url}/sse. In another terminal:")
    print(f"  curl -s {url}/metrics | grep '^mcp_[^{{]*$'", flush=True)
    chosen = create_app(SERVERS[arguments.server])
    uvicorn.Server(uvicorn.Config(chosen, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
