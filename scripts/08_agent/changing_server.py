"""A server that has another tool after `learn` was called.

uv run scripts/08_agent/changing_server.py
"""

from door import allowed
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.routing import Mount

server = MCPServer("changing", version="1.0.0")


@server.tool()
async def learn(ctx: Context) -> str:
    """Learn to greet."""

    def greet(name: str) -> str:
        """Greet somebody."""
        return f"Hello, {name}."

    server.add_tool(greet)
    await ctx.session.send_tool_list_changed()
    return "There is a tool `greet` now."


app = Starlette(
    routes=[Mount("/", app=server.sse_app(transport_security=allowed()))], lifespan=lifespan
)

if __name__ == "__main__":
    serve(app, "uv run scripts/08_agent/cache_broken.py {url}", port=8038)
