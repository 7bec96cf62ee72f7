"""Broken: each POST is sent twice, or is lost. The path in the endpoint event has no slash.

uv run scripts/06_sdk_server/slash_broken.py
"""

from door import allowed
from lowlevel_calculator import server
from mcp.server.sse import SseServerTransport
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

# Mount serves what is below /messages/. For /messages it answers 307: ask there.
transport = SseServerTransport("/messages", allowed())


async def open_stream(request: Request) -> Response:
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return Response()


app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages", app=transport.handle_post_message),
    ]
)


if __name__ == "__main__":
    serve(app, "uv run workshop check 05 --url {url}", port=8036)
