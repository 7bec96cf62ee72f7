"""Fixed: heartbeats keep a stream alive, and an age limit in our code ends it.

    uv run scripts/10_observability/keep_alive_fixed.py

The client opens another one, after the time in `retry`.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from serving import lifespan, serve
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEARTBEAT = 1  # seconds: less than any time limit on silence along the way
MAX_AGE = 5  # seconds


async def events() -> AsyncIterator[dict[str, str | int]]:
    ends = time.monotonic() + MAX_AGE
    yield {"event": "endpoint", "data": "/message"}
    while time.monotonic() < ends:
        await asyncio.sleep(HEARTBEAT)
        yield {"comment": "heartbeat"}
    yield {"retry": 1000}


async def open_stream(request: Request) -> Response:
    return EventSourceResponse(events())


app = Starlette(routes=[Route("/sse", open_stream)], lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        "curl -N -m 7 {url}",
        "uv run scripts/10_observability/idle_proxy.py --silence 2",
        port=8030,
    )
