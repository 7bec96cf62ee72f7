"""Broken: a tool that takes 6 seconds. openai-agents waits 5, and the model learns nothing.

uv run scripts/08_agent/five_seconds_broken.py http://127.0.0.1:8028/sse
"""

import time

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from command import run
from scripted import one_call, told


async def main(url: str) -> None:
    set_tracing_disabled(True)
    model = one_call("count_stars")
    async with MCPServerSse({"url": url}) as server:
        began = time.monotonic()
        await Runner.run(Agent(name="patient", mcp_servers=[server], model=model), "Count.")
        print(f"After {time.monotonic() - began:.1f} s the model is told: {told(model)}")


run(main)
