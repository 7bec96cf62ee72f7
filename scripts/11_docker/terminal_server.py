"""A terminal for a model: tools that run commands and handle files, all in one folder.

    uv run scripts/11_docker/terminal_server.py

The folder is `WORKSPACE`, by default ./workspace. See `settings.py` for the other settings.
"""

import math
from typing import Annotated

import commands
from confined import Refused
from door import allowed
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from pydantic import Field
from serving import lifespan, serve
from settings import open_workspace, port, read_limits
from starlette.applications import Starlette
from starlette.routing import Mount

# A plain `float` would also take "2", true and 1e999.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]

workspace = open_workspace()
limits = read_limits()
server = MCPServer("terminal", version="1.0.0")


# structured_output=False: otherwise the SDK sends each text twice.
@server.tool(structured_output=False)
async def run_command(command: list[str], ctx: Context) -> CallToolResult:
    """Run a command in the workspace, such as ["ls", "-l"]. No shell reads it: no pipes."""

    async def tick(seconds: float, printed: int) -> None:
        await ctx.report_progress(seconds, limits.seconds, f"{printed} bytes so far")

    try:
        ended = await commands.run(command, workspace.folder, limits, tick)
    except commands.NotRun as problem:
        raise ToolError(str(problem)) from None
    text = ended.output.decode("utf-8", "replace")
    if ended.stopped or ended.status:
        text += f"\n[{ended.stopped or f'exit status {ended.status}'}]"
    # The SDK writes the text of a ToolError into the log: what a command prints may be long.
    content = TextContent(text=text.lstrip("\n"))
    return CallToolResult(content=[content], is_error=ended.stopped is not None)


@server.tool(structured_output=False)
def write_file(path: str, content: str) -> str:
    """Write a text file in the workspace. A file that is there is replaced."""
    try:
        return f"Wrote {workspace.write(path, content)} bytes to {path}."
    except Refused as problem:
        raise ToolError(str(problem)) from None


@server.tool(structured_output=False)
def read_file(path: str) -> str:
    """Read a text file in the workspace."""
    try:
        return workspace.read(path)
    except Refused as problem:
        raise ToolError(str(problem)) from None


@server.tool(structured_output=False)
def list_files(folder: str = ".") -> str:
    """List a folder of the workspace, one name on each line. Folders end with a slash."""
    try:
        return "\n".join(workspace.names(folder))
    except Refused as problem:
        raise ToolError(str(problem)) from None


@server.tool()
def add(a: Number, b: Number) -> float:
    """Add two numbers."""
    if not math.isfinite(a + b):  # JSON has no infinity
        raise ToolError("The result is too large.")
    return a + b


def create_app() -> Starlette:
    """The server as an ASGI app. It accepts the hosts and origins that `door.py` allows."""
    mcp_app = server.sse_app(transport_security=allowed())
    return Starlette(routes=[Mount("/", app=mcp_app)], lifespan=lifespan)


app = create_app()


if __name__ == "__main__":
    serve(
        app,
        'uv run scripts/07_sdk_client/client_sse.py {url} --once "add 2 5"',
        "uv run scripts/11_docker/what_it_can_do.py {url}",
        port=port(),
    )
