"""Broken: a traceback for every client that leaves. BaseHTTPMiddleware does not suit a stream.

uv run scripts/06_sdk_server/middleware_broken.py
"""

import argparse

import uvicorn
from calculator import server
from serving import prepare, url_of
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response


class Signature(BaseHTTPMiddleware):
    """Add a header to each response."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "lesson 06"
        return response


app = server.sse_app()
app.add_middleware(Signature)


def main() -> None:
    parser = argparse.ArgumentParser(description="A middleware around a stream.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  curl -i -m 1 -N {url}/sse", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
