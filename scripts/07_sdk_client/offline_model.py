"""A stand-in for a language model, for when none is configured: it needs no key and no network.

It compares words (`offline_words.py`), makes the calls that these suggest, one after another,
and answers with what the tools returned. For the same request it always does the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import agents
from agents.items import TResponseStreamEvent
from agents.models.interface import Model
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from offline_words import Tool, plan

WHAT_THIS_IS = "(offline_model.py is not a language model: it only compares words.)"
MOST_CALLS = 8  # for one request: openai-agents gives a model 10 turns


class OfflineModel(Model):
    """`next_step` as a model. openai-agents asks it again after each call."""

    async def get_response(self, *given: Any, **named: Any) -> agents.ModelResponse:
        return await scripted().get_response(*given, **named)

    async def stream_response(
        self, *given: Any, **named: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        async for event in scripted().stream_response(*given, **named):
            yield event


def scripted() -> ScriptedModel:
    """openai-agents' own model for tests, which makes a response, or a stream, of a step."""
    return ScriptedModel([ModelStep.respond(respond)])


def respond(call: ModelCall) -> ModelStep:
    functions = [tool for tool in call.tools if isinstance(tool, agents.FunctionTool)]
    step = next_step(
        call.input,
        [Tool(tool.name, tool.description, tool.params_json_schema) for tool in functions],
    )
    if isinstance(step, str):
        return ModelStep(output=[assistant_message(step)])
    name, arguments = step
    # Each call needs its own id, and the conversation grows with each.
    number = 1 if isinstance(call.input, str) else len(call.input)
    return ModelStep(output=[function_call(name, arguments, call_id=f"call_{number}")])


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        str(part.get("text", "")) for part in content or () if isinstance(part, dict)
    )


def conversation(given: str | list[Any]) -> tuple[str, list[str]]:
    """The last request, and the results of the calls that were made for it."""
    if isinstance(given, str):
        return given, []
    request, results = "", list[str]()
    for item in given:
        if item.get("role") == "user":
            request, results = text_of(item.get("content")), []
        elif item.get("type") == "function_call_output":
            results.append(text_of(item.get("output")))
    return request, results


def next_step(given: str | list[Any], tools: list[Tool]) -> tuple[str, dict[str, Any]] | str:
    """The next call, by name and arguments, or the answer when no call is left."""
    request, results = conversation(given)
    steps = plan(request, tools)
    lines = [WHAT_THIS_IS]
    if not steps:
        names = ", ".join(tool.name for tool in tools) or "none"
        lines.append(f"No tool fits this request. The tools are: {names}.")
    for number, step in enumerate(steps[:MOST_CALLS]):
        form = step.form(results[number - 1] if number else None)
        if form.missing:
            lines.append(f"{step.tool.name}: the request has no {', no '.join(form.missing)}.")
            break
        if number == len(results):
            return step.tool.name, form.arguments
        arguments = ", ".join(f"{key}={value!r}" for key, value in form.arguments.items())
        lines.append(f"{step.tool.name}({arguments}): {results[number]}")
        if form.unused():
            lines.append(f"Not used: {', '.join(form.unused())}.")
    if len(steps) > MOST_CALLS:
        lines.append(f"This made {MOST_CALLS} calls, and left out the others.")
    return "\n".join(lines)
