"""The calculator on the low-level `Server`: the protocol's types, and the transport, by hand.

uv run scripts/06_sdk_server/lowlevel_calculator.py
"""

import argparse
import math
import operator
from typing import Any

import uvicorn
from jsonschema import Draft202012Validator
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from serving import prepare, url_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

NUMBER = {"type": "number"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": NUMBER, "b": NUMBER},
    "required": ["a", "b"],
    "additionalProperties": False,
}
validator = Draft202012Validator(SCHEMA)

TOOLS = {
    "add": ("Add two numbers.", operator.add),
    "subtract": ("Subtract b from a.", operator.sub),
    "multiply": ("Multiply two numbers.", operator.mul),
    "divide": ("Divide a by b.", operator.truediv),
}


async def list_tools(
    ctx: ServerRequestContext, params: PaginatedRequestParams | None
) -> ListToolsResult:
    return ListToolsResult(
        tools=[
            Tool(name=name, description=description, input_schema=SCHEMA)
            for name, (description, _) in TOOLS.items()
        ]
    )


async def call_tool(ctx: ServerRequestContext, params: CallToolRequestParams) -> CallToolResult:
    if params.name not in TOOLS:
        raise MCPError(INVALID_PARAMS, f"No tool is named {params.name!r}")
    arguments = params.arguments or {}
    # Nobody has compared them with the schema: on this level that is your work.
    wrong = next(validator.iter_errors(arguments), None)
    if wrong is not None:
        raise MCPError(INVALID_PARAMS, f"{params.name}: {wrong.message}")
    try:
        text, failed = str(calculate(params.name, arguments["a"], arguments["b"])), False
    except ArithmeticError as error:
        text, failed = f"{params.name} failed: {error}", True
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=failed)


def calculate(name: str, a: float, b: float) -> float:
    result = TOOLS[name][1](a, b)
    if not math.isfinite(result):
        raise ArithmeticError("the result is too large")
    return result


server = Server("calculator", version="1.0.0", on_list_tools=list_tools, on_call_tool=call_tool)


# Without these the transport looks at no Host and no Origin. `*` is any port.
security = TransportSecuritySettings(
    allowed_hosts=["127.0.0.1:*", "localhost:*"],
    allowed_origins=["http://127.0.0.1:*", "http://localhost:*"],
)
# One transport as long as the app lives: it knows every session. GET adds one, POST
# looks one up.
transport = SseServerTransport("/messages/", security)


async def open_stream(request: Request) -> Response:
    # Request keeps its `send` private: Starlette's endpoints return what to send.
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        # Here is the stream, from its first byte to its last.
        await server.run(read, write, server.create_initialization_options())
    # All is sent. But Starlette calls what an endpoint returns, so it must be a response.
    return Response()


app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages/", app=transport.handle_post_message),
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description="A calculator on the SDK's low-level server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  uv run workshop check 05 --url {url}/sse", flush=True)
    # A client that sends half a message and stops keeps nobody from leaving: 1 second.
    uvicorn.run(app, host=chosen.host, port=chosen.port, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
