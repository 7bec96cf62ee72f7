"""Fixed: p95 says how long a client waits for an answer. Streams have their own histogram.

    uv run scripts/10_observability/latency_fixed.py

Its buckets go up to a day. The default ones end at ten seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from quantile import quantile
from serving import lifespan, serve
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_SECONDS = Histogram("http_request_seconds", "How long a request took.")
MINUTE, HOUR = 60, 3_600
STREAM_SECONDS = Histogram(
    "stream_seconds",
    "How long a stream was open.",
    buckets=(1, 10, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR),
)


class Timed:
    """Measure the time of each request, or the lifetime of each stream."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        histogram = REQUEST_SECONDS

        async def look_and_send(message: Message) -> None:
            nonlocal histogram
            if message["type"] == "http.response.start" and is_stream(message):
                histogram = STREAM_SECONDS
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, look_and_send)
        finally:
            histogram.observe(time.perf_counter() - began)


def is_stream(message: Message) -> bool:
    """Whether this begins an answer that lasts as long as its client listens."""
    headers = Headers(raw=message["headers"])
    return headers.get("content-type", "").startswith("text/event-stream")


async def events() -> AsyncIterator[dict[str, str]]:
    yield {"event": "endpoint", "data": "/message"}
    await asyncio.Event().wait()  # until the client leaves


async def open_stream(request: Request) -> Response:
    return EventSourceResponse(events())


async def post_message(request: Request) -> Response:
    return Response(status_code=202)


async def show_quantiles(request: Request) -> Response:
    p50, p95 = (1000 * quantile(q, REQUEST_SECONDS) for q in (0.5, 0.95))
    return PlainTextResponse(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms\n")


async def show_metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


routes = [
    Route("/sse", open_stream),
    Route("/message", post_message, methods=["POST"]),
    Route("/p95", show_quantiles),
    Route("/metrics", show_metrics),
]
app = Starlette(routes=routes, middleware=[Middleware(Timed)], lifespan=lifespan)

if __name__ == "__main__":
    serve(
        app,
        "uv run scripts/10_observability/clients.py {base} --seconds 11",
        "curl {base}/p95",
        port=8030,
    )
