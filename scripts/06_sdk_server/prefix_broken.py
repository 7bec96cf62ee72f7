"""Broken: the client POSTs to a path that is not there. Nobody told the transport its prefix.

uv run scripts/06_sdk_server/prefix_broken.py
"""

from door import allowed
from lowlevel_calculator import server
from mcp.server.sse import SseServerTransport
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

transport = SseServerTransport("/messages/", allowed())


async def open_stream(request: Request) -> Response:
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return Response()


# The prefix is part of each path here. The endpoint event says /messages/ all the same.
app = Starlette(
    routes=[
        Route("/calculator/sse", open_stream),
        Mount("/calculator/messages/", app=transport.handle_post_message),
    ]
)


if __name__ == "__main__":
    serve(app, "curl -N {url}", port=8036, path="/calculator/sse")
