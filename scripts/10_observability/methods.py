"""The methods of MCP that this server has, and how a message is answered: a reply, or none."""

from dataclasses import dataclass

from json_rpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Json, RpcError
from tools import call_tool, list_tools

# Oldest first. HTTP+SSE is defined in this revision alone: the next one replaced it.
PROTOCOL_VERSIONS = ("2024-11-05",)
SERVER_INFO = {"name": "sse-server-by-hand", "version": "1.0.0"}


@dataclass
class Client:
    """What the methods remember of a client from one message to the next."""

    initialized: bool = False


async def answer(message: Json, client: Client | None) -> Json | None:
    """The reply to a message, or None: notifications and responses get no reply.

    Without a client nothing is remembered, and every method is answered at any time.
    """
    if "method" not in message or "id" not in message:
        return None
    try:
        result = await call_method(message["method"], message.get("params", {}), client)
    except RpcError as error:
        error.request_id = message["id"]
        return error.reply()
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def call_method(name: str, params: object, client: Client | None) -> Json:
    """The result of a method. Raises RpcError."""
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object")
    match name:
        case "initialize":
            return initialize(params, client)
        case "ping":
            return {}
        case "tools/list" | "tools/call" if client and not client.initialized:
            raise RpcError(INVALID_REQUEST, "The first request of a session is initialize")
        case "tools/list":
            return list_tools(params)
        case "tools/call":
            return await call_tool(params)
        case _:
            # Silence would be worse. A newer client asks `server/discover` first, and learns
            # from this reply at once that it has to `initialize`.
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {name}")


def initialize(params: Json, client: Client | None) -> Json:
    """The server's half of the handshake (MCP 2024-11-05, lifecycle)."""
    # For people with curl: without a session, the version may be left out.
    unsaid = PROTOCOL_VERSIONS[-1] if client is None else None
    wanted = params.get("protocolVersion", unsaid)
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    if client is not None:
        client.initialized = True
    # The client's version if we speak it, else our latest: the client may then agree or leave.
    version = wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1]
    return {
        "protocolVersion": version,
        "capabilities": {"tools": {}},
        "serverInfo": SERVER_INFO,
    }
