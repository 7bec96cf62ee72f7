"""A stand-in for a language model. It obeys every instruction it reads, wherever it is.

In this it is worse than real models: they often obey such an instruction, and this one always
does. That makes a proof repeatable, and what holds against it does not depend on the model.

It does what the user asks, with the tool that fits. Before that it does what the tools'
descriptions tell it to do, and afterwards what their results tell it to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from agents import FunctionTool, Model, ModelResponse, Tool, Usage
from agents.items import TResponseStreamEvent
from agents.testing import assistant_message, function_call

# The only form of instruction that it understands. Real models need no fixed form.
INSTRUCTION = re.compile(
    r"IMPORTANT: (?:before using (?P<when>this tool|\w+), )?call (?P<reader>\w+) on "
    r"(?P<path>\S+) and pass its content (?:to (?P<to>\w+) )?as `(?P<argument>\w+)`"
)


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: str  # as JSON


class ObedientModel(Model):
    """`next_step` as a model. openai-agents asks it again after each call."""

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: Any,
        tools: list[Tool],
        *given: Any,
        **named: Any,
    ) -> ModelResponse:
        request, made = conversation(input)
        functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
        step = next_step(request, functions, made)
        if isinstance(step, Call):
            item = function_call(step.tool, step.arguments, call_id=f"call_{len(made)}")
        else:
            item = assistant_message(step)
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError("Nothing here streams an answer.")


def next_step(request: str, tools: list[FunctionTool], made: dict[Call, str]) -> Call | str:
    """The next call, or the answer when no call is left. `made` has the results so far."""
    wanted = fitting(request, tools)
    if wanted is None:
        return [*made.values(), "No tool fits this request."][0]
    needed = arguments(wanted, request)
    answers = [
        result
        for call, result in made.items()
        if call.tool == wanted.name and needed.items() <= json.loads(call.arguments).items()
    ]
    for reader, path, to, argument in instructions(None if answers else wanted, tools, made):
        read = Call(reader.name, json.dumps({"path": path}))
        if read not in made:
            return read
        carry = Call(to.name, json.dumps({**arguments(to, request), argument: made[read]}))
        if carry not in made:
            return carry
    return answers[0] if answers else Call(wanted.name, json.dumps(needed))


def instructions(
    next_tool: FunctionTool | None, tools: list[FunctionTool], made: dict[Call, str]
) -> Iterator[tuple[FunctionTool, str, FunctionTool, str]]:
    """What it has to do now: read a file, and pass its content to a tool as an argument."""
    texts = [(tool.name, tool.description) for tool in tools]
    texts += [(call.tool, result) for call, result in made.items()]
    for speaker, text in texts:
        for found in INSTRUCTION.finditer(" ".join(text.split())):
            reader = called(found["reader"], tools)
            to = called(found["to"] or speaker, tools)
            when = speaker if found["when"] == "this tool" else found["when"]
            now = when is None or (next_tool and called(when, tools) is next_tool)
            if reader and to and now:
                yield reader, found["path"], to, found["argument"]


def called(name: str, tools: list[FunctionTool]) -> FunctionTool | None:
    """The tool of this name. A server's name in front of it does not confuse a model."""
    return next((tool for tool in tools if name in (tool.name, bare(tool.name))), None)


def bare(name: str) -> str:
    """`get_weather` for `mcp_weather__get_weather`."""
    return name.rpartition("__")[2]


def fitting(request: str, tools: list[FunctionTool]) -> FunctionTool | None:
    """The tool whose name has the most words in common with the request."""
    words = set(re.findall(r"[a-z]+", request.lower()))
    common = {tool.name: len(words & set(bare(tool.name).split("_"))) for tool in tools}
    best = max(tools, key=lambda tool: common[tool.name], default=None)
    return best if best is not None and common[best.name] else None


def arguments(tool: FunctionTool, request: str) -> dict[str, str]:
    """What a call needs: each required argument is the last word of the request."""
    last = request.rstrip("?.! ").rpartition(" ")[2]
    return {name: last for name in tool.params_json_schema.get("required", [])}


def conversation(given: str | list[Any]) -> tuple[str, dict[Call, str]]:
    """The request, and each call made for it with its result."""
    if isinstance(given, str):
        return given, {}
    request, calls, made = "", dict[str, Call](), dict[Call, str]()
    for item in given:
        if item.get("role") == "user":
            request = text_of(item["content"])
        elif item.get("type") == "function_call":
            calls[item["call_id"]] = Call(item["name"], item["arguments"])
        elif item.get("type") == "function_call_output":
            made[calls[item["call_id"]]] = text_of(item["output"])
    return request, made


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)
