"""Broken: retries, against a server that was started again. They call a dead connection.

uv run scripts/08_agent/retries_broken.py
"""

import asyncio
import logging
from contextlib import ExitStack
from pathlib import Path

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from scripted import one_call, told
from starting import choose_port, started

SERVER = Path(__file__).with_name("server.py")


async def main() -> None:
    set_tracing_disabled(True)
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # a long traceback when the server ends
    port = choose_port(0)
    with ExitStack() as first:
        url = first.enter_context(started(SERVER, port))
        # With a cached list, no run asks the server anything before its first call.
        async with MCPServerSse(
            {"url": url}, cache_tools_list=True, max_retry_attempts=2
        ) as server:
            agent = Agent(name="stubborn", mcp_servers=[server])
            agent.model = model = one_call("add", a=7, b=22)
            await Runner.run(agent, "Add 7 and 22.")
            print(f"The model is told: {told(model)}")

            first.close()
            with started(SERVER, port):
                print("The server was started again.")
                agent.model = model = one_call("add", a=7, b=22)
                await Runner.run(agent, "Add 7 and 22.")
                print(f"The model is told: {told(model)}")


asyncio.run(main())
