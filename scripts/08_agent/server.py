"""An MCP server with three tools for an agent: a sum, a secret word, and the weather.

uv run scripts/08_agent/server.py
"""

from datetime import date
from typing import Annotated

from door import allowed
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.routing import Mount
from weather import CLIMATE

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
City = Annotated[str, Field(description="The name of a city, such as Tokyo.")]

server = MCPServer("three-tools", version="1.0.0")


@server.tool()
def add(a: Number, b: Number) -> float:
    """Add two numbers."""
    return a + b


@server.tool()
def get_secret_word() -> str:
    """Get the secret word."""
    return "marmalade"


@server.tool()
def get_current_weather(city: City) -> str:
    """Get the current weather in a city."""
    known = {name.casefold(): name for name in CLIMATE}
    name = known.get(city.strip().casefold())
    if name is None:
        raise ToolError(f"There is no {city!r} in the table. It has: {', '.join(CLIMATE)}.")
    today = date.today()
    degrees = CLIMATE[name][today.month - 1]
    return f"{name}: {degrees} °C, the average of {today:%B} in weather.py's table."


def create_app() -> Starlette:
    """The server as an ASGI app, which lets in the hosts and origins that the door allows."""
    mcp_app = server.sse_app(transport_security=allowed())
    return Starlette(routes=[Mount("/", app=mcp_app)], lifespan=lifespan)


app = create_app()


if __name__ == "__main__":
    serve(app, "uv run scripts/08_agent/first_agent.py {url}", port=8008)
