"""A tool that asks its caller a question: told to divide by zero, it wants another number.

uv run scripts/06_sdk_server/asking_calculator.py
"""

from mcp.server import MCPServer
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel
from serving import serve

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


if __name__ == "__main__":
    serve(server.sse_app(), "uv run scripts/06_sdk_server/negotiation.py {url}", port=8036)
