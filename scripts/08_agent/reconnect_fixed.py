"""Fixed: `MCPServerManager.reconnect` makes a new connection, with a new session.

uv run scripts/08_agent/reconnect_fixed.py
"""

import asyncio
import logging
from contextlib import ExitStack
from pathlib import Path

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerManager, MCPServerSse
from scripted import one_call, told
from starting import choose_port, started

SERVER = Path(__file__).with_name("server.py")


async def main() -> None:
    set_tracing_disabled(True)
    for name in ("mcp", "openai.agents"):  # long tracebacks when the server ends
        logging.getLogger(name).setLevel(logging.CRITICAL)
    port = choose_port(0)
    with ExitStack() as first:
        url = first.enter_context(started(SERVER, port))
        async with MCPServerManager([MCPServerSse({"url": url})]) as manager:
            agent = Agent(name="flexible", mcp_servers=manager.active_servers)
            agent.model = model = one_call("add", a=7, b=22)
            await Runner.run(agent, "Add 7 and 22.")
            print(f"The model is told: {told(model)}")

            first.close()
            with started(SERVER, port):
                print("The server was started again.")
                await manager.reconnect(failed_only=False)
                agent.mcp_servers = manager.active_servers
                agent.model = model = one_call("add", a=7, b=22)
                await Runner.run(agent, "Add 7 and 22.")
                print(f"The model is told: {told(model)}")


asyncio.run(main())
