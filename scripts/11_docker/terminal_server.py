"""A calculator in the official SDK: tools, a resource and a prompt, made from functions.

uv run scripts/06_sdk_server/calculator.py
"""

import asyncio
import math
from typing import Annotated

from door import allowed
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.routing import Mount

# A plain `float` would also take "2", true and 1e999.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]

server = MCPServer("calculator", version="1.0.0")


@server.tool()
def add(a: Number, b: Number) -> float:
    """Add two numbers."""
    return finite(a + b)


@server.tool()
def subtract(a: Number, b: Number) -> float:
    """Subtract b from a."""
    return finite(a - b)


@server.tool()
def multiply(a: Number, b: Number) -> float:
    """Multiply two numbers."""
    return finite(a * b)


@server.tool()
def divide(a: Number, b: Number) -> float:
    """Divide a by b."""
    if b == 0:
        raise ToolError("Division by zero: choose another b.")
    return finite(a / b)


def finite(result: float) -> float:
    """The result, if JSON can express it: JSON has no infinity."""
    if not math.isfinite(result):
        raise ToolError("The result is too large.")
    return result


@server.tool()
async def add_slowly(
    numbers: list[Number], ctx: Context, seconds: Annotated[Number, Field(ge=0)] = 1.0
) -> float:
    """Add many numbers, `seconds` for each, and report progress after each one."""
    total = 0.0
    for done, number in enumerate(numbers, start=1):
        await asyncio.sleep(seconds)
        total = finite(total + number)
        await ctx.report_progress(done, len(numbers), f"{total:g} so far")
    return total


@server.resource("calculator://constants/pi", mime_type="text/plain")
def pi() -> str:
    """The ratio of a circle's circumference to its diameter."""
    return str(math.pi)


@server.prompt()
def word_problem(text: str) -> str:
    """Solve a word problem with the calculator's tools."""
    return f"Solve this step by step. Use the tools for every calculation.\n\n{text}"


def create_app() -> Starlette:
    """The server as an ASGI app, which lets in the hosts and origins that the door allows."""
    mcp_app = server.sse_app(transport_security=allowed())
    return Starlette(routes=[Mount("/", app=mcp_app)], lifespan=lifespan)


app = create_app()


if __name__ == "__main__":
    serve(app, "uv run scripts/06_sdk_server/watch_progress.py {url}", port=8081)
