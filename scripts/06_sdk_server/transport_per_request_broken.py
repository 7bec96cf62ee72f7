"""Broken: no POST finds its session. Each request makes its own transport.

uv run scripts/06_sdk_server/transport_per_request_broken.py
"""

from door import allowed
from lowlevel_calculator import server
from mcp.server.sse import SseServerTransport
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send


async def open_stream(request: Request) -> Response:
    transport = SseServerTransport("/messages/", allowed())
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return Response()


async def post_message(scope: Scope, receive: Receive, send: Send) -> None:
    # This one has never seen a session.
    transport = SseServerTransport("/messages/", allowed())
    await transport.handle_post_message(scope, receive, send)


app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages/", app=post_message),
    ]
)


if __name__ == "__main__":
    serve(app, "uv run workshop check 05 --url {url}", port=8036)
