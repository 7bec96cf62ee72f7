"""Lesson 05, the exercise: first_server.py again, with gaps to fill as the lesson goes on.

Do the TODOs in order, each where the lesson says so. After each one, see how far you are:

    uv run workshop check 05
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

Message = dict[str, Any]

PROTOCOL_VERSION = "2024-11-05"
MAX_BODY = 4 * 1024 * 1024  # bytes of one POST
MAX_WAITING_EVENTS = 100  # for one session: what its reader has not taken yet
MAX_WAITING_BYTES = 2 * MAX_BODY  # and their bytes

PARSE_ERROR = -32700  # the codes of JSON-RPC 2.0, section 5.1
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

# ---- The stream ---------------------------------------------------------------------------

heartbeat_seconds = 15.0


def encode_event(event: str, data: str) -> bytes:
    """One event as bytes. `data` is one line."""
    return f"event: {event}\ndata: {data}\n\n".encode()


async def events(session: Session) -> AsyncIterator[bytes]:
    """What goes out on the session's stream, event by event."""
    # TODO 1: First tell the client where to POST: an event `endpoint`, whose data is the path
    # /message?session_id=… with the session's id, and nothing else. Then yield one event after
    # the other, as `session.next_event()` gives them; None ends the stream. Whenever nothing
    # has come for `heartbeat_seconds`, yield a comment, so that no proxy takes the connection
    # for dead. `async with asyncio.timeout(…)` raises TimeoutError.
    # --- solution
    yield encode_event("endpoint", f"/message?session_id={session.id}")
    while True:
        try:
            async with asyncio.timeout(heartbeat_seconds):
                event = await session.next_event()
        except TimeoutError:
            yield b": heartbeat\n\n"
            continue
        if event is None:
            return
        yield event
    # --- starter
    # yield encode_event("connected", "hello")
    # await asyncio.Event().wait()  # open, and silent for ever
    # --- end


# ---- Sessions: one for each open stream ---------------------------------------------------


class Session:
    """One client: its id, and the events that wait for its stream. None ends the stream."""

    def __init__(self) -> None:
        # TODO 2: Give the session an id that nobody can guess: anyone who has it can send
        # messages in this session.
        # --- solution
        self.id = secrets.token_urlsafe(32)
        # --- starter
        # self.id = "1"
        # --- end
        # What `send`, further down, has put in and the stream has not taken out yet.
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.waiting_bytes = 0

    async def next_event(self) -> bytes | None:
        event = await self.waiting.get()
        if event is not None:
            self.waiting_bytes -= len(event)
        return event

    def close(self) -> None:
        """From now on POST does not find this session, and its stream ends."""
        sessions.pop(self.id, None)
        while not self.waiting.empty():
            self.waiting.get_nowait()  # nobody will read it any more
        self.waiting.put_nowait(None)


sessions: dict[str, Session] = {}


async def session_events(session: Session) -> AsyncIterator[bytes]:
    """The session's events. As long as they are sent, POST finds the session."""
    # The session is added here and not in `open_stream`: for a client that left before the
    # first byte, a generator never starts, and its `finally` never runs.
    sessions[session.id] = session
    # TODO 3: However the stream ends, remove the session from `sessions` again.
    # --- solution
    try:
        async for event in events(session):
            yield event
    finally:
        sessions.pop(session.id, None)
    # --- starter
    # async for event in events(session):
    #     yield event
    # --- end


async def open_stream() -> StreamingResponse:
    """The answer to GET /sse."""
    return StreamingResponse(
        session_events(Session()),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


# ---- POST: a message comes in, its reply goes out on the stream ---------------------------


async def receive_message(request: Request) -> Response:
    """The answer to POST /message."""
    # TODO 4: Find the session that the query parameter `session_id` names; 404 if there is
    # none. `await read_body(request)` gives the body, `read_message` the message in it. If that
    # raises RpcError, no reply on the stream could answer it: the answer is 400, here, with
    # error.reply() as JSON. Then answer 202 at once: `in_background` sends the reply on this
    # session's stream when it is ready.
    # --- solution
    body = await read_body(request)
    session = sessions.get(request.query_params.get("session_id", ""))
    if session is None:
        return Response("No such session: open GET /sse again\n", 404)
    try:
        message = read_message(body)
    except RpcError as error:
        return JSONResponse(error.reply(), 400)
    in_background(message, session)
    # --- end
    return Response(status_code=202)


background: set[asyncio.Task[None]] = set()


def in_background(message: Message, session: Session) -> None:
    """Answer the message on the session's stream, however long that takes."""
    task = asyncio.create_task(reply_on_stream(message, session))
    # The event loop does not keep a task alive: we have to hold a reference.
    background.add(task)
    task.add_done_callback(background.discard)


async def reply_on_stream(message: Message, session: Session) -> None:
    reply = await answer(message)
    if reply is not None:
        send(session, encode_event("message", json.dumps(reply)))


# ---- JSON-RPC: from a message to its reply ------------------------------------------------


class RpcError(Exception):
    """Why a request gets no result: a code and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def reply(self, request_id: str | int | None = None) -> Message:
        """The reply that says so."""
        error = {"code": self.code, "message": self.message}
        return {"jsonrpc": "2.0", "id": request_id, "error": error}


def read_message(body: bytes) -> Message:
    """The request or notification in `body`. Raises RpcError."""
    # TODO 5: Anything but JSON gets PARSE_ERROR. JSON that is not JSON-RPC gets
    # INVALID_REQUEST: a message is an object with "jsonrpc": "2.0" and a "method" that is a
    # string.
    # --- solution
    try:
        message = json.loads(body)
    except ValueError as error:
        raise RpcError(PARSE_ERROR, f"Not JSON: {error}") from error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'A message is an object with "jsonrpc": "2.0"')
    if not isinstance(message.get("method"), str):
        raise RpcError(INVALID_REQUEST, "A message names its method")
    return message
    # --- starter
    # return json.loads(body)
    # --- end


async def answer(message: Message) -> Message | None:
    """The reply to a message, or None if it gets none."""
    # TODO 6: A message without an id is a notification and gets no reply. A request gets one
    # with its own id, exactly as it came, and with the result of its method: METHODS
    # (further down) has it. An unknown method gets METHOD_NOT_FOUND. Whatever raises RpcError
    # gets error.reply(…), with the request's id, too.
    # --- solution
    if "id" not in message:
        return None
    try:
        method = METHODS.get(message["method"])
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {message['method']}")
        result = await method(message.get("params", {}))
    except RpcError as error:
        return error.reply(message["id"])
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}
    # --- starter
    # result = await METHODS[message["method"]](message.get("params", {}))
    # return {"jsonrpc": "2.0", "id": 1, "result": result}
    # --- end


async def initialize(params: Any) -> Message:
    # The answer names the revision we speak. A client that does not speak it leaves.
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "sse-exercise", "version": "1.0.0"},
    }


async def ping(params: Any) -> Message:
    return {}


async def list_tools(params: Any) -> Message:
    return {"tools": [tool.listing() for tool in TOOLS.values()]}


# ---- Tools --------------------------------------------------------------------------------


async def call_tool(params: Any) -> Message:
    """The result of tools/call. Raises RpcError for a call that cannot be made."""
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object")
    tool = TOOLS.get(str(params.get("name")))
    arguments = params.get("arguments", {})
    # TODO 7: No such tool, or arguments that the tool does not take, is INVALID_PARAMS. A tool
    # that fails is something else: its error is the result's text, and isError is true.
    # --- solution
    if tool is None:
        raise RpcError(INVALID_PARAMS, f"No such tool: {params.get('name')}")
    if not tool.takes(arguments):
        raise RpcError(INVALID_PARAMS, f"{tool.name} takes {tool.arguments}")
    try:
        text, failed = await tool.run(**arguments), False
    except Exception as error:
        # The model reads why, and can go on.
        text, failed = str(error), True
    # --- starter
    # assert tool is not None
    # text, failed = await tool.run(**arguments), False
    # --- end
    return {"content": [{"type": "text", "text": text}], "isError": failed}


METHODS: dict[str, Callable[[Any], Awaitable[Message]]] = {
    "initialize": initialize,
    "ping": ping,
    "tools/list": list_tools,
    "tools/call": call_tool,
}

JSON_TYPES: dict[str, Any] = {"string": str, "number": int | float}


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    arguments: dict[str, str]  # each one's name and JSON type; all are required
    run: Callable[..., Awaitable[str]]

    def listing(self) -> Message:
        schema = {
            "type": "object",
            "properties": {name: {"type": type} for name, type in self.arguments.items()},
            "required": list(self.arguments),
        }
        return {"name": self.name, "description": self.description, "inputSchema": schema}

    def takes(self, arguments: Any) -> bool:
        """Whether these are the arguments that the listing asks for."""
        return (
            isinstance(arguments, dict)
            and arguments.keys() == self.arguments.keys()
            and all(
                isinstance(arguments[name], JSON_TYPES[type])
                for name, type in self.arguments.items()
            )
        )


async def echo(message: str) -> str:
    return message


async def add(a: float, b: float) -> str:
    if not math.isfinite(a + b):
        raise OverflowError("The sum is too large")
    return str(a + b)


async def wait(seconds: float) -> str:
    # TODO 8: All sessions share one event loop. No other session is served while this sleeps.
    # --- solution
    await asyncio.sleep(seconds)
    # --- starter
    # time.sleep(seconds)
    # --- end
    return f"Waited {seconds} s"


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say it back.", {"message": "string"}, echo),
        Tool("add", "Add two numbers.", {"a": "number", "b": "number"}, add),
        Tool("wait", "Wait a while.", {"seconds": "number"}, wait),
    )
}

# ---- The door: who may come in, and with how much -----------------------------------------


def own_hosts(request: Request) -> set[str]:
    """What the Host header may say: this machine's own names, with the port they came to."""
    port = request.scope["server"][1]
    allowed = os.environ.get("ALLOWED_HOSTS", "").split(",")
    return {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", *filter(None, allowed)}


def guard(request: Request) -> None:
    """Runs before every endpoint. Raises HTTPException for a request it does not let in."""
    # TODO 9: A page on the web can make its visitor's browser send requests to this server,
    # also under a name of its own. Refuse a Host that is not in own_hosts(request) with 421,
    # and an Origin other than http:// and one of these hosts with 403. No Origin at all is
    # fine: only browsers send it.
    # --- solution
    hosts = own_hosts(request)
    if request.headers.get("host") not in hosts:
        raise HTTPException(421, "Unknown Host")
    origin = request.headers.get("origin")
    if origin is not None and origin not in {f"http://{host}" for host in hosts}:
        raise HTTPException(403, "Unknown Origin")
    # --- end


async def read_body(request: Request) -> bytes:
    """The body of a POST. Raises HTTPException for one that we do not accept."""
    # TODO 10: A Content-Type other than application/json gets 415: a page may send the others
    # without asking. A body over MAX_BODY gets 413, while it is still coming in:
    # `async for piece in request.stream()`.
    # --- solution
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Content-Type must be application/json")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A message has at most {MAX_BODY} bytes")
    return bytes(body)
    # --- starter
    # return await request.body()
    # --- end


# ---- A reader that sleeps -----------------------------------------------------------------


def send(session: Session, event: bytes) -> None:
    """Queue an event for the session's stream."""
    # TODO 11: A reader that takes nothing must not fill the memory. If MAX_WAITING_EVENTS
    # events are waiting already, or if this one would bring their bytes over
    # MAX_WAITING_BYTES, close the session instead. (`session.waiting.qsize()` counts them.)
    # --- solution
    too_many = session.waiting.qsize() >= MAX_WAITING_EVENTS
    if too_many or session.waiting_bytes + len(event) > MAX_WAITING_BYTES:
        session.close()
        return
    # --- end
    session.waiting_bytes += len(event)
    session.waiting.put_nowait(event)


# ---- Leaving ------------------------------------------------------------------------------


def end_streams() -> None:
    """Called when Ctrl-C or SIGTERM comes, before uvicorn waits for all responses to end."""
    # TODO 12: A stream never ends by itself. End all of them: close every session.
    # --- solution
    for session in list(sessions.values()):
        session.close()
    # --- end


# ---- Starting. Nothing is missing from here on ---------------------------------------------


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Put `end_streams` in front of uvicorn's own signal handlers, and remove it at the end."""
    loop = asyncio.get_running_loop()
    uvicorns_own = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }

    def leave(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end_streams)
        handler = uvicorns_own[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in uvicorns_own:
        signal.signal(number, leave)
    yield
    for number, handler in uvicorns_own.items():
        signal.signal(number, handler)


app = FastAPI(dependencies=[Depends(guard)], openapi_url=None, lifespan=lifespan)
app.get("/sse")(open_stream)
app.post("/message")(receive_message)


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"status": "ok", "time": time.time(), "connections": len(sessions)}


def main() -> None:
    global heartbeat_seconds
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--heartbeat", type=float, default=15.0, metavar="SECONDS")
    arguments = parser.parse_args()
    heartbeat_seconds = arguments.heartbeat
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
    # uvicorn raises the signal once more when it is done. Stopping when told is no failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    url = f"http://{arguments.host}:{arguments.port}"
    print(f"Serving MCP on {url}/sse. In another terminal:\n  curl -N {url}/sse", flush=True)
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
