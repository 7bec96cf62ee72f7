"""Start a server, let an agent use its tools, show each call, and stop the server.

uv run scripts/08_agent/main.py
"""

import asyncio
import sys
from pathlib import Path

from agents import Agent, Runner
from agents.mcp import MCPServerSse
from calls import ShowCalls
from model import MODEL_ERRORS, choose_model
from starting import StartError, choose_port, started

SERVER = Path(__file__).with_name("server.py")
QUESTIONS = (
    "Add these numbers: 7 and 22.",
    "What's the weather in Tokyo?",
    "What's the secret word?",
)


async def ask_all(url: str) -> None:
    """One run for each question. The server's connection is shared by all of them."""
    model, name = choose_model()
    print(f"Model: {name}")
    async with MCPServerSse({"url": url}) as server:
        agent = Agent(
            name="assistant",
            instructions="Use the tools to answer, and answer in one short sentence.",
            mcp_servers=[server],
            model=model,
        )
        for question in QUESTIONS:
            print(f"\n> {question}", flush=True)
            result = await Runner.run(agent, question, hooks=ShowCalls())
            print(result.final_output)


def main() -> None:
    port = choose_port(8000)
    if port != 8000:
        print(f"Port 8000 is in use: the server gets port {port}.")
    try:
        with started(SERVER, port) as url:
            print(f"Server: {url}")
            asyncio.run(ask_all(url))
    except StartError as error:
        sys.exit(str(error))
    except MODEL_ERRORS as error:
        sys.exit(f"The model: {str(error).partition(chr(10))[0]}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
