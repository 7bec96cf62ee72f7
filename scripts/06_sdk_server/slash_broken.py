"""Broken: each POST is sent twice, or is lost. The path in the endpoint event has no slash.

uv run scripts/06_sdk_server/slash_broken.py
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

# Mount serves what is below /messages/. For /messages it answers: ask there, 307.
transport = SseServerTransport("/messages", security)


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


def main() -> None:
    parser = argparse.ArgumentParser(description="A path without its slash.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  uv run workshop check 05 --url {url}/sse", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
