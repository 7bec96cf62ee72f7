"""Lesson 09, the exercise: a server that works and is open to everybody. Close its holes.

Do the TODOs in order, each where the lesson says so. The checks are attacks. After each TODO,
see which of them still succeed:

    uv run workshop check 09
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import os
import re
import secrets
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

Message = dict[str, Any]

HEARTBEAT_SECONDS = 15.0
MAX_BODY = 4 * 1024 * 1024  # bytes of one POST
BODY_SECONDS = 10.0  # for all of it
MAX_WAITING = 10  # events of one session that its reader has not taken yet
MAX_STREAMS = 5  # that one principal may have open at once
RATE = parse("130 per 10 seconds")  # requests of one principal: messages and new streams
NOTES = Path(os.environ.get("NOTES") or "scripts/09_security/notes")

# ---- Who is it? ---------------------------------------------------------------------------


def read_tokens() -> dict[str, str]:
    """From MCP_TOKENS=alice:TOKEN,bob:TOKEN: the token of each name. Or one for this run."""
    given = os.environ.get("MCP_TOKENS") or f"me:{secrets.token_urlsafe(32)}"
    entries = (entry.strip().partition(":") for entry in given.split(","))
    return {name: token for name, _, token in entries}


TOKENS = read_tokens()


def principal_of(request: Request) -> str:
    """The name of the principal that sends this request. Raises HTTPException."""
    # TODO 1: A request needs a header `Authorization: Bearer TOKEN` with one of TOKENS. Return
    # the name that the token belongs to. Answer any other request with 401 and a header
    # `WWW-Authenticate: Bearer`. Compare bytes, with secrets.compare_digest: `==` takes longer
    # the more of a token is right, and compare_digest takes a string only if it is ASCII.
    # (`headers=` of HTTPException is a dict.)
    # --- solution
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    for name, token in TOKENS.items():
        right = secrets.compare_digest(given.strip().encode(), token.encode())
        if right and scheme.lower() == "bearer":
            return name
    raise HTTPException(401, "Send your token", headers={"WWW-Authenticate": "Bearer"})
    # --- starter
    # return "everybody"
    # --- end


# ---- Whose session is it? -----------------------------------------------------------------


class Session:
    """One client: its id, its principal, and the events that wait for its stream."""

    def __init__(self, principal: str) -> None:
        # TODO 2: Give the session an id that nobody can guess.
        # --- solution
        self.id = secrets.token_urlsafe(32)
        # --- starter
        # self.id = str(len(sessions) + 1)
        # --- end
        self.principal = principal
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue()  # None ends the stream
        sessions[self.id] = self

    def close(self) -> None:
        """From now on POST does not find this session, and its stream ends."""
        sessions.pop(self.id, None)
        while not self.waiting.empty():
            self.waiting.get_nowait()  # nobody will read it any more
        self.waiting.put_nowait(None)


sessions: dict[str, Session] = {}


def session_of_post(session_id: str, principal: str) -> Session:
    """The session that a message is for. Raises HTTPException."""
    session = sessions.get(session_id)
    # TODO 3: An id may be found in a log, or read over a shoulder. For anyone but the principal
    # who opened the session, it must look like an id that does not exist: the same 404.
    # --- solution
    if session is None or session.principal != principal:
        raise HTTPException(404, "No such session: open GET /sse again")
    # --- starter
    # if session is None:
    #     raise HTTPException(404, "No such session: open GET /sse again")
    # --- end
    return session


def session_of_stream(session_id: str, principal: str) -> Session:
    """The session that a new stream carries."""
    # (TODO 3) And an id that comes from outside must not reopen a session: if a session has two
    # readers, each gets only some of its events. A new stream gets a new session.
    # --- solution
    return Session(principal)
    # --- starter
    # # A client that has lost its connection continues its session.
    # return sessions.get(session_id) or Session(principal)
    # --- end


# ---- Whose answer is it? ------------------------------------------------------------------


async def reply_on_stream(message: Message, session: Session) -> None:
    """Answer a message that came in this session."""
    # TODO 4: `asked_by` finds the session for a reply by the id of its request. But each client
    # counts its requests from 1. Send the reply to the session that the message came in. Then
    # `asked_by`, below, is not needed any more.
    # --- solution
    reply = await answer(message)
    if reply is not None:
        send(session, encode_event("message", json.dumps(reply)))
    # --- starter
    # asked_by[message.get("id")] = session
    # reply = await answer(message)
    # if reply is not None:
    #     send(asked_by[reply["id"]], encode_event("message", json.dumps(reply)))
    # --- end


asked_by: dict[Any, Session] = {}  # the session of each request id: needed only until TODO 4
background: set[asyncio.Task[None]] = set()


def in_background(message: Message, session: Session) -> None:
    """Answer the message, however long that takes."""
    task = asyncio.create_task(reply_on_stream(message, session))
    # The event loop does not keep a task alive: we have to hold a reference.
    background.add(task)
    task.add_done_callback(background.discard)


# ---- Where does it come from? -------------------------------------------------------------


def own_hosts(request: Request) -> set[str]:
    """What the Host header may say: this machine's own names, with the port they came to."""
    port = request.scope["server"][1]
    return {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}


def guard(request: Request) -> None:
    """Runs before every endpoint. Raises HTTPException for a request it does not let in."""
    # TODO 5: A page on the web can make its visitor's browser send requests to this server,
    # even under the page's own name. Refuse a Host that is not in own_hosts(request) with 421.
    # Refuse an Origin other than http:// and one of these hosts with 403. A request without an
    # Origin is fine: only browsers send one.
    # --- solution
    hosts = own_hosts(request)
    if request.headers.get("host") not in hosts:
        raise HTTPException(421, "Unknown Host")
    origin = request.headers.get("origin")
    if origin is not None and origin not in {f"http://{host}" for host in hosts}:
        raise HTTPException(403, "Unknown Origin")
    # --- end


def expect_json(request: Request) -> None:
    """Raises HTTPException for a POST with another Content-Type."""
    # TODO 6: A page may send text/plain to any server, and the browser does not ask the server
    # first. For application/json it does ask. Refuse every other Content-Type with 415. What
    # comes after a semicolon does not matter.
    # --- solution
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise HTTPException(415, "Send Content-Type: application/json")
    # --- end


# ---- What goes out ------------------------------------------------------------------------


def encode_event(kind: str, data: str, event_id: str = "") -> bytes:
    """One event as bytes. Raises ValueError for an id that would end its line."""
    # TODO 7: A line ends with CR LF, with CR or with LF, and what comes next is another field.
    # Data may have such line ends: give each of its lines its own `data:`. An id may not: raise
    # ValueError if it has CR, LF or NUL in it. (str.splitlines splits at more characters.)
    # --- solution
    if re.search("[\r\n\0]", event_id):
        raise ValueError("an id is one line, without NUL")
    lines = [f"data: {line}" for line in re.split("\r\n|\r|\n", data)]
    # --- starter
    # lines = [f"data: {data}"]
    # --- end
    if event_id:
        lines.insert(0, f"id: {event_id}")
    return "\n".join([f"event: {kind}", *lines, "\n"]).encode()


async def events(session: Session, greeting: bytes) -> AsyncIterator[bytes]:
    """What goes out on the session's stream, event by event."""
    yield encode_event("endpoint", f"/message?session_id={session.id}")
    yield greeting
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                event = await session.waiting.get()
        except TimeoutError:
            yield b": heartbeat\n\n"
            continue
        if event is None:
            return
        yield event


# ---- How much? ----------------------------------------------------------------------------


async def read_body(request: Request) -> bytes:
    """The body of a POST. Raises HTTPException for one that is too long."""
    # TODO 8: A body need not say how long it will be, and it need not end. Count while it comes
    # in, with `async for piece in request.stream()`, and refuse one over MAX_BODY with 413.
    # --- solution
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A message has at most {MAX_BODY} bytes")
    return bytes(body)
    # --- starter
    # return await request.body()
    # --- end


def send(session: Session, event: bytes) -> None:
    """Queue an event for the session's stream."""
    # TODO 9: A client that asks and never reads must not fill the memory. If MAX_WAITING events
    # are already waiting (`session.waiting.qsize()`), close the session instead.
    # --- solution
    if session.waiting.qsize() >= MAX_WAITING:
        session.close()
        return
    # --- end
    session.waiting.put_nowait(event)


class EventStream(StreamingResponse):
    """The answer to GET /sse: it lasts as long as its client listens."""

    media_type = "text/event-stream"

    def __init__(self, session: Session, greeting: bytes) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events(session, greeting), headers=headers)
        self.session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # (TODO 9) Nor must a client that opens a stream and leaves, again and again. However
        # the stream ends, close its session. Do that here, not in `events`: if a client leaves
        # before the first byte, the generator never starts, and its `finally` never runs.
        # --- solution
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.session.close()
        # --- starter
        # await super().__call__(scope, receive, send)
        # --- end


def limit_streams(principal: str) -> None:
    """Raises HTTPException if this principal may not open one more stream now."""
    # TODO 10: Each open stream has its session in `sessions`. A principal who already has
    # MAX_STREAMS of them gets 429 with a header `Retry-After: 1`. Others must not notice.
    # --- solution
    is_open = [session for session in sessions.values() if session.principal == principal]
    if len(is_open) >= MAX_STREAMS:
        raise HTTPException(429, "Too many streams", headers={"Retry-After": "1"})
    # --- end


window = MovingWindowRateLimiter(MemoryStorage())


def limit_requests(principal: str) -> None:
    """Raises HTTPException if this principal may not make one more request now."""
    # (TODO 10) A principal who has made as many requests as RATE allows gets the same answer.
    # `window.hit(RATE, principal)` counts one more, and returns whether there was room for it.
    # --- solution
    if not window.hit(RATE, principal):
        raise HTTPException(429, "Too many requests", headers={"Retry-After": "1"})
    # --- end


# ---- What the log knows -------------------------------------------------------------------


def hide_secrets(record: logging.LogRecord) -> bool:
    """Runs before a line of the access log is written. False would leave the line out."""
    # TODO 11: The log shows each request with its whole URL, and so the id of each session.
    # Replace every value in a query with "…": what comes after a "=", up to the next "&".
    # `record.args` is a tuple; its strings are the client, the method, the URL and the version
    # of HTTP. Don't look for names: `%73ession_id` is `session_id`, too.
    # --- solution
    if isinstance(record.args, tuple):
        record.args = tuple(
            re.sub("=[^&]+", "=…", value) if isinstance(value, str) else value
            for value in record.args
        )
    # --- end
    return True


# ---- What a tool may do -------------------------------------------------------------------


def note_path(name: str) -> Path:
    """The file of a note. Raises ValueError for a name that leads out of the folder NOTES."""
    # TODO 12: `..`, an absolute path and a symbolic link all lead out of the folder. Find the
    # file that is really meant (Path.resolve), and check that it is in the folder
    # (Path.is_relative_to). Don't compare strings: "/notes-private" begins with "/notes".
    # --- solution
    path = (NOTES / name).resolve()
    if not path.is_relative_to(NOTES.resolve()):
        raise ValueError("There is no such note")
    return path
    # --- starter
    # return NOTES / name
    # --- end


async def count_lines(name: str) -> str:
    """What `wc -l` prints about a note."""
    note_path(name)
    # TODO 13: A shell reads the name as part of a command. Start `wc` without a shell:
    # asyncio.create_subprocess_exec takes the program and each argument separately. A name that
    # begins with a dash is an option, unless `--` comes before it.
    # --- solution
    counting = await asyncio.create_subprocess_exec(
        *("wc", "-l", "--", name), cwd=NOTES, stdout=PIPE, stderr=STDOUT
    )
    # --- starter
    # counting = await asyncio.create_subprocess_shell(
    #     f"wc -l {name}", cwd=NOTES, stdout=PIPE, stderr=STDOUT
    # )
    # --- end
    printed = (await counting.communicate())[0]
    return printed.decode("utf-8", "replace")


# ---- The server. Nothing is missing from here on ------------------------------------------


async def open_stream(request: Request) -> Response:
    """The answer to GET /sse."""
    principal = principal_of(request)
    limit_requests(principal)
    limit_streams(principal)
    client = request.query_params.get("client", "you")
    note = NOTES / "welcome.txt"
    welcome = note.read_bytes().decode("utf-8", "replace") if note.is_file() else "Welcome."
    try:
        greeting = encode_event(
            "connected", f"Hello, {client}. You are {principal}.\n{welcome}", f"{client}-1"
        )
    except ValueError as error:
        raise HTTPException(400, f"In ?client=: {error}") from error
    session = session_of_stream(request.query_params.get("session_id", ""), principal)
    return EventStream(session, greeting)


async def receive_message(request: Request) -> Response:
    """The answer to POST /message. The reply goes out on the session's stream."""
    principal = principal_of(request)
    limit_requests(principal)
    expect_json(request)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await read_body(request)
    except TimeoutError as error:
        raise HTTPException(408, "Too slow", headers={"Connection": "close"}) from error
    except ClientDisconnect as error:
        raise HTTPException(400) from error  # nobody is there to read it
    session = session_of_post(request.query_params.get("session_id", ""), principal)
    try:
        message = json.loads(body)
    except ValueError as error:
        raise HTTPException(400, "Not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        raise HTTPException(400, "Not a message of JSON-RPC")
    in_background(message, session)
    return Response(status_code=202)


async def answer(message: Message) -> Message | None:
    """The reply to a message, or None if it is a notification."""
    if "id" not in message:
        return None
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    match message["method"]:
        case "initialize":
            result = {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "guarded-exercise", "version": "1.0.0"},
            }
        case "ping":
            result = {}
        case "tools/list":
            result = {"tools": [listing(name) for name in TOOLS]}
        case "tools/call":
            result = await call_tool(message.get("params"))
        case method:
            return reply | {"error": {"code": -32601, "message": f"Not found: {method}"}}
    return reply | {"result": result}


def listing(name: str) -> Message:
    argument, kind = TOOLS[name][:2]
    schema = {"type": "object", "properties": {argument: {"type": kind}}}
    return {"name": name, "inputSchema": schema | {"required": [argument]}}


async def call_tool(params: Any) -> Message:
    try:
        argument, _, run = TOOLS[params["name"]]
        text, failed = await run(params["arguments"][argument]), False
    except ValueError as error:
        text, failed = str(error), True
    except Exception as error:
        # Nobody wrote its text for strangers: it may hold a path.
        text, failed = f"The tool failed: {type(error).__name__}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


async def echo(message: str) -> str:
    return message


async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"Waited {seconds} s"


async def read_note(name: str) -> str:
    return note_path(name).read_text(encoding="utf-8")


# Each tool takes one argument: its name, and its type in JSON.
TOOLS: dict[str, tuple[str, str, Callable[..., Awaitable[str]]]] = {
    "echo": ("message", "string", echo),
    "wait": ("seconds", "number", wait),
    "read_note": ("name", "string", read_note),
    "count_lines": ("name", "string", count_lines),
}


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """From before the first request to after the last one."""
    if "MCP_TOKENS" not in os.environ:
        print(f"MCP_TOKENS is not set. The token for this run: {TOKENS['me']}", flush=True)
    logging.getLogger("uvicorn.access").addFilter(hide_secrets)
    loop = asyncio.get_running_loop()
    uvicorns_own = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }

    def end_streams() -> None:
        for session in list(sessions.values()):
            session.close()

    def leave(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end_streams)  # uvicorn waits for all responses to end
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
async def health() -> dict[str, str]:
    return {"status": "ok"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8009)
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
    # When uvicorn is done it raises the signal again. Stopping when told to is not a failure.
    for told_to_leave in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_leave, lambda *_: sys.exit(0))
    url = f"http://{arguments.host}:{arguments.port}"
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f'  curl -N -H "Authorization: Bearer $TOKEN" {url}/sse', flush=True)
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
