"""Broken: a tool whose result makes an event of more than 1 MiB, which no SDK client takes.

    uv run scripts/07_sdk_client/large_broken.py

The report has 700,000 characters. The SDK sends a `str` twice: as text and as structured
content.
"""

import argparse

import uvicorn
from mcp.server import MCPServer
from serving import prepare, url_of

server = MCPServer("reports")

LINE = "2026-11-21 12:00:00 GET /sse 200 one line of a long, long report\n"
REPORT = LINE * (700_000 // len(LINE))


@server.tool()
def report() -> str:
    """The whole report."""
    return REPORT


app = server.sse_app()


def main() -> None:
    parser = argparse.ArgumentParser(description="Reports that are too large to be sent.")
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
