"""A tool that asks its caller back: `divide`, told to divide by zero, wants another number.

uv run scripts/06_sdk_server/asking_calculator.py
"""

import argparse

from mcp.server import MCPServer
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel
from serving import prepare, url_of

server = MCPServer("asking-calculator")


class Divisor(BaseModel):
    b: float


@server.tool()
async def divide(a: float, b: float, ctx: Context) -> float:
    """Divide a by b. Asks for another b when b is 0."""
    if b == 0:
        answer = await ctx.elicit("b is 0. Divide by what?", schema=Divisor)
        if not isinstance(answer, AcceptedElicitation) or answer.data.b == 0:
            raise ToolError("Division by zero.")
        b = answer.data.b
    return a / b


def main() -> None:
    parser = argparse.ArgumentParser(description="A calculator that asks back.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = url_of(chosen.host, chosen.port)
    print(f"Serving MCP on {url}/sse. In another terminal:", flush=True)
    print(f"  uv run scripts/06_sdk_server/negotiation.py {url}/sse", flush=True)
    server.run(transport="sse", host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
