"""Broken: the list of tools is cached, and the agent never sees a tool that came later.

uv run scripts/08_agent/cache_broken.py http://127.0.0.1:8038/sse
"""

from agents import Agent, ModelBehaviorError, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from command import run
from scripted import one_call


async def main(url: str) -> None:
    set_tracing_disabled(True)
    async with MCPServerSse({"url": url}, cache_tools_list=True) as server:
        agent = Agent(name="cached", mcp_servers=[server], model=one_call("learn"))
        await Runner.run(agent, "Learn to greet.")
        agent.model = model = one_call("greet", name="Ada")
        try:
            await Runner.run(agent, "Greet Ada.")
        except ModelBehaviorError as error:
            print(f"ModelBehaviorError: {error}")
        print(f"The model sees: {[tool.name for tool in model.calls[0].tools]}")


run(main)
