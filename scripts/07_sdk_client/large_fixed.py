"""Fixed: the beginning of a long result, and a link to all of it.

    uv run scripts/07_sdk_client/large_fixed.py

A model has no use for 700,000 characters anyway. What is behind the link comes over plain
HTTP, which has no limit on the size of an answer.
"""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ResourceLink, TextContent
from serving import lifespan, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

server = MCPServer("reports")

LINE = "2026-11-21 12:00:00 GET /sse 200 one line of a long, long report\n"
REPORT = LINE * (700_000 // len(LINE))
FIRST_LINES = 3


@server.custom_route("/report.txt", methods=["GET"])
async def whole_report(request: Request) -> PlainTextResponse:
    return PlainTextResponse(REPORT)


@server.tool()
def report(ctx: Context) -> CallToolResult:
    """The first lines of the report, and a link to all of it."""
    beginning = "\n".join(REPORT.splitlines()[:FIRST_LINES])
    # The address that the client used for this server works for the report too.
    assert ctx.headers is not None, "a message over HTTP has headers"
    link = ResourceLink(
        name="report.txt",
        uri=f"http://{ctx.headers['host']}/report.txt",
        mime_type="text/plain",
        size=len(REPORT),
    )
    return CallToolResult(content=[TextContent(text=beginning), link])


app = Starlette(routes=[Mount("/", app=server.sse_app())], lifespan=lifespan)


if __name__ == "__main__":
    serve(app, "uv run scripts/07_sdk_client/client_sse.py {url} --once report", port=8037)
