"""Broken: anyone who reads the log can use the tokens and sessions in it.

    uv run scripts/10_observability/token_broken.py

One line is ours, with all headers. The other is uvicorn's, with the complete URL.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator

from serving import lifespan, serve
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
    log.info("stream opened: session=%s headers=%s", session, dict(request.headers))
    return EventSourceResponse(events(session))


async def post_message(request: Request) -> Response:
    if request.query_params.get("session_id") not in sessions:
        return PlainTextResponse("No such session: open GET /sse again\n", 404)
    return Response(status_code=202)


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
