"""Requests in plain language: a model chooses the tools, through openai-agents.

The model is configured in the environment, or in `.env`:

    OPENAI_API_KEY        the key
    OPENAI_BASE_URL       where the model is, unless at OpenAI: any compatible server
    OPENAI_DEFAULT_MODEL  its name there, unless openai-agents' own default
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from mcp_types import Tool

HOW_TO_CONFIGURE = """\
Plain language needs a model, and none is configured. Set these, or write them to .env:
  OPENAI_API_KEY        the key
  OPENAI_BASE_URL       only for a model that is not at OpenAI
  OPENAI_DEFAULT_MODEL  its name there"""
INSTRUCTIONS = "Use the tools to do what is asked, and say the result in one short sentence."

CallTool = Callable[[str, dict[str, Any]], Awaitable[str]]


class ModelError(Exception):
    """The model could not be asked, or did not come to an end. The text is one line."""


def configured() -> bool:
    return bool(os.environ.get("OPENAI_API_KEY"))


async def ask(request: str, tools: list[Tool], call_tool: CallTool) -> str:
    """What the model says in the end. `call_tool(name, arguments)` does what it wants done.

    Raises ModelError.
    """
    # Here and not above: it takes seconds, and whoever types tools needs none of it.
    import agents
    import openai
    from agents.models import get_default_model

    # The library would send a report of each run to OpenAI.
    agents.set_tracing_disabled(True)
    # Of OpenAI's two interfaces "chat completions" is the one that other servers have too.
    model = agents.OpenAIChatCompletionsModel(
        model=os.environ.get("OPENAI_DEFAULT_MODEL") or get_default_model(),
        openai_client=openai.AsyncOpenAI(
            api_key=os.environ["OPENAI_API_KEY"],
            base_url=os.environ.get("OPENAI_BASE_URL") or None,
        ),
    )

    def as_function(tool: Tool) -> agents.FunctionTool:
        async def invoke(_: Any, arguments: str) -> str:
            return await call_tool(tool.name, json.loads(arguments or "{}"))

        return agents.FunctionTool(
            name=tool.name,
            description=tool.description or "",
            params_json_schema=tool.input_schema,
            on_invoke_tool=invoke,
            strict_json_schema=False,  # the server's schema, as it is
        )

    agent = agents.Agent(
        name="client_sse",
        instructions=INSTRUCTIONS,
        tools=[as_function(tool) for tool in tools],
        model=model,
    )
    try:
        result = await agents.Runner.run(agent, request)
    except (openai.OpenAIError, agents.AgentsException, ValueError) as error:
        raise ModelError(f"The model: {str(error).splitlines()[0]}") from None
    return str(result.final_output)
