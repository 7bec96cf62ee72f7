"""Broken: a filter that raises. Each tool it raises for is left out, and the run goes on.

uv run scripts/08_agent/filter_broken.py http://127.0.0.1:8008/sse
"""

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse, ToolFilterContext
from agents.testing import ScriptedModel, assistant_message
from command import run
from mcp_types import Tool


def harmless(context: ToolFilterContext, tool: Tool) -> bool:
    """Whether the agent may have this tool."""
    return not tool.annotations.destructive_hint


async def main(url: str) -> None:
    set_tracing_disabled(True)
    model = ScriptedModel([[assistant_message("Done.")]])
    async with MCPServerSse({"url": url}, tool_filter=harmless) as server:
        await Runner.run(Agent(name="careful", mcp_servers=[server], model=model), "Add.")
        print(f"The model sees: {[tool.name for tool in model.calls[0].tools]}")


run(main)
