"""Broken: a traceback for every client that leaves. BaseHTTPMiddleware does not suit a stream.

uv run scripts/06_sdk_server/middleware_broken.py
"""

from calculator import create_app
from serving import serve
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response


class Signature(BaseHTTPMiddleware):
    """Add a header to each response."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-served-by"] = "lesson 06"
        return response


app = create_app()
app.add_middleware(Signature)


if __name__ == "__main__":
    serve(app, "curl -i -m 1 -N {url}", port=8036)
