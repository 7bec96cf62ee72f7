"""Broken: an object that only has `list_tools`, given to an agent as its MCP server.

uv run scripts/08_agent/half_server_broken.py
"""

import asyncio
from typing import Any

from agents import Agent, Runner, set_tracing_disabled
from mcp_types import Tool
from scripted import one_call


class HalfServer:
    """It can say what tools there are. Nobody can call them."""

    name = "half"

    async def list_tools(self, *context: Any) -> list[Tool]:
        return [Tool(name="add", input_schema={"type": "object"})]


async def main() -> None:
    set_tracing_disabled(True)
    half: Any = HalfServer()
    model = one_call("add", a=7, b=22)
    try:
        await Runner.run(Agent(name="broken", mcp_servers=[half], model=model), "Add 7 and 22.")
    except Exception as error:
        print(f"{type(error).__name__}: {error}")


asyncio.run(main())
