"""The Python SDK's SseServerTransport, mounted by hand: guarded only when it is told to."""

from __future__ import annotations

import argparse

import mcp_types as types
import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route


async def list_tools(
    ctx: ServerRequestContext, params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[types.Tool(name="nothing", input_schema={"type": "object"})]
    )


async def call_tool(
    ctx: ServerRequestContext, params: types.CallToolRequestParams
) -> types.CallToolResult:
    raise ValueError(f"No such tool: {params.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--guarded", action="store_true")
    arguments = parser.parse_args()
    host = f"127.0.0.1:{arguments.port}"
    settings = TransportSecuritySettings(
        allowed_hosts=[host], allowed_origins=[f"http://{host}"]
    )
    server = Server("low-level", on_list_tools=list_tools, on_call_tool=call_tool)
    transport = SseServerTransport("/messages/", settings if arguments.guarded else None)

    async def open_stream(request: Request) -> Response:
        async with transport.connect_sse(
            request.scope, request.receive, request._send
        ) as streams:
            await server.run(*streams, server.create_initialization_options())
        return Response()

    app = Starlette(
        routes=[
            Route("/sse", open_stream),
            Mount("/messages/", app=transport.handle_post_message),
        ]
    )
    uvicorn.run(app, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
