"""Requests in plain language: a model chooses the tools, through openai-agents.

The model is configured in the environment, or in `.env`:

    OPENAI_API_KEY   the key
    OPENAI_BASE_URL  where the model is, unless at OpenAI: any compatible server
    OPENAI_MODEL     its name there, unless openai-agents' own default

With neither a key nor a URL, `offline_model.py` takes the model's place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import offline_words
from mcp_types import Tool

if TYPE_CHECKING:
    import agents

HOW_TO_CONFIGURE = """\
The offline model found no tool for it. For a language model, set these, or write them to .env:
  OPENAI_API_KEY   the key
  OPENAI_BASE_URL  only for a model that is not at OpenAI
  OPENAI_MODEL     its name there"""
INSTRUCTIONS = "Use the tools to do what is asked, and say the result in one short sentence."

CallTool = Callable[[str, dict[str, Any]], Awaitable[str]]


class ModelError(Exception):
    """The model could not be asked, or never finished. The text is one line."""


def configured() -> bool:
    """Whether there is a language model to ask. One on your own machine may need no key."""
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


def understood(request: str, tools: list[Tool]) -> bool:
    """Whether `ask` can do anything with it: a language model always tries."""
    if configured():
        return True
    offline = [offline_words.Tool(t.name, t.description or "", t.input_schema) for t in tools]
    return offline_words.fits(request, offline)


async def ask(request: str, tools: list[Tool], call_tool: CallTool) -> str:
    """The model's final answer. `call_tool(name, arguments)` makes the calls it wants.

    Raises ModelError.
    """
    # Imported here, because it takes a second that a typed call does not need.
    import agents
    import openai

    # By default the library sends a report of each run to OpenAI.
    agents.set_tracing_disabled(True)
    agent = agents.Agent(
        name="client_sse",
        instructions=INSTRUCTIONS,
        tools=[as_function(tool, call_tool) for tool in tools],
        model=chosen_model(),
    )
    try:
        result = await agents.Runner.run(agent, request)
    except (openai.OpenAIError, agents.AgentsException, ValueError) as error:
        raise ModelError(f"The model: {str(error).splitlines()[0]}") from None
    return str(result.final_output)


def chosen_model() -> agents.Model:
    import agents
    import openai
    from agents.models import get_default_model

    if not configured():
        from offline_model import OfflineModel

        return OfflineModel()
    # OpenAI has two interfaces. Other servers have this one too, "chat completions".
    name = os.environ.get("OPENAI_MODEL") or os.environ.get("OPENAI_DEFAULT_MODEL")
    return agents.OpenAIChatCompletionsModel(
        model=name or get_default_model(),
        openai_client=openai.AsyncOpenAI(
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            base_url=os.environ.get("OPENAI_BASE_URL") or None,
        ),
    )


def as_function(tool: Tool, call_tool: CallTool) -> agents.FunctionTool:
    import agents

    async def invoke(_: Any, arguments: str) -> str:
        return await call_tool(tool.name, json.loads(arguments or "{}"))

    return agents.FunctionTool(
        name=tool.name,
        description=tool.description or "",
        params_json_schema=tool.input_schema,
        on_invoke_tool=invoke,
        strict_json_schema=False,  # the server's schema, as it is
    )
