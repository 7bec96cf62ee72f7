"""An MCP server by hand: JSON-RPC over stdin and stdout, one message a line.

A client starts this program and talks to it through two pipes:

    uv run scripts/04_stdio_server/stdio_client.py

The transport is the same in every revision of MCP. The handshake that is spoken
over it here, `initialize`, stands in every revision up to 2025-11-25.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from types import FrameType
from typing import Any, BinaryIO, NoReturn

JSON = dict[str, Any]

# The revisions this server speaks, oldest first. 2025-03-26 is left out on purpose:
# it is the one that obliges a server to take several messages in one JSON array.
PROTOCOL_VERSIONS = ("2024-11-05", "2025-06-18", "2025-11-25")

SERVER_INFO = {"name": "stdio-server", "version": "1.0.0"}

# A line longer than this is refused, so that no client can fill our memory.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

# JSON-RPC 2.0, section 5.1.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

TOOLS: list[JSON] = [
    {
        "name": "add",
        "description": "Add two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
    {
        "name": "echo",
        "description": "Give the message back as it came.",
        "inputSchema": {
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        },
    },
]


# --- JSON-RPC: from a message to its reply. Nothing here knows about pipes. ----------------


class RpcError(Exception):
    """A request that cannot be answered with a result: its code and message go back."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def handle_body(body: bytes) -> JSON | None:
    """The response to one message, or None when it wants none. Never raises."""
    try:
        message = parse_json(body)
    except RpcError as error:
        return reply_with_error(None, error)
    return handle_message(message)


def parse_json(body: bytes) -> Any:
    """The JSON value in `body`. Raises RpcError -32700 when there is none."""
    try:
        # Decode first: json.loads would take UTF-16 too, and MCP is UTF-8 only.
        return json.loads(body.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        # RecursionError: brackets in brackets, a hundred thousand deep.
        reason = str(error) or "nested too deeply"
        raise RpcError(PARSE_ERROR, f"Parse error: {reason}") from error


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity: Python's parser takes them, JSON has no such thing."""
    raise ValueError(f"{name} is not JSON")


def handle_message(message: Any) -> JSON | None:
    """The response to one parsed message, or None when it wants none."""
    if isinstance(message, dict) and "id" not in message and "method" in message:
        # A notification: its sender waits for nothing, so even an unknown one gets no
        # error. `notifications/initialized` is one, and there is nothing to do for it.
        return None
    if isinstance(message, dict) and ("result" in message or "error" in message):
        return None  # a response, though this server asks nothing: it is for nobody
    request_id = request_id_of(message)
    try:
        method, params = check_request(message)
        return reply_with_result(request_id, handle_request(method, params))
    except RpcError as error:
        return reply_with_error(request_id, error)


def request_id_of(message: Any) -> str | int | None:
    """The id to answer with: a string or an integer, or None when there is none to find."""
    value = message.get("id") if isinstance(message, dict) else None
    # To Python True is an integer; to JSON it is not.
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def check_request(message: Any) -> tuple[str, JSON]:
    """The method and the params of a request. Raises RpcError."""
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "Invalid request: a message is one JSON object")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid request: "jsonrpc" must be "2.0"')
    if not isinstance(message.get("method"), str):
        raise RpcError(INVALID_REQUEST, 'Invalid request: "method" must be a string')
    if request_id_of(message) is None:
        raise RpcError(INVALID_REQUEST, 'Invalid request: "id" must be a string or an integer')
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, 'Invalid params: "params" must be an object')
    return message["method"], params


def reply_with_result(request_id: str | int | None, result: JSON) -> JSON:
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def reply_with_error(request_id: str | int | None, error: RpcError) -> JSON:
    """The response that carries an error. The id is None when the request's is unknown."""
    body = {"code": error.code, "message": error.message}
    return {"jsonrpc": "2.0", "id": request_id, "error": body}


# --- MCP: what each method answers. ---------------------------------------------------------


def handle_request(method: str, params: JSON) -> JSON:
    """The result of one request. Raises RpcError."""
    if method == "initialize":
        return initialize(params)
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call_tool(params)
    # Never stay silent. Newer clients ask `server/discover` before they initialize, and
    # this answer is how they learn that they have an older server before them.
    raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")


def initialize(params: JSON) -> JSON:
    """Agree on a revision and say who we are and what we can do.

    MCP 2024-11-05 to 2025-11-25, "Version Negotiation": the client's revision if we
    speak it, else the newest we do speak. Then it is the client's turn to stay or leave.
    """
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, 'Invalid params: "protocolVersion" must be a string')
    return {
        "protocolVersion": asked if asked in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1],
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }


def call_tool(params: JSON) -> JSON:
    """Run a tool. A tool that fails gives a result with `isError`; the call itself was fine."""
    name = params.get("name")
    arguments = params.get("arguments", {})
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, 'Invalid params: "arguments" must be an object')
    if name == "add":
        a, b = argument_number(arguments, "a"), argument_number(arguments, "b")
        try:
            return tool_result(add(a, b))
        except (ArithmeticError, ValueError) as error:
            return tool_result(f"add failed: {error}", is_error=True)
    if name == "echo":
        return tool_result(argument_string(arguments, "message"))
    raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")


def add(a: int | float, b: int | float) -> str:
    """The sum as text. Raises OverflowError when it is too large for a number."""
    total = a + b
    if not math.isfinite(total):
        raise OverflowError("the sum is too large")
    return str(total)


def tool_result(text: str, *, is_error: bool = False) -> JSON:
    """What a tool gives back: a list of content, here one piece of text."""
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def argument_number(arguments: JSON, name: str) -> int | float:
    """The argument called `name`, a number. Raises RpcError -32602."""
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RpcError(INVALID_PARAMS, f'Invalid params: "{name}" must be a number')
    return value


def argument_string(arguments: JSON, name: str) -> str:
    """The argument called `name`, a string. Raises RpcError -32602."""
    value = arguments.get(name)
    if not isinstance(value, str):
        raise RpcError(INVALID_PARAMS, f'Invalid params: "{name}" must be a string')
    return value


# --- The transport: one message a line, in on stdin and out on stdout. ----------------------


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> int:
    """Answer every message until `incoming` ends. Returns how many came."""
    count = 0
    while line := read_line(incoming):
        if line.isspace():
            continue  # a bare Enter at a terminal is no message
        count += 1
        if len(line) > MAX_MESSAGE_BYTES:
            too_long = f"Invalid request: a message has at most {MAX_MESSAGE_BYTES} bytes"
            response = reply_with_error(None, RpcError(INVALID_REQUEST, too_long))
        else:
            response = handle_body(line.strip())
        if response is not None:
            write_message(outgoing, response)
    return count


def read_line(incoming: BinaryIO) -> bytes:
    """The next line, b"" at the end. Of a line that is too long, only its beginning."""
    line = incoming.readline(MAX_MESSAGE_BYTES + 1)
    rest = line
    while len(line) > MAX_MESSAGE_BYTES and rest and not rest.endswith(b"\n"):
        rest = incoming.readline(65_536)  # read past it, keep none of it
    return line


def write_message(outgoing: BinaryIO, message: JSON) -> None:
    """Send one message as one line, now.

    json.dumps writes no line break, and only ASCII: a line break inside a string goes
    out as the two characters backslash and n. We write bytes, so that Windows does not
    turn the line's end into two. And without `flush` the line would wait in our
    buffer, and the client would wait for the line.
    """
    outgoing.write(json.dumps(message).encode("ascii") + b"\n")
    outgoing.flush()


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
    print(f"stdio_server[{os.getpid()}]: {text}", file=sys.stderr, flush=True)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """On Ctrl-C or SIGTERM: leave at once, and not as if something had gone wrong."""
    raise SystemExit(0)


def main() -> None:
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    incoming, outgoing = take_the_wire()
    log("ready: one JSON-RPC message a line on stdin, Ctrl-D to end")
    try:
        count = serve(incoming, outgoing)
        log(f"stdin ended after {count} messages, leaving")
    except BrokenPipeError:
        # The client has gone, and nobody is left to tell. No more is written, not even
        # what Python itself would on its way out.
        os._exit(0)


if __name__ == "__main__":
    main()
