"""The tools: functions that a client may call, and what it must know to call them.

`echo` and `add` are from lesson 05. `wait` and `fail` are there to be observed.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from json_rpc import INVALID_PARAMS, Json, RpcError

MAX_WAIT = 60  # seconds


def is_string(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    # In Python True is an int, and 1e999 reads as infinity. Neither is a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


class ToolError(Exception):
    """What a tool raises for the model to read. No other exception's text is sent."""


ARGUMENT_TYPES: dict[str, Callable[[object], bool]] = {
    "string": is_string,
    "number": is_number,
}


@dataclass(frozen=True)
class Tool:
    """A function and what a client must know to call it. Every argument is required."""

    name: str
    description: str
    arguments: dict[str, str]  # the name of each and its type in JSON Schema
    run: Callable[..., Awaitable[str]]

    def listing(self) -> Json:
        """The tool as `tools/list` shows it (MCP 2024-11-05, tools)."""
        schema = {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in self.arguments.items()},
            "required": list(self.arguments),
            "additionalProperties": False,
        }
        return {"name": self.name, "description": self.description, "inputSchema": schema}

    def check(self, given: object) -> Json:
        """The arguments, if they are what the listing promises. Raises RpcError."""
        if not isinstance(given, dict):
            raise RpcError(INVALID_PARAMS, "arguments must be an object")
        for name in given:
            if name not in self.arguments:
                raise RpcError(INVALID_PARAMS, f"{self.name} has no argument {name!r}")
        for name, kind in self.arguments.items():
            if name not in given:
                raise RpcError(INVALID_PARAMS, f"{self.name} needs the argument {name!r}")
            if not ARGUMENT_TYPES[kind](given[name]):
                raise RpcError(INVALID_PARAMS, f"The argument {name!r} must be a {kind}")
        return given


async def echo(message: str) -> str:
    return message


async def add(a: float, b: float) -> str:
    total = a + b
    if not is_number(total):
        raise ToolError("the sum is too large")
    return str(total)


async def wait(seconds: float) -> str:
    if not 0 <= seconds <= MAX_WAIT:
        raise ToolError(f"seconds is between 0 and {MAX_WAIT}")
    await asyncio.sleep(seconds)
    return f"Waited {seconds} s"


async def fail() -> str:
    raise RuntimeError("the database of example.com refused the password hunter2")


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say a message back.", {"message": "string"}, echo),
        Tool("add", "Add two numbers.", {"a": "number", "b": "number"}, add),
        Tool("wait", "Wait for some seconds.", {"seconds": "number"}, wait),
        Tool("fail", "Fail, with a secret in the error.", {}, fail),
    )
}


def list_tools(params: Json) -> Json:
    """The result of `tools/list`."""
    if "cursor" in params:
        raise RpcError(INVALID_PARAMS, "The list has one page: no cursor is valid")
    return {"tools": [tool.listing() for tool in TOOLS.values()]}


async def call_tool(params: Json) -> Json:
    """The result of `tools/call`. Raises RpcError for a call that cannot be made."""
    name = params.get("name")
    if not isinstance(name, str) or name not in TOOLS:
        raise RpcError(INVALID_PARAMS, f"No tool is named {name!r}")
    arguments = TOOLS[name].check(params.get("arguments", {}))
    try:
        text, failed = await TOOLS[name].run(**arguments), False
    except ToolError as error:
        # The call was valid but the tool failed: the model should read why and go on.
        text, failed = f"{name} failed: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}
