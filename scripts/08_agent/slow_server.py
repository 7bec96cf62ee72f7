"""A server whose tool takes 6 seconds, one more than openai-agents waits.

uv run scripts/08_agent/slow_server.py
"""

import asyncio

from door import allowed
from mcp.server import MCPServer
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.routing import Mount

server = MCPServer("slow", version="1.0.0")


@server.tool()
async def count_stars(seconds: float = 6.0) -> str:
    """Count the stars. It takes some time."""
    print(f"Counting for {seconds:g} s.", flush=True)
    await asyncio.sleep(seconds)
    return "about 9,000 that you can see without a telescope"


app = Starlette(
    routes=[Mount("/", app=server.sse_app(transport_security=allowed()))], lifespan=lifespan
)

if __name__ == "__main__":
    serve(app, "uv run scripts/08_agent/five_seconds_broken.py {url}", port=8028)
