"""Report each call of an agent as it begins, written as a Python call."""

import json
from collections.abc import Callable
from typing import Any

from agents import Agent, RunContextWrapper, RunHooks
from agents.tool import Tool
from agents.tool_context import ToolContext
from pins import visible

Tell = Callable[[str], object]


class ShowCalls(RunHooks[Any]):
    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    async def on_tool_start(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool
    ) -> None:
        assert isinstance(context, ToolContext)
        self.tell(as_call(context.tool_name, context.tool_arguments))


def as_call(name: str, arguments: str | None) -> str:
    """`add(a=7, b=22)`. Characters that a terminal would hide are written as escapes."""
    try:
        given = json.loads(arguments or "{}")
        call = f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"
    except (ValueError, AttributeError):
        call = f"{name}({arguments!r})"
    return visible(call)  # the model chooses the names of arguments, too
