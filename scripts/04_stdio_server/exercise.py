"""Exercise 04: make a silent server answer the handshake, and then everything else.

It reads JSON-RPC messages from stdin and answers on stdout. Talk to it with

    uv run scripts/04_stdio_server/stdio_client.py --timeout 1 work/04_stdio_server/exercise.py
"""

import json
import signal
import sys
from typing import Any, BinaryIO

PROTOCOL_VERSIONS = ("2024-11-05", "2025-06-18", "2025-11-25")  # oldest first
SERVER_INFO = {"name": "exercise-04", "version": "1.0.0"}

TOOLS = [
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
        "description": "Say a message back.",
        "inputSchema": {
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        },
    },
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

Json = dict[str, Any]


class RpcError(Exception):
    """What goes back instead of a result: a code for programs and a message for people."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer messages until the client closes our stdin."""
    # TODO 1: Read one line at a time and `send` the reply that `reply_to` makes of it, if
    # that is not None. The client waits for each answer before it goes on: answer a line
    # as it arrives, not when all of them have arrived. When there are no more lines, return.
    incoming.read()


def send(message: Json, outgoing: BinaryIO) -> None:
    """Send one message."""
    # TODO 2: One message is one line: no line break inside, one at the end. And it must
    # leave now, not when the buffer is full.
    outgoing.write(json.dumps(message, indent=2).encode("utf-8"))


def initialize(params: Json) -> Json:
    """The server's half of the handshake."""
    # TODO 3: Return `protocolVersion`, `capabilities` and `serverInfo`. An empty object
    # `tools` in the capabilities says that we have tools. The version is the one that the
    # client asks for if it is in PROTOCOL_VERSIONS, otherwise the newest of those.
    return {}


def reply_to(line: bytes) -> Json | None:
    """The reply to one message, or None if it gets no reply."""
    request_id = None
    try:
        message = read_message(line)
        # TODO 4: The reply carries the id of its request as it came: 7 stays a number and
        # "7" a string. A message without an id is a notification: it gets no reply at all.
        request_id = 1
        result = result_of(message["method"], message.get("params", {}))
    except RpcError as error:
        body = {"code": error.code, "message": error.text}
        return {"jsonrpc": "2.0", "id": request_id, "error": body}
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def list_tools() -> Json:
    # TODO 5: The result is an object. Its key `tools` holds the list TOOLS.
    return {}


def call_tool(params: Json) -> Json:
    # TODO 6: Run the tool `name` with its `arguments`. The result is an object whose
    # `content` is a list with one item: {"type": "text", "text": "5"}. If there is no such
    # tool, or an argument is missing, raise RpcError with INVALID_PARAMS.
    return {}


def result_of(method: str, params: Json) -> Json:
    """The result of one request. Raises RpcError."""
    if method == "ping":
        return {}
    if method == "initialize":
        return initialize(params)
    if method == "tools/list":
        return list_tools()
    if method == "tools/call":
        return call_tool(params)
    # TODO 7: There is no such method: raise RpcError with METHOD_NOT_FOUND. Newer clients
    # try one before they initialize, and wait for the answer.
    return {}


def read_message(line: bytes) -> Json:
    """The message in a line. Raises RpcError if the line is not a message."""
    # TODO 8: Bytes that are not JSON must not end the server: raise RpcError with
    # PARSE_ERROR. If it is JSON, but not an object whose `method` is a string, raise
    # RpcError with INVALID_REQUEST.
    return json.loads(line)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    serve(sys.stdin.buffer, sys.stdout.buffer)
