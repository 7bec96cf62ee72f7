"""An MCP server by hand: JSON-RPC over stdin and stdout, one message a line.

A client starts this program and talks to it through two pipes:

    uv run scripts/04_stdio_server/stdio_client.py

The transport is the same in every revision of MCP. The handshake that is spoken
over it here, `initialize`, stands in every revision up to 2025-11-25.
"""

import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, BinaryIO, NoReturn

# Oldest first. 2025-03-26 is left out on purpose: it is the one revision that obliges a
# server to take several messages in one JSON array.
PROTOCOL_VERSIONS = ("2024-11-05", "2025-06-18", "2025-11-25")
SERVER_INFO = {"name": "stdio-server-by-hand", "version": "1.0.0"}

MAX_LINE = 4 * 1024 * 1024  # bytes of one message

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
    """JSON in one line, and its end.

    A line break inside a string becomes a backslash and an n. All that is not ASCII is
    escaped too: some readers also end a line at U+2028.
    """
    return json.dumps(message).encode("ascii") + b"\n"


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

# --- The methods ------------------------------------------------------------------------


@dataclass
class Session:
    """What the server knows of its client. Over stdio there is one: who started us."""

    initialized: bool = False
    messages: int = 0


def initialize(params: Json, session: Session) -> Json:
    wanted = params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    session.initialized = True
    # The client's version if we speak it, else our latest: it may then leave, or agree.
    version = wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }


def ping(params: Json, session: Session) -> Json:
    return {}


def list_tools(params: Json, session: Session) -> Json:
    if "cursor" in params:
        raise RpcError(INVALID_PARAMS, "The list has one page: no cursor is valid")
    return {"tools": [tool.listing() for tool in TOOLS.values()]}


def call_tool(params: Json, session: Session) -> Json:
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


METHODS: dict[str, Callable[[Json, Session], Json]] = {
    "initialize": initialize,
    "ping": ping,
    "tools/list": list_tools,
    "tools/call": call_tool,
}
BEFORE_INITIALIZE = ("initialize", "ping")


def answer(message: Json, session: Session) -> Json | None:
    """The reply to a message, or None: notifications and responses get no reply."""
    if "method" not in message or "id" not in message:
        return None
    request_id, name, params = message["id"], message["method"], message.get("params", {})
    try:
        if name not in METHODS:
            # Silence would be worse. A newer client asks `server/discover` first, and
            # learns from this reply at once that it has to `initialize`.
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {name}")
        if not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, "params must be an object")
        if not session.initialized and name not in BEFORE_INITIALIZE:
            raise RpcError(INVALID_REQUEST, "The first request of a session is initialize")
        result = METHODS[name](params, session)
    except RpcError as error:
        error.request_id = request_id
        return error.reply()
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


# --- The transport: a message a line, in on stdin and out on stdout ---------------------


def serve(incoming: BinaryIO, outgoing: BinaryIO, session: Session) -> None:
    """Answer one message after the other, until `incoming` ends."""
    while line := read_line(incoming):
        if line.isspace():
            continue  # a bare Enter at a terminal is no message
        session.messages += 1
        try:
            if len(line) > MAX_LINE:
                raise RpcError(INVALID_REQUEST, f"A message has at most {MAX_LINE} bytes")
            reply = answer(read_message(line.strip()), session)
        except RpcError as error:
            reply = error.reply()
        if reply is not None:
            outgoing.write(write_message(reply))
            # Or it would wait in our buffer, and the client would wait for it.
            outgoing.flush()


def read_line(incoming: BinaryIO) -> bytes:
    """The next line, b"" at the end. Of a line that is too long, only its beginning."""
    line = rest = incoming.readline(MAX_LINE + 1)
    while len(line) > MAX_LINE and rest and not rest.endswith(b"\n"):
        rest = incoming.readline(65_536)  # read past it, keep none of it
    return line


def take_the_wire() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for the protocol alone.

    We move both to numbers of our own. Whatever else in this process, or in a program
    that a tool starts, reads stdin then finds it empty; what it prints goes to stderr.
    """
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return incoming, outgoing


def log(text: str) -> None:
    """Tell a person something. Stderr is free for that; stdout belongs to the protocol."""
    with contextlib.suppress(OSError):  # a client need not read it, and a disk may be full
        print(f"stdio_server[{os.getpid()}]: {text}", file=sys.stderr, flush=True)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """On Ctrl-C or SIGTERM: leave at once, and not as if something had gone wrong."""
    raise SystemExit(0)


def main() -> None:
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    session = Session()
    try:
        incoming, outgoing = take_the_wire()
        log("ready: one JSON-RPC message a line, Ctrl-D to end")
        serve(incoming, outgoing, session)
        log(f"stdin ended, messages read: {session.messages}")
    except BrokenPipeError:
        # The client has gone, and nobody is left to tell. No more is written, not even
        # what Python itself would on its way out.
        os._exit(0)
    except OSError as error:
        log(f"stdin or stdout cannot be used: {error.strerror}")
        os._exit(1)


if __name__ == "__main__":
    main()
