"""Broken: the client POSTs to a path that is not there. Nobody told the transport the prefix.

uv run scripts/06_sdk_server/prefix_broken.py
"""

import argparse

import uvicorn
from lowlevel_calculator import security, server
from mcp.server.sse import SseServerTransport
from serving import prepare, url_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

transport = SseServerTransport("/messages/", security)


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


def main() -> None:
    parser = argparse.ArgumentParser(description="The prefix, said to the routes only.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/calculator/sse. In another terminal:", flush=True)
    print(f"  curl -N {url}/calculator/sse", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
