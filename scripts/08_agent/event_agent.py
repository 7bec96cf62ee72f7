"""The SSE Event Assistant: an agent that subscribes to events, publishes some, and reads them.

uv run scripts/03_event_hub/hub_server.py
uv run scripts/08_agent/event_server.py
uv run scripts/08_agent/event_agent.py http://127.0.0.1:8018/sse
"""

from agents import Agent, Runner
from agents.mcp import MCPServerSse
from calls import ShowCalls
from command import run
from model import choose_model

INSTRUCTIONS = """\
You are the SSE Event Assistant. Use the tools to subscribe to events, to send them and to read
what has come. Say in one or two short sentences what happened, and why: a subscriber gets what
is published after it subscribed, in the order in which it was published."""
REQUESTS = (
    "Subscribe to system_events, then subscribe to user_events, then subscribe to data_events.",
    'Send a system_events event with the message "The system has started".',
    'Send a user_events event with the message "Ada has logged in".',
    'Send a data_events event with the message "Table orders was updated".',
    "Read the events that have come, and explain how each of them reached you.",
)


async def main(url: str) -> None:
    model, name = choose_model()
    print(f"Model: {name}")
    async with MCPServerSse({"url": url}) as server:
        agent = Agent(
            name="SSE Event Assistant",
            instructions=INSTRUCTIONS,
            mcp_servers=[server],
            model=model,
        )
        for request in REQUESTS:
            print(f"\n> {request}", flush=True)
            result = await Runner.run(agent, request, hooks=ShowCalls())
            print(result.final_output)


if __name__ == "__main__":
    run(main)
