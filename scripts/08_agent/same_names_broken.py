"""Broken: two servers with tools of the same names, given to one agent.

uv run scripts/08_agent/same_names_broken.py http://127.0.0.1:8008/sse
"""

from agents import Agent, Runner, UserError, set_tracing_disabled
from agents.mcp import MCPServerSse
from agents.testing import ScriptedModel, assistant_message
from command import run


async def main(url: str) -> None:
    set_tracing_disabled(True)
    model = ScriptedModel([[assistant_message("29")]])
    # The same server twice is the shortest way to have two tools of each name.
    async with (
        MCPServerSse({"url": url}, name="one") as one,
        MCPServerSse({"url": url}, name="two") as two,
    ):
        agent = Agent(
            name="both",
            mcp_servers=[one, two],
            model=model,
        )
        try:
            await Runner.run(agent, "Add 7 and 22.")
        except UserError as error:
            print(f"UserError: {str(error).partition('.')[0]}.")
        else:
            print("\n".join(tool.name for tool in model.calls[0].tools))


run(main)
