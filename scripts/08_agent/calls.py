"""Show each tool call of an agent as it happens, and how long it took."""

import json
import time
from collections.abc import Callable
from typing import Any

from agents import Agent, RunContextWrapper, RunHooks
from agents.tool import Tool
from agents.tool_context import ToolContext


class ShowCalls(RunHooks[Any]):
    """Print one line for each call: `add(a=7, b=22) -> 29.0  (4 ms)`.

    Several calls may run at once: each is known by its call's id.
    """

    def __init__(self, tell: Callable[[str], None] = print) -> None:
        self.tell = tell
        self._began: dict[str, float] = {}

    async def on_tool_start(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool
    ) -> None:
        assert isinstance(context, ToolContext)
        self._began[context.tool_call_id] = time.perf_counter()

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        assert isinstance(context, ToolContext)
        milliseconds = 1_000 * (time.perf_counter() - self._began.pop(context.tool_call_id))
        call = as_call(context.tool_name, context.tool_arguments)
        self.tell(f"  {call} -> {text_of(result)}  ({milliseconds:.0f} ms)")


def as_call(name: str, arguments: str) -> str:
    """A call as Python would write it: `add(a=7, b=22)`."""
    try:
        given = json.loads(arguments or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return f"{name}({arguments})"
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def text_of(result: object) -> str:
    """What a tool returned, in one line of at most 200 characters."""
    if isinstance(result, dict) and "text" in result:
        result = result["text"]
    text = " ".join(str(result).split())
    return text if len(text) <= 200 else text[:199] + "…"
