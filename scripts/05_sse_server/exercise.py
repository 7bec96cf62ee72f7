"""Lesson 05, the exercise: an MCP server over HTTP+SSE, with holes to fill.

Fill the TODOs from 1 to 7. After each one, see how far you are:

    uv run workshop check 05
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import math
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

Message = dict[str, Any]

PROTOCOL_VERSION = "2024-11-05"
MAX_BODY = 4 * 1024 * 1024  # bytes

PARSE_ERROR = -32700  # the codes of JSON-RPC 2.0, section 5.1
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

# ---- Sessions: one for each open stream ---------------------------------------------------


class Session:
    """One client: its id, and the messages that wait for its stream. None ends the stream."""

    def __init__(self) -> None:
        # TODO 1: Give the session an id that nobody can guess: who knows it can speak in
        # this session. Then, in `events`, tell the client where to POST. That is the first
        # event, `endpoint`; its data is the path, /message?session_id=…, and nothing else.
        self.id = "1"
        self.outbox: asyncio.Queue[Message | None] = asyncio.Queue()


sessions: dict[str, Session] = {}
heartbeat_seconds = 15.0


def encode_event(event: str, data: str) -> bytes:
    """One event as its bytes. `data` is one line."""
    return f"event: {event}\ndata: {data}\n\n".encode()


async def events(session: Session) -> AsyncIterator[bytes]:
    """What goes out on the session's stream, event by event."""
    yield encode_event("connected", "hello")

    # TODO 2: Take message after message from the session's outbox, and send each as an
    # event `message` whose data is JSON in one line. When None comes, the stream ends. When
    # nothing comes for `heartbeat_seconds`, send a comment, so that no proxy takes the
    # connection for dead. `async with asyncio.timeout(…)` raises TimeoutError.
    await asyncio.Event().wait()  # open, and silent for ever


# ---- POST: a message comes in, its reply goes out on the stream ---------------------------


async def post_message(request: Request) -> Response:
    """Take one message. `read_body`, `read_message` and `answer` stand further down."""

    async def reply_on_stream(session: Session, message: Message) -> None:
        reply = await answer(message)
        if reply is not None:
            session.outbox.put_nowait(reply)

    # TODO 3: Find the session that the query parameter `session_id` names; 404 when there is
    # none. Read the message. Then answer 202 at once: `in_background` runs reply_on_stream
    # meanwhile, for this session and no other. A message that can't be read gets no reply
    # on the stream, but an answer here: 400, with error.reply() as JSON.
    return Response("Accepted\n", 202)


background: set[asyncio.Task[None]] = set()


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` beside everything else. The set keeps it from being collected as garbage."""
    task = asyncio.create_task(work)
    background.add(task)
    task.add_done_callback(background.discard)


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


async def answer(message: Message) -> Message | None:
    """The reply to a message, or None when it gets none."""
    # TODO 4: A message without an id is a notification and gets no reply. A request gets one
    # with its own id, exactly as it came, and the result of `call_method`; or, when that
    # raises RpcError, error.reply(…) with the request's id.
    return {"jsonrpc": "2.0", "id": 1, "result": {}}


async def call_method(method: str, params: Any) -> Message:
    """The result of a method. Raises RpcError."""
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object")
    match method:
        case "initialize":
            # The answer names the revision we speak. A client that can't, leaves.
            return {
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "sse-exercise", "version": "1.0.0"},
            }
        case "ping":
            return {}
        case "tools/list":
            return {"tools": [tool.listing() for tool in TOOLS.values()]}
        case "tools/call":
            return await call_tool(params)
        # Still TODO 4: every other method gets METHOD_NOT_FOUND. A newer client asks for
        # `server/discover` first, and waits ten seconds for a server that stays silent.
        case _:
            return {}


def read_message(body: bytes) -> Message:
    """The request or notification in `body`. Raises RpcError."""
    # TODO 5: What is not JSON gets PARSE_ERROR. What is JSON but not JSON-RPC gets
    # INVALID_REQUEST: a message is an object with "jsonrpc": "2.0" and a "method" that is a
    # string. Then, in `call_tool`: no such tool, or wrong arguments, is INVALID_PARAMS, but
    # a tool that fails gives a result with isError. And mend `wait`, at the end.
    return json.loads(body)


# ---- Tools --------------------------------------------------------------------------------


async def call_tool(params: Message) -> Message:
    """The result of tools/call. Raises RpcError for a call that can't be made."""
    tool = TOOLS.get(str(params.get("name")))
    arguments = params.get("arguments", {})
    assert tool is not None
    text, failed = await tool.run(**arguments), False
    return {"content": [{"type": "text", "text": text}], "isError": failed}


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
    # Still TODO 5: all sessions share one event loop. Nobody else is served while it sleeps.
    time.sleep(seconds)
    return f"Waited {seconds} s"


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say it back.", {"message": "string"}, echo),
        Tool("add", "Add two numbers.", {"a": "number", "b": "number"}, add),
        Tool("wait", "Wait a while.", {"seconds": "number"}, wait),
    )
}

# ---- Who may come in, and with how much ---------------------------------------------------

allowed_hosts: set[str] = set()  # what the Host header may say; `main` fills it


def guard(request: Request) -> None:
    """Runs before every endpoint. Raises HTTPException for a request that may not come in."""
    # TODO 6: A page on the web can make its visitor's browser send requests to this server,
    # also under a name of its own. Refuse a Host that is not in allowed_hosts with 421, and
    # an Origin other than http:// and one of these hosts with 403. No Origin at all is fine:
    # only browsers send it. Then `read_body`.


async def read_body(request: Request) -> bytes:
    """The body of a POST. Raises HTTPException for one that we don't take."""
    # Still TODO 6: a Content-Type other than application/json gets 415: a page may send the
    # others without being asked. A body over MAX_BODY gets 413, and that while it comes in:
    # `async for piece in request.stream()`.
    return await request.body()


# ---- The endpoints, and the end -----------------------------------------------------------

app = FastAPI(dependencies=[Depends(guard)], openapi_url=None)
app.post("/message")(post_message)


@app.get("/sse")
async def open_stream() -> StreamingResponse:
    return StreamingResponse(
        session_events(Session()),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def session_events(session: Session) -> AsyncIterator[bytes]:
    """The session's events. While they are sent, POST finds the session."""
    sessions[session.id] = session
    # TODO 7: However the stream ends, take the session out of `sessions` again. Then, in
    # `handle_exit`, end all open streams: uvicorn waits for them before it leaves.
    async for event in events(session):
        yield event


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"status": "ok", "time": time.time(), "connections": len(sessions)}


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for Ctrl-C and SIGTERM."""
        self.should_exit = True


def main() -> None:
    global heartbeat_seconds
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--heartbeat", type=float, default=15.0, metavar="SECONDS")
    arguments = parser.parse_args()
    heartbeat_seconds = arguments.heartbeat
    for name in ("127.0.0.1", "localhost"):
        allowed_hosts.add(f"{name}:{arguments.port}")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((arguments.host, arguments.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {arguments.port} is in use. Choose another: --port 8082")
    url = f"http://{arguments.host}:{arguments.port}"
    print(f"Serving MCP on {url}/sse. In another terminal:\n  curl -N {url}/sse", flush=True)
    Server(uvicorn.Config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
