"""Lesson 06, the exercise: a tea shop's web app gets tools, under a prefix beside its routes.

Do the TODOs from 1 to 4, each where the lesson says Stop. After each one, see how far you are:

    uv run workshop check 06
"""

import asyncio
from collections import defaultdict
from typing import Annotated

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field
from serving import lifespan, serve

PUBLIC_NAME = "tea.example"  # customers know the shop as https://tea.example

# ---- The shop: an app that already exists --------------------------------------------------

STOCK = {"assam": 40, "darjeeling": 12, "gyokuro": 0, "sencha": 7}  # packets of each tea

# What the scanner at the packing table saw go into each box, by the box's number.
scans: defaultdict[int, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.get("/teas")
async def teas() -> dict[str, int]:
    return STOCK


@app.post("/boxes/{box}/scans")
async def scan(box: int, tea: str) -> dict[str, str]:
    """The scanner calls this for each packet that goes into the box."""
    scans[box].put_nowait(tea)
    return {"scanned": tea}


# ---- The tools -----------------------------------------------------------------------------

server = MCPServer("tea-shop", version="1.0.0")


def mount_tools() -> None:
    """Serve MCP beside the shop's own routes."""
    # TODO 1: Mount the server in `app` under /mcp, so that the stream is GET /mcp/sse. What
    # `server.sse_app(…)` returns is an ASGI app, like `app` itself, and with each request it
    # is told where it is mounted. Pass it `transport_security=names()`.
    # --- solution
    app.mount("/mcp", server.sse_app(transport_security=names()))
    # --- end


def names() -> TransportSecuritySettings | None:
    """Which names the server answers to, and which pages may call it."""
    # TODO 2: With None, `sse_app` knows only 127.0.0.1 and localhost, and customers get 421.
    # Their Host is PUBLIC_NAME, a developer's is 127.0.0.1 or localhost with any port (`:*`).
    # An Origin begins with a scheme and ://, https for the public name and http for the others.
    # --- solution
    return TransportSecuritySettings(
        allowed_hosts=[PUBLIC_NAME, "127.0.0.1:*", "localhost:*"],
        allowed_origins=[f"https://{PUBLIC_NAME}", "http://127.0.0.1:*", "http://localhost:*"],
    )
    # --- starter
    # return None
    # --- end


# Here, not at the end: paths are tried from top to bottom, and the last route takes them all.
mount_tools()


@server.tool()
async def stock(tea: str) -> int:
    """How many packets of a tea there are."""
    # TODO 3: For a tea that the shop does not have, raise ToolError with a sentence that the
    # model can act on: it names the teas that there are. The text of any other exception stays
    # on the server, and all that the model reads is that `stock` failed.
    # --- solution
    if tea not in STOCK:
        raise ToolError(f"There is no tea {tea!r}. There are: {', '.join(STOCK)}.")
    # --- end
    return STOCK[tea]


@server.tool()
async def pack(box: int, packets: Annotated[int, Field(ge=1)], ctx: Context) -> str:
    """Wait until this many packets have been scanned into the box."""
    # TODO 4: Await one scan after the other: `await scans[box].get()` gives the tea. Report
    # progress after each one, while the next is still to come: how many of `packets` are in
    # the box, and which tea it was. Do not block: sessions and routes share one event loop.
    # --- solution
    for done in range(1, packets + 1):
        tea = await scans[box].get()
        await ctx.report_progress(done, packets, f"{tea} is in the box")
    # --- end
    return f"Box {box} is packed, with {packets} packets."


# ---- The shop's page for all other paths ---------------------------------------------------


@app.get("/{page:path}")
async def no_such_page(page: str) -> HTMLResponse:
    return HTMLResponse("<h1>No such page</h1> We have <a href='/teas'>tea</a>.\n", 404)


if __name__ == "__main__":
    serve(app, "curl {base}/teas", "curl -N {url}", port=8006, path="/mcp/sse")
