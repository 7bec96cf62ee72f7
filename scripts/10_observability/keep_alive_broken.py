"""Broken: `timeout_keep_alive` neither keeps a stream alive nor ends it.

    uv run scripts/10_observability/keep_alive_broken.py

It limits how long a connection may be idle between requests. A stream is one long request.
"""

import asyncio
from collections.abc import AsyncIterator

import uvicorn
from serving import begin, lifespan
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEEP_ALIVE = 3  # seconds


async def events() -> AsyncIterator[dict[str, str]]:
    yield {"event": "endpoint", "data": "/message"}
    await asyncio.Event().wait()  # until the client leaves


async def open_stream(request: Request) -> Response:
    return EventSourceResponse(events())


app = Starlette(routes=[Route("/sse", open_stream)], lifespan=lifespan)

if __name__ == "__main__":
    host, port = begin(
        "curl -N -m 7 {url}",
        "uv run scripts/10_observability/idle_proxy.py --silence 2",
        port=8030,
    )
    uvicorn.run(
        app,
        host=host,
        port=port,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
