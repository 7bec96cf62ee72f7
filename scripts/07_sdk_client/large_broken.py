"""Broken: a tool whose result makes an event of more than 1 MiB, which no SDK client takes.

    uv run scripts/07_sdk_client/large_broken.py

The report has 700,000 characters. The SDK sends a `str` twice: as text and as structured
content.
"""

from mcp.server import MCPServer
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.routing import Mount

server = MCPServer("reports")

LINE = "2026-11-21 12:00:00 GET /sse 200 one line of a long, long report\n"
REPORT = LINE * (700_000 // len(LINE))


@server.tool()
def report() -> str:
    """The complete report."""
    return REPORT


app = Starlette(routes=[Mount("/", app=server.sse_app())], lifespan=lifespan)


if __name__ == "__main__":
    serve(app, "uv run scripts/07_sdk_client/client_sse.py {url} --once report", port=8037)
