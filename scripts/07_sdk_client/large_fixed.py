"""Fixed: the beginning of a long result, and a link to all of it.

    uv run scripts/07_sdk_client/large_fixed.py

A model has no use for 700,000 characters anyway. What is behind the link comes over plain
HTTP, which has no limit for the size of an answer.
"""

import argparse

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ResourceLink, TextContent
from serving import prepare, url_of
from starlette.requests import Request
from starlette.responses import PlainTextResponse

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
    # Where the client reached this server, it will reach the report too.
    posted: Request = ctx.request_context.request
    link = ResourceLink(
        name="report.txt",
        uri=f"{posted.base_url}report.txt",
        mime_type="text/plain",
        size=len(REPORT),
    )
    return CallToolResult(content=[TextContent(text=beginning), link])


app = server.sse_app()


def main() -> None:
    parser = argparse.ArgumentParser(description="Reports: the beginning and a link.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8037)
    chosen = parser.parse_args()
    prepare(chosen.host, chosen.port)
    url = f"{url_of(chosen.host, chosen.port)}/sse"
    print(f"Serving MCP on {url}. In another terminal:", flush=True)
    print(f"  uv run scripts/07_sdk_client/client_sse.py {url} --once report", flush=True)
    uvicorn.run(app, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
