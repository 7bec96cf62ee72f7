"""Broken: an `MCPServerSse` that nobody has entered with `async with`.

uv run scripts/08_agent/not_entered_broken.py
"""

import asyncio

from agents import Agent, Runner, UserError, set_tracing_disabled
from agents.mcp import MCPServerSse
from agents.testing import ScriptedModel, assistant_message


async def main() -> None:
    set_tracing_disabled(True)
    server = MCPServerSse({"url": "http://127.0.0.1:8008/sse"})
    model = ScriptedModel([[assistant_message("29")]])
    try:
        await Runner.run(Agent(name="broken", mcp_servers=[server], model=model), "Add.")
    except UserError as error:
        print(f"UserError: {error}")


asyncio.run(main())
