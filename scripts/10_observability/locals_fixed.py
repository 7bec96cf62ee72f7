"""Fixed: the log says where it failed, without the values of the variables there.

    uv run scripts/10_observability/locals_fixed.py

Those are often what clients send: messages, tokens, passwords.
"""

import contextlib
import sys
from collections.abc import AsyncIterator

import structlog
from json_rpc import Json, RpcError, read_message
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from structlog.tracebacks import ExceptionDictTransformer

INTERNAL_ERROR = -32603  # JSON-RPC 2.0, section 5.1

log = structlog.get_logger()


def configure_log() -> None:
    """One line of JSON per event, with the traceback in it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def log_in(user: str, password: str) -> Json:
    raise ConnectionError("the database does not answer")


async def post_message(request: Request) -> Response:
    """The reply comes at once, without a stream, so that curl can show it."""
    try:
        message = read_message(await request.body())
    except RpcError as error:
        return JSONResponse(error.reply(), 400)
    try:
        reply = log_in("ada", "hunter2")
    except Exception:
        log.exception("call failed")
        details = {"code": INTERNAL_ERROR, "message": "Internal error"}
        reply = {"jsonrpc": "2.0", "id": message.get("id"), "error": details}
    return JSONResponse(reply)


async def say_how(request: Request) -> Response:
    return PlainTextResponse("POST a message to /message\n")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    configure_log()
    yield


routes = [Route("/", say_how), Route("/message", post_message, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        """curl {url} -d '{{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}}'""",
        port=8030,
        path="/message",
    )
