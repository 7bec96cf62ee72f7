"""Broken: p95 says ten seconds. A stream's lifetime is counted as the latency of a request.

    uv run scripts/10_observability/latency_broken.py

Ready-made middleware does the same: it times each request from beginning to end.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from quantile import quantile
from serving import lifespan, serve
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

REQUEST_SECONDS = Histogram("http_request_seconds", "How long a request took.")


class Timed:
    """Measure the time of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            await self.app(scope, receive, send)
        finally:
            REQUEST_SECONDS.observe(time.perf_counter() - began)


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
