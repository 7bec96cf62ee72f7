"""The calculator on the low-level `Server`: the protocol's types, and the transport, by hand.

uv run scripts/06_sdk_server/lowlevel_calculator.py
"""

import math
import operator
from typing import Any

from door import allowed
from jsonschema import Draft202012Validator
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.sse import SseServerTransport
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from serving import lifespan, serve
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
    # Nothing has checked them against the schema: at this level, that is your job.
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


# One transport for the life of the app: it knows every session. GET adds one, POST looks one
# up. Without `allowed()` it would check neither Host nor Origin.
transport = SseServerTransport("/messages/", allowed())


async def open_stream(request: Request) -> Response:
    # `send` is private in Request, because Starlette's endpoints return what to send.
    scope, receive, send = request.scope, request.receive, request._send
    async with transport.connect_sse(scope, receive, send) as (read, write):
        # The stream is open as long as this runs.
        await server.run(read, write, server.create_initialization_options())
    # Everything has been sent. But Starlette calls what an endpoint returns: None won't do.
    return Response()


app = Starlette(
    routes=[
        Route("/sse", open_stream),
        Mount("/messages/", app=transport.handle_post_message),
    ],
    lifespan=lifespan,
)


if __name__ == "__main__":
    serve(app, "uv run workshop check 05 --url {url}", port=8016)
