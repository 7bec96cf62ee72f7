"""Fixed: the time series are the same, however many clients come and whatever they send.

    uv run scripts/10_observability/labels_fixed.py

To find out which session it was, look in the log.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator

from json_rpc import RpcError, read_message
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from serving import lifespan, serve
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

METHODS = ("initialize", "notifications/initialized", "ping", "tools/list", "tools/call")
MESSAGES = Counter("mcp_messages", "Messages that came in.", ["method"])
sessions: set[str] = set()


async def events(session: str) -> AsyncIterator[dict[str, str]]:
    sessions.add(session)
    try:
        yield {"event": "endpoint", "data": f"/message?session_id={session}"}
        await asyncio.Event().wait()  # until the client leaves
    finally:
        sessions.remove(session)


async def open_stream(request: Request) -> Response:
    return EventSourceResponse(events(secrets.token_urlsafe(32)))


async def post_message(request: Request) -> Response:
    session = request.query_params.get("session_id", "")
    if session not in sessions:
        return PlainTextResponse("No such session: open GET /sse again\n", 404)
    try:
        message = read_message(await request.body())
    except RpcError as error:
        return JSONResponse(error.reply(), 400)
    method = message.get("method", "response")
    MESSAGES.labels(method if method in METHODS else "other").inc()
    return Response(status_code=202)


async def show_metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


routes = [
    Route("/sse", open_stream),
    Route("/message", post_message, methods=["POST"]),
    Route("/metrics", show_metrics),
]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        "curl -s {base}/metrics | wc",
        "uv run scripts/10_observability/clients.py {base} --clients 1000 --messages 1",
        "curl -s {base}/metrics | wc",
        port=8030,
    )
