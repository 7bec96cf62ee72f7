"""Broken: the client POSTs to a path that is not there. The prefix is in it twice.

uv run scripts/06_sdk_server/prefix_twice_broken.py
"""

from door import allowed
from fastapi import FastAPI
from lowlevel_calculator import server
from mcp.server.sse import SseServerTransport
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

# It is told where it is mounted, and puts that prefix in front of this path.
transport = SseServerTransport("/calculator/messages/", allowed())


async def open_stream(request: Request) -> Response:
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return Response()


mcp_app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages/", app=transport.handle_post_message),
    ]
)
app = FastAPI()
app.mount("/calculator", mcp_app)


if __name__ == "__main__":
    serve(app, "curl -N {url}", port=8036, path="/calculator/sse")
