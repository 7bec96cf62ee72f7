"""An agent as people write it: it gives its model every tool of every server.

    uv run scripts/09_security/agent/open_agent.py URL URL

Its model is `obedient_model.py`. No person is asked about any call.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from obedient_model import ObedientModel
from shown import ShowCalls, Tell
from told import errors_in_a_line


class OpenAgent:
    def __init__(self, servers: list[MCPServerSse], tell: Tell) -> None:
        self.servers = servers
        self.agent = Agent(name="open", mcp_servers=[*servers], model=ObedientModel())
        self.hooks = ShowCalls(tell)

    async def ask(self, request: str) -> str:
        for server in self.servers:
            server.invalidate_tools_cache()  # they may have other tools since the last request
        result = await Runner.run(self.agent, request, hooks=self.hooks)
        return result.final_output


@asynccontextmanager
async def connected(urls: list[str], tell: Tell = print) -> AsyncIterator[OpenAgent]:
    """The agent, while it is connected to its servers."""
    set_tracing_disabled(True)
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                MCPServerSse(
                    {"url": url, "timeout": 10},
                    cache_tools_list=True,
                    client_session_timeout_seconds=30,
                )
            )
            for url in urls
        ]
        yield OpenAgent(servers, tell)


async def main() -> None:
    parser = argparse.ArgumentParser(description="An agent without any protection.")
    parser.add_argument("--ask", default="What is the weather in Oslo?", metavar="REQUEST")
    parser.add_argument("urls", nargs="+", metavar="URL")
    options = parser.parse_args()
    async with connected(options.urls) as agent:
        print(await agent.ask(options.ask))


if __name__ == "__main__":
    with errors_in_a_line():
        asyncio.run(main())
