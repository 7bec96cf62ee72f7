"""Draw one turn of an agent: who said what to whom, and when.

uv run scripts/08_agent/trace_turn.py http://127.0.0.1:8008/sse "Add 7 and 22."
uv run scripts/08_agent/trace_turn.py http://127.0.0.1:8008/sse "Add 7 and 22." --mermaid
"""

import argparse
import asyncio
import json
from typing import Any

from agents import Agent, ModelResponse, RunContextWrapper, RunHooks, Runner
from agents.items import TResponseInputItem
from agents.mcp import MCPServerSse
from calls import as_call
from capture import Capture, client_factory
from model import choose_model
from openai.types.responses import ResponseFunctionToolCall


class ModelSide(RunHooks[Any]):
    """Puts what the agent says to the model, and what comes back, into the capture."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        newest: Any = input_items[-1]
        self.capture.add("agent", "model", str(newest.get("output") or newest.get("content")))

    async def on_llm_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse
    ) -> None:
        for item in response.output:
            if isinstance(item, ResponseFunctionToolCall):
                self.capture.add("model", "agent", f"call {as_call(item.name, item.arguments)}")
            else:
                self.capture.add("model", "agent", "the answer")


async def main() -> None:
    parser = argparse.ArgumentParser(description="Draw one turn of an agent.")
    parser.add_argument("url")
    parser.add_argument("request", nargs="?", default="Add 7 and 22.")
    parser.add_argument("--mermaid", action="store_true", help="as a sequence diagram")
    options = parser.parse_args()

    model, _ = choose_model()
    capture = Capture()
    settings: Any = {"url": options.url, "httpx_client_factory": client_factory(capture)}
    async with MCPServerSse(settings) as server:
        agent = Agent(name="traced", mcp_servers=[server], model=model)
        capture.add("you", "agent", options.request)
        result = await Runner.run(agent, options.request, hooks=ModelSide(capture))
        capture.add("agent", "you", str(result.final_output))
        tools = [tool.model_dump(mode="json") for tool in await server.list_tools()]
    print(capture.as_mermaid() if options.mermaid else capture.as_transcript())
    if not options.mermaid:
        turns = len(result.raw_responses)
        size = len(json.dumps(tools))
        print(f"\nThe {len(tools)} tools are {size} bytes of JSON, about {size // 4} tokens.")
        print(f"They went to the model with each question: {turns} times in this turn.")


if __name__ == "__main__":
    asyncio.run(main())
