"""Fixed: the beginning of a long result, and a link to the whole.

    uv run scripts/07_sdk_client/large_fixed.py

A model has no use for 700,000 characters either. What is behind the link comes over plain
HTTP, which has no limit for the size of an answer.
"""

import argparse

from mcp.server import MCPServer
from mcp_types import CallToolResult, ResourceLink, TextContent
from serving import prepare
from starlette.requests import Request
from starlette.responses import PlainTextResponse

server = MCPServer("reports")

LINE = "2026-11-21 12:00:00 GET /sse 200 one line of a long, long report\n"
REPORT = LINE * (700_000 // len(LINE))
FIRST_LINES = 3


@server.custom_route("/report.txt", methods=["GET"])
async def whole_report(request: Request) -> PlainTextResponse:
    return PlainTextResponse(REPORT)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reports: the beginning and a link.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8086)
    chosen = parser.parse_args()
    origin = f"http://{chosen.host}:{chosen.port}"

    @server.tool()
    def report() -> CallToolResult:
        """The first lines of the report, and a link to all of it."""
        beginning = "\n".join(REPORT.splitlines()[:FIRST_LINES])
        link = ResourceLink(
            name="report.txt",
            uri=f"{origin}/report.txt",
            mime_type="text/plain",
            size=len(REPORT),
        )
        return CallToolResult(content=[TextContent(text=beginning), link])

    prepare(chosen.host, chosen.port)
    print(f"Serving MCP on {origin}/sse. In another terminal:", flush=True)
    print(
        f"  uv run scripts/07_sdk_client/client_sse.py {origin}/sse --once report", flush=True
    )
    server.run(transport="sse", host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
