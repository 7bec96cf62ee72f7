"""What is done around every request: an id, its time, and an answer if something breaks."""

import secrets
import time
from typing import Any

from events import write_message
from log import log
from metrics import request_seconds
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

INTERNAL_ERROR = -32603  # JSON-RPC 2.0, section 5.1
METHODS = ("GET", "POST")
PATHS = ("/sse", "/message", "/health", "/ready", "/metrics", "/dashboard")


class Observe:
    """Pure ASGI: Starlette's `BaseHTTPMiddleware` sees an answer begin, but not end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        clear_contextvars()
        bind_contextvars(request=secrets.token_hex(8))
        # These come from outside: an unknown one must not get into a label or the log.
        method = scope["method"] if scope["method"] in METHODS else "other"
        # Behind a prefix (`--root-path`) the path is what follows it.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        path = path if path in PATHS else "other"
        status = 0
        is_stream = False

        async def send_and_look(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = (b"content-type", b"text/event-stream") in message["headers"]
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, send_and_look)
        except Exception:
            log.exception("request failed", method=method, path=path)
            if status:
                raise  # the answer has begun: it can only be cut off
            body = write_message(internal_error(None, "Internal error")) + b"\n"
            answer = Response(body, 500, media_type="application/json")
            await answer(scope, receive, send_and_look)
        finally:
            # A stream lasts as long as its client listens. That says nothing about how fast
            # the server is, and it would hide what the other requests say.
            if not is_stream:
                took = time.perf_counter() - began
                request_seconds(method, path, str(status)).observe(took)


def internal_error(message_id: Any, text: str) -> dict[str, Any]:
    """What a client may know about a failure: the id to find it by in the log."""
    data = {"request": get_contextvars().get("request")}
    error = {"code": INTERNAL_ERROR, "message": text, "data": data}
    return {"jsonrpc": "2.0", "id": message_id, "error": error}
