"""Fixed: the session waits longer than the slowest tool takes.

uv run scripts/08_agent/five_seconds_fixed.py http://127.0.0.1:8028/sse
"""

import time

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from command import run
from scripted import one_call, told


async def main(url: str) -> None:
    set_tracing_disabled(True)
    model = one_call("count_stars")
    async with MCPServerSse({"url": url}, client_session_timeout_seconds=30) as server:
        began = time.monotonic()
        await Runner.run(Agent(name="patient", mcp_servers=[server], model=model), "Count.")
        print(f"After {time.monotonic() - began:.1f} s the model is told: {told(model)}")


run(main)
