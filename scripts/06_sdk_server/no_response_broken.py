"""Broken: a traceback for every client that leaves. The endpoint returns None.

uv run scripts/06_sdk_server/no_response_broken.py
"""

from lowlevel_calculator import server, transport
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route


async def open_stream(request: Request) -> None:
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())


app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages/", app=transport.handle_post_message),
    ]
)


if __name__ == "__main__":
    serve(app, "curl -m 1 -N {url}", port=8036)
