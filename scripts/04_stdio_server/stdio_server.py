"""An MCP server by hand: JSON-RPC over stdin and stdout, one message per line.

A client starts this program and talks to it through two pipes:

    uv run scripts/04_stdio_server/stdio_client.py

`json_rpc.py` says what a message is, `tools.py` what the tools do. This file has the
handshake, as in every revision of MCP up to 2025-11-25, and the transport, which is the
same in all of them.
"""

import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any, BinaryIO, NoReturn

from json_rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Json,
    RpcError,
    read_message,
)
from tools import call_tool, list_tools

# Oldest first. 2025-03-26 is left out on purpose: it is the only revision in which a
# server must also accept several messages in one JSON array.
PROTOCOL_VERSIONS = ("2024-11-05", "2025-06-18", "2025-11-25")
SERVER_INFO = {"name": "stdio-server-by-hand", "version": "1.0.0"}

MAX_LINE = 4 * 1024 * 1024  # bytes of one message


@dataclass
class Session:
    """What the server knows about its client. Over stdio there is only one."""

    initialized: bool = False
    messages: int = 0


def initialize(params: Json, session: Session) -> Json:
    wanted = params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    session.initialized = True
    # The client's version if we speak it, otherwise our newest: it may agree, or leave.
    version = wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }


def result_of(method: str, params: Any, session: Session) -> Json:
    """The result of one request. Raises RpcError."""
    match method:
        case "initialize" | "ping" | "tools/list" | "tools/call" if type(params) is not dict:
            raise RpcError(INVALID_PARAMS, "params must be an object")
        case "tools/list" | "tools/call" if not session.initialized:
            raise RpcError(INVALID_REQUEST, "The first request of a session is initialize")
        case "initialize":
            return initialize(params, session)
        case "ping":
            return {}
        case "tools/list":
            return list_tools(params)
        case "tools/call":
            return call_tool(params)
        case _:
            # Silence would be worse. A newer client sends `server/discover` first, and this
            # reply tells it at once that it has to `initialize`.
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")


def answer(message: Json, session: Session) -> Json | None:
    """The reply to a message, or None: notifications and responses get no reply."""
    if "method" not in message or "id" not in message:
        return None
    request_id = message["id"]
    try:
        result = result_of(message["method"], message.get("params", {}), session)
    except RpcError as error:
        error.request_id = request_id
        return error.reply()
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def write_message(message: Json) -> bytes:
    """JSON on one line, with its line end.

    A line break inside a string becomes a backslash and an n. Everything that is not ASCII
    is escaped too: some readers also end a line at U+2028.
    """
    return json.dumps(message).encode("ascii") + b"\n"


def read_line(incoming: BinaryIO) -> bytes:
    """The next line, or b"" at the end. If a line is too long, only its beginning."""
    line = rest = incoming.readline(MAX_LINE + 1)
    while len(line) > MAX_LINE and rest and not rest.endswith(b"\n"):
        rest = incoming.readline(65_536)  # read past it and keep nothing
    return line


def serve(incoming: BinaryIO, outgoing: BinaryIO, session: Session) -> None:
    """Answer one message after another, until `incoming` ends."""
    while line := read_line(incoming):
        if line.isspace():
            continue  # a bare Enter at a terminal is not a message
        session.messages += 1
        try:
            if len(line) > MAX_LINE:
                raise RpcError(INVALID_REQUEST, f"A message has at most {MAX_LINE} bytes")
            reply = answer(read_message(line.strip()), session)
        except RpcError as error:
            reply = error.reply()
        if reply is not None:
            outgoing.write(write_message(reply))
            # Without this the reply waits in our buffer, and the client waits for the reply.
            outgoing.flush()


def take_the_wire() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the protocol alone.

    Both move to file descriptors that nothing else knows. Any other code in this process,
    or a program that a tool starts, then finds stdin empty, and its prints go to stderr.
    """
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return incoming, outgoing


def log(text: str) -> None:
    """Tell a person something. Stderr is free for that; stdout belongs to the protocol."""
    with contextlib.suppress(OSError):  # the client may not read it, the disk may be full
        print(f"stdio_server[{os.getpid()}]: {text}", file=sys.stderr, flush=True)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """On Ctrl-C or SIGTERM: exit at once, with the status of a normal end."""
    raise SystemExit(0)


def main() -> None:
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    session = Session()
    try:
        incoming, outgoing = take_the_wire()
        log("ready: one JSON-RPC message per line, Ctrl-D to end")
        serve(incoming, outgoing, session)
        log(f"stdin ended, messages read: {session.messages}")
    except BrokenPipeError:
        # The client has gone and there is nobody left to tell. Write no more, not even what
        # Python itself would write on its way out.
        os._exit(0)
    except OSError as error:
        log(f"stdin or stdout cannot be used: {error.strerror}")
        os._exit(1)


if __name__ == "__main__":
    main()
