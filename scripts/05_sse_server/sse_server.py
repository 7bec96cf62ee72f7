"""An MCP server over HTTP+SSE, the transport written by hand.

A client opens `GET /sse` and keeps it open: on this stream the server talks. The
stream's first event says where the client talks back, with POST. Both speak
JSON-RPC 2.0, as the Model Context Protocol's revision 2024-11-05 has it.

    uv run scripts/05_sse_server/sse_server.py
"""

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import math
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

# Oldest first. HTTP+SSE is defined in this revision alone: the next one replaced it.
PROTOCOL_VERSIONS = ("2024-11-05",)
SERVER_INFO = {"name": "sse-server-by-hand", "version": "1.0.0"}

MAX_BODY = 4 * 1024 * 1024  # bytes of one POST
MAX_WAITING_EVENTS = 100  # for one session: what its reader has not taken yet
MAX_WAITING_BYTES = 2 * MAX_BODY  # and their bytes; a reply is hardly larger than its POST
SEND_SECONDS = 10.0  # a reader that takes nothing for so long is dropped
LINGER_SECONDS = 1.0  # so long may a refused client go on sending
VANISHED_SECONDS = 30  # a peer that acknowledges nothing for so long is gone


@dataclass
class Settings:
    """What the command line can change. Hosts and origins are header values in lower case."""

    heartbeat: float = 15.0
    heartbeat_style: str = "event"
    allowed_hosts: set[str] = field(default_factory=set[str])
    allowed_origins: set[str] = field(default_factory=set[str])


settings = Settings()

# --- JSON-RPC ---------------------------------------------------------------------------

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

Json = dict[str, Any]
RequestId = str | int


class RpcError(Exception):
    """What goes back instead of a result: a code that programs read, a text that people read.

    `request_id` is None as long as nobody could read the request's own id.
    """

    def __init__(self, code: int, text: str, request_id: RequestId | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.request_id = request_id

    def reply(self) -> Json:
        error = {"code": self.code, "message": self.text}
        return {"jsonrpc": "2.0", "id": self.request_id, "error": error}


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_message(body: bytes) -> Json:
    """The JSON-RPC message in `body`: a request, a notification or a response.

    Raises RpcError: -32700 when it is not JSON, -32600 when it is not JSON-RPC.
    """
    try:
        # Python's parser would also take UTF-16 and NaN; RFC 8259 has neither.
        message = json.loads(body.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"Not JSON: {error}") from error
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "A message is one JSON object; batches are not taken")

    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        if "id" in message:
            raise RpcError(INVALID_REQUEST, "An id is a string or an integer")
        request_id = None
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'A message says "jsonrpc": "2.0"', request_id)
    if "method" in message:
        well_formed = isinstance(message["method"], str)
    else:
        well_formed = "id" in message and ("result" in message) != ("error" in message)
    if not well_formed:
        raise RpcError(INVALID_REQUEST, "Neither a method nor a response", request_id)
    return message


def write_message(message: Json) -> bytes:
    """JSON in one line of UTF-8, so that it fits into one `data:` field."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A string may hold half of a surrogate pair, which UTF-8 cannot say. JSON can: \\ud800
    # is what backslashreplace makes of it, and what the client sent.
    return text.encode("utf-8", "backslashreplace")


# --- Tools ------------------------------------------------------------------------------


def is_string(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    # In Python True is an int, and 1e999 reads as infinity. Neither is a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


ARGUMENT_TYPES: dict[str, Callable[[object], bool]] = {
    "string": is_string,
    "number": is_number,
}


@dataclass(frozen=True)
class Tool:
    """A function and what a client must know to call it. Every argument is required."""

    name: str
    description: str
    arguments: dict[str, str]  # each one's name and its type in JSON Schema
    run: Callable[..., str]

    def listing(self) -> Json:
        schema = {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in self.arguments.items()},
            "required": list(self.arguments),
            "additionalProperties": False,
        }
        return {"name": self.name, "description": self.description, "inputSchema": schema}

    def check(self, given: object) -> Json:
        """The arguments, if they are what the listing promises. Raises RpcError."""
        if not isinstance(given, dict):
            raise RpcError(INVALID_PARAMS, "arguments must be an object")
        for name in given:
            if name not in self.arguments:
                raise RpcError(INVALID_PARAMS, f"{self.name} has no argument {name!r}")
        for name, kind in self.arguments.items():
            if name not in given:
                raise RpcError(INVALID_PARAMS, f"{self.name} needs the argument {name!r}")
            if not ARGUMENT_TYPES[kind](given[name]):
                raise RpcError(INVALID_PARAMS, f"The argument {name!r} must be a {kind}")
        return given


def echo(message: str) -> str:
    return message


def add(a: float, b: float) -> str:
    total = a + b
    if not is_number(total):
        raise ArithmeticError("the sum is too large")
    return str(total)


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say a message back.", {"message": "string"}, echo),
        Tool("add", "Add two numbers.", {"a": "number", "b": "number"}, add),
    )
}

# --- Sessions ---------------------------------------------------------------------------


class Session:
    """One client: its id, the events that wait for it, the task that sends them."""

    def __init__(self) -> None:
        # It is all that a client needs to speak in this session: nobody may guess it.
        self.id = secrets.token_urlsafe(32)
        self.initialized = False
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_EVENTS)
        self.waiting_bytes = 0
        self.sender: asyncio.Task[None] | None = None

    def send(self, event: bytes) -> None:
        """Queue an event. A reader for whom too much waits already is dropped instead."""
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

    def close(self) -> None:
        """From now on nobody finds this session, and its stream ends."""
        sessions.pop(self.id, None)
        if self.sender is not None:
            self.sender.cancel()


sessions: dict[str, Session] = {}
logger = logging.getLogger("uvicorn.error")

# --- The methods ------------------------------------------------------------------------


def initialize(params: Json, session: Session | None) -> Json:
    wanted = params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    if session is not None:
        session.initialized = True
    # The client's version if we speak it, else our latest: it may then leave, or agree.
    version = wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }


def ping(params: Json, session: Session | None) -> Json:
    return {}


def list_tools(params: Json, session: Session | None) -> Json:
    if "cursor" in params:
        raise RpcError(INVALID_PARAMS, "The list has one page: no cursor is valid")
    return {"tools": [tool.listing() for tool in TOOLS.values()]}


def call_tool(params: Json, session: Session | None) -> Json:
    name = params.get("name")
    if not isinstance(name, str) or name not in TOOLS:
        raise RpcError(INVALID_PARAMS, f"No tool is named {name!r}")
    arguments = TOOLS[name].check(params.get("arguments", {}))
    try:
        text, failed = TOOLS[name].run(**arguments), False
    except Exception as error:
        # The call was right and the tool failed: the model should read why and go on.
        text, failed = f"{name} failed: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


METHODS: dict[str, Callable[[Json, Session | None], Json]] = {
    "initialize": initialize,
    "ping": ping,
    "tools/list": list_tools,
    "tools/call": call_tool,
}
BEFORE_INITIALIZE = ("initialize", "ping")


def answer(message: Json, session: Session | None) -> Json | None:
    """The reply to a message, or None: notifications and responses get no reply."""
    if "method" not in message or "id" not in message:
        return None
    request_id, name, params = message["id"], message["method"], message.get("params", {})
    try:
        if name not in METHODS:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {name}")
        if not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, "params must be an object")
        if session and not session.initialized and name not in BEFORE_INITIALIZE:
            raise RpcError(INVALID_REQUEST, "The first request of a session is initialize")
        result = METHODS[name](params, session)
    except RpcError as error:
        error.request_id = request_id
        return error.reply()
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


# --- The event stream -------------------------------------------------------------------


def event(kind: str, data: bytes) -> bytes:
    """One event, whose data must be one line."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def heartbeat() -> bytes:
    """A sign of life: an event, which anyone can see, or a comment, which a parser skips."""
    if settings.heartbeat_style == "comment":
        return b": heartbeat\n\n"
    return event("heartbeat", write_message({"time": now()}))


STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # nginx, asked this way, passes each event on at once instead of collecting them.
    (b"x-accel-buffering", b"no"),
]
shutting_down = asyncio.Event()


class EventStream(Response):
    """The answer to GET /sse: it lasts as long as the client listens.

    The session begins and ends in `__call__`, whose `finally` surely runs. That of a
    generator would not, for a client that left before the first byte.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if shutting_down.is_set():
            await PlainTextResponse("Shutting down\n", 503)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})

        session = Session()
        sessions[session.id] = session
        # The path to POST to, as the client sees it: with the prefix that a proxy takes off.
        path = quote(scope.get("root_path", "").rstrip("/") + "/message")
        session.send(event("endpoint", f"{path}?session_id={session.id}".encode()))
        session.send(event("connected", write_message({"time": now()})))
        session.sender = asyncio.create_task(send_events(session, send))
        listener = asyncio.create_task(client_left(receive))
        try:
            await asyncio.wait((session.sender, listener), return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.close()
            listener.cancel()

        # If it was not the client who ended it, say that it is over.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await send({"type": "http.response.body", "body": b""})


async def send_events(session: Session, send: Send) -> None:
    """Send what waits, and a heartbeat whenever it is time for one."""
    next_heartbeat = asyncio.get_running_loop().time() + settings.heartbeat
    while True:
        try:
            async with asyncio.timeout_at(next_heartbeat):
                chunk = await session.next_event()
        except TimeoutError:
            chunk = heartbeat()
            next_heartbeat += settings.heartbeat
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


# --- The endpoints ----------------------------------------------------------------------

app = FastAPI(openapi_url=None, redirect_slashes=False)


@app.get("/sse")
async def open_stream() -> EventStream:
    return EventStream()


async def post_message(request: Request) -> Response:
    """Take one message. Its reply goes to the session's stream, or without one comes back."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != JSON_TYPE:
        return Refusal(415, f"Send Content-Type: {JSON_TYPE}\n")
    body = await read_body(request)
    if body is None:
        return Refusal(413, f"A message may have {MAX_BODY} bytes\n")

    session_id = request.query_params.get("session_id")
    session = None if session_id is None else sessions.get(session_id)
    if session is None and session_id is not None:
        return PlainTextResponse("No such session: open GET /sse again\n", 404)
    try:
        reply = answer(read_message(body), session)
    except RpcError as error:
        # Not a message at all. Only this response reaches the one who sent it: on the
        # stream an error without a usable id answers no request that anybody waits for.
        return Response(write_message(error.reply()) + b"\n", 400, media_type=JSON_TYPE)

    if reply is None:
        return Response(status_code=202)
    if session is None:
        return Response(write_message(reply) + b"\n", media_type=JSON_TYPE)
    session.send(event("message", write_message(reply)))
    return Response(status_code=202)


# A plain route. `@app.post` would resolve arguments and dependencies anew for each message;
# this function has none, and is called more often than all others.
app.add_route("/message", post_message, methods=["POST"])


@app.get("/health")
async def health() -> dict[str, str | int]:
    return {"status": "ok", "time": now(), "connections": len(sessions)}


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).parent / "index.html")


# --- Bodies, and what is refused --------------------------------------------------------

JSON_TYPE = "application/json"


async def read_body(request: Request) -> bytes | None:
    """The request's body, or None as soon as it grows over MAX_BODY."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return None
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody is there to read it
    except asyncio.CancelledError:
        # uvicorn, told to leave, cancels what is not done after a second.
        raise HTTPException(503) from None
    return bytes(body)


class Refusal(Response):
    """An answer to a client that is still sending.

    Closing a socket with bytes in it that nobody read resets the connection, and the
    reset overtakes the answer. So answer, and for a moment read on and throw away.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text, status, media_type="text/plain")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


class Guard:
    """Let a request in only under a name and from a page that we know.

    A web page may make its visitor's browser send requests to 127.0.0.1, directly or by
    a name of its own that points there. The browser says truly in Host and Origin which
    name it used and whose page asked. Programs other than browsers send no Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.check(scope["headers"]) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or not self.allows(hosts[0], settings.allowed_hosts):
            return Refusal(421, "This server has another Host: see --allow-host\n")
        if not all(self.allows(origin, settings.allowed_origins) for origin in origins):
            return Refusal(403, "Pages of this Origin may not come in: see --allow-origin\n")
        return None

    def allows(self, value: bytes, allowed: set[str]) -> bool:
        return value.decode("latin-1").lower() in allowed


app.add_middleware(Guard)


def let_pages_read(origins: set[str]) -> None:
    """Let pages of other origins read what they are answered: CORS, the Fetch standard's.

    Guard decides who comes in. That alone does not help a page of another origin: its
    browser hides each answer that does not name this origin, and asks with OPTIONS before
    it sends JSON.
    """
    # Added after Guard, it stands in front of it: such a page can also read a refusal.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        # The TypeScript SDK sends the second one, also from a page.
        allow_headers=["Content-Type", "MCP-Protocol-Version"],
    )


# --- Running ----------------------------------------------------------------------------


# Made of httptools; where that is missing, of h11, which has no on_headers_complete and
# no need of one.
HttpProtocol: Any = AutoHTTPProtocol


class Connection(HttpProtocol):
    """uvicorn's own, but nothing may follow GET /sse on its connection.

    A request that follows waits for the stream's end. uvicorn tells of a client that left
    only the last request it sent: the stream would never learn of it, and stay for ever.
    """

    def on_headers_complete(self) -> None:
        answering = self.cycle and not self.cycle.response_complete
        if answering and self.cycle.scope["path"].endswith("/sse"):
            raise ValueError("A request behind an open stream")  # uvicorn closes: 400
        super().on_headers_complete()


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Told twice, uvicorn would no longer end things in order. It is done in 2 s anyway.
        if not self.should_exit:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits until all responses are complete. A stream never is: end them.
        shutting_down.set()
        for session in list(sessions.values()):
            session.close()
        await super().shutdown(sockets)


def hide_session_ids(record: logging.LogRecord) -> bool:
    """For uvicorn's access log: who reads a log must not be able to speak in a session."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            # Every value: a name may be written %73ession_id as well.
            re.sub("=[^&]+", "=…", value) if isinstance(value, str) else value
            for value in record.args
        )
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on host and port. Leaves the program when that is impossible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: else the system's own time, longer
            timeout = VANISHED_SECONDS * 1000
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
        listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is in use. Choose another: --port {port + 1}")
        sys.exit(f"Cannot listen on {host}, port {port}: {error}")
    return listener


def main() -> None:
    parser = argparse.ArgumentParser(description="An MCP server over HTTP+SSE.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--heartbeat", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--heartbeat-style", choices=("event", "comment"), default="event")
    parser.add_argument("--root-path", default="", help="the prefix that a proxy takes off")
    parser.add_argument("--allow-host", action="append", default=[], metavar="HOST[:PORT]")
    parser.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN")
    arguments = parser.parse_args()
    if not arguments.heartbeat > 0:
        parser.error("--heartbeat must be more than 0 seconds")
    if not 0 <= arguments.port <= 65535:
        parser.error("--port must be between 0 and 65535")
    for origin in arguments.allow_origin:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^/*\s]+", origin):
            parser.error(f"{origin!r} is no origin. One looks like http://localhost:8007")

    listener = listen(arguments.host, arguments.port)
    port = listener.getsockname()[1]
    # A server that listens on all addresses has none of its own to show: any local one does.
    host: str = arguments.host
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{name}]" if ":" in name else name
    own_hosts = [f"{own}:{port}" for own in ("127.0.0.1", "localhost", "[::1]", name)]
    settings.heartbeat = arguments.heartbeat
    settings.heartbeat_style = arguments.heartbeat_style
    settings.allowed_hosts = {host.lower() for host in own_hosts + arguments.allow_host}
    settings.allowed_origins = {f"http://{host}".lower() for host in own_hosts}
    if arguments.allow_origin:
        settings.allowed_origins |= {origin.lower() for origin in arguments.allow_origin}
        let_pages_read(settings.allowed_origins)

    print(f"Serving MCP on http://{name}:{port}/sse. In another terminal:", flush=True)
    print(f"  curl -N http://{name}:{port}/sse", flush=True)

    config = uvicorn.Config(
        app,
        http=Connection,
        root_path=arguments.root_path,
        log_level="info",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    logging.getLogger("uvicorn.access").addFilter(hide_session_ids)
    # After a clean end uvicorn raises the signal once more, for the handler that was there
    # before its own. That is this one: to be told to leave, and to leave, is no failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
