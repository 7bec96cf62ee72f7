"""Broken: a traceback for every client that leaves. The endpoint returns None.

uv run scripts/06_sdk_server/no_response_broken.py
"""

import argparse

import uvicorn
from lowlevel_calculator import server, transport
from serving import prepare, url_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route


async def open_stream(request: Request) -> None:
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        await server.run(read, write, server.create_initialization_options())


app = Starlette(
    routes=[
        # The type checker knows it already: an endpoint returns a Response.
        Route("/sse", open_stream),  # pyright: ignore[reportArgumentType]
        Mount("/messages/", app=transport.handle_post_message),
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description="An endpoint that returns nothing.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  curl -m 1 -N {url}/sse", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
