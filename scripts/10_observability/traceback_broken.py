"""Broken: a tool fails, and its client reads the traceback: paths, code, and a password.

    uv run scripts/10_observability/traceback_broken.py

This is handy during development, and then somebody forgets to remove it.
"""

import logging
import traceback

from json_rpc import Json, RpcError, read_message
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

INTERNAL_ERROR = -32603  # JSON-RPC 2.0, section 5.1
DATABASE = "postgresql://mcp:hunter2@db.example.com/notes"

log = logging.getLogger("server")


def call_tool(message: Json) -> Json:
    """What the tool returns. This one never does."""
    raise ConnectionError(f"cannot reach {DATABASE}")


async def say_how(request: Request) -> Response:
    return PlainTextResponse("POST a message to /message\n")


async def post_message(request: Request) -> Response:
    """The reply comes at once, without a stream, so that curl can show it."""
    try:
        message = read_message(await request.body())
    except RpcError as error:
        return JSONResponse(error.reply(), 400)
    try:
        reply = call_tool(message)
    except Exception as error:
        reply = internal_error(message, error)
    return JSONResponse(reply)


def internal_error(message: Json, error: Exception) -> Json:
    details = {"code": INTERNAL_ERROR, "message": str(error), "data": traceback.format_exc()}
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": details}


routes = [Route("/", say_how), Route("/message", post_message, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        """curl {url} -d '{{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}}'""",
        port=8030,
        path="/message",
    )
