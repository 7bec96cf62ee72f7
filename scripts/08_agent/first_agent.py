"""The smallest agent: one server, one question.

uv run scripts/08_agent/first_agent.py http://127.0.0.1:8008/sse
"""

from agents import Agent, Runner
from agents.mcp import MCPServerSse
from command import run
from model import choose_model


async def main(url: str) -> None:
    model, name = choose_model()
    print(f"Model: {name}")
    async with MCPServerSse({"url": url}) as server:
        agent = Agent(
            name="first",
            instructions="Use the tools to answer.",
            mcp_servers=[server],
            model=model,
        )
        result = await Runner.run(agent, "Add these numbers: 7 and 22.")
        print(result.final_output)


if __name__ == "__main__":
    run(main)
