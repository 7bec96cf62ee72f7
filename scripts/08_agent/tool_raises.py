"""A tool that raises: the model is told what the tool says, and can try something else.

uv run scripts/08_agent/tool_raises.py http://127.0.0.1:8008/sse
"""

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from command import run
from scripted import one_call, told


async def main(url: str) -> None:
    set_tracing_disabled(True)
    async with MCPServerSse({"url": url}) as server:
        model = one_call("get_current_weather", city="Atlantis")
        agent = Agent(name="traveller", mcp_servers=[server], model=model)
        await Runner.run(agent, "What is the weather in Atlantis?")
        print(f"The model is told: {told(model)}")


run(main)
