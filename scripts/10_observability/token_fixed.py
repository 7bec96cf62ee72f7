"""Fixed: the log identifies a session by a hash, which nobody can use.

    uv run scripts/10_observability/token_fixed.py

A filter removes the query, with the session's id, from uvicorn's lines.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import AsyncIterator

import serving
from serving import serve
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

log = logging.getLogger("server")
sessions: set[str] = set()


async def events(session: str) -> AsyncIterator[dict[str, str]]:
    sessions.add(session)
    try:
        yield {"event": "endpoint", "data": f"/message?session_id={session}"}
        await asyncio.Event().wait()  # until the client leaves
    finally:
        sessions.remove(session)


async def open_stream(request: Request) -> Response:
    session = secrets.token_urlsafe(32)
    log.info("stream opened: session=%s", short_hash(session))
    return EventSourceResponse(events(session))


async def post_message(request: Request) -> Response:
    if request.query_params.get("session_id") not in sessions:
        return PlainTextResponse("No such session: open GET /sse again\n", 404)
    return Response(status_code=202)


def short_hash(secret: str) -> str:
    """The same secret has the same hash, so lines can be compared without the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def hide_query(record: logging.LogRecord) -> bool:
    """For uvicorn's access log, where a line's arguments are client, method, URL, …"""
    if isinstance(record.args, tuple):
        record.args = tuple(
            re.sub(r"\?.*", "?…", value) if isinstance(value, str) else value
            for value in record.args
        )
    return True


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with serving.lifespan(app):
        logging.getLogger("uvicorn.access").addFilter(hide_query)
        yield


routes = [
    Route("/sse", open_stream),
    Route("/message", post_message, methods=["POST"]),
]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        'curl -N -m 1 {url} -H "Authorization: Bearer your-secret-token"',
        'curl -d {{}} "{base}/message?session_id=your-secret-session"',
        port=8030,
    )
