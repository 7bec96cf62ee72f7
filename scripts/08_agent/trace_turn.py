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
from command import errors_in_a_line
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
        self.capture.add("agent", "model", newest_text(input_items))

    async def on_llm_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse
    ) -> None:
        for item in response.output:
            if isinstance(item, ResponseFunctionToolCall):
                self.capture.add("model", "agent", f"call {as_call(item.name, item.arguments)}")
            else:
                self.capture.add("model", "agent", "the answer")


def newest_text(items: list[TResponseInputItem]) -> str:
    """What the model has not seen before: the request, or the result of a call."""
    newest: Any = items[-1]
    said = newest.get("output") or newest.get("content")
    return said if isinstance(said, str) else said[0]["text"]


async def main(options: argparse.Namespace) -> None:
    model, _ = choose_model()
    capture = Capture()
    settings: Any = {"url": options.url, "httpx_client_factory": client_factory(capture)}
    async with MCPServerSse(settings) as server:
        agent = Agent(name="traced", mcp_servers=[server], model=model)
        capture.add("you", "agent", options.request)
        result = await Runner.run(agent, options.request, hooks=ModelSide(capture))
        capture.add("agent", "you", str(result.final_output).splitlines()[-1])
        print(capture.as_mermaid() if options.mermaid else capture.as_transcript())
        if options.mermaid:
            return
        number, seconds = len(capture.listings), sum(capture.listings)
        print(f"\nThe tools were listed {number} times, which took {seconds:.3f} s.")
        tools = [tool.model_dump(mode="json") for tool in await server.list_tools()]
        size, questions = len(json.dumps(tools)), len(result.raw_responses)
        print(f"They are {size} bytes of JSON, about {size // 4} tokens, and went to the")
        print(f"model with each question: {questions} times.")
        if used := result.context_wrapper.usage.total_tokens:
            print(f"The model counted {used} tokens in all.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw one turn of an agent.")
    parser.add_argument("url")
    parser.add_argument("request", nargs="?", default="Add 7 and 22.")
    parser.add_argument("--mermaid", action="store_true", help="as a sequence diagram")
    with errors_in_a_line():
        asyncio.run(main(parser.parse_args()))
