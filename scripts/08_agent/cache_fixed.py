"""Fixed: the cache is dropped before a run that may need a tool that came later.

uv run scripts/08_agent/cache_fixed.py http://127.0.0.1:8038/sse
"""

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from command import run
from scripted import one_call, told


async def main(url: str) -> None:
    set_tracing_disabled(True)
    async with MCPServerSse({"url": url}, cache_tools_list=True) as server:
        agent = Agent(name="cached", mcp_servers=[server], model=one_call("learn"))
        await Runner.run(agent, "Learn to greet.")
        server.invalidate_tools_cache()
        agent.model = model = one_call("greet", name="Ada")
        await Runner.run(agent, "Greet Ada.")
        print(f"The model sees: {[tool.name for tool in model.calls[0].tools]}")
        print(f"It is told: {told(model)}")


run(main)
