"""The tools `echo` and `add`, and MCP's two requests about tools.

`tools/list` says which tools there are and which arguments each one takes, as a JSON
Schema. `tools/call` runs one of them. To add a tool, write a function that returns a
string and add it to TOOLS.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from json_rpc import INVALID_PARAMS, Json, RpcError


def is_string(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    # In Python True is an int, and 1e999 is read as infinity. Neither is a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


ARGUMENT_TYPES: dict[str, Callable[[object], bool]] = {
    "string": is_string,
    "number": is_number,
}


@dataclass(frozen=True)
class Tool:
    """A function, and what a client must know to call it. Every argument is required."""

    name: str
    description: str
    arguments: dict[str, str]  # the name of each, and its type in JSON Schema
    run: Callable[..., str]

    def listing(self) -> Json:
        """The tool as `tools/list` shows it."""
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


def echo(message: str) -> str:
    return message


def add(a: float, b: float) -> str:
    total = a + b
    if not is_number(total):
        raise ArithmeticError("the sum is too large")
    return str(total)


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say a message back.", {"message": "string"}, echo),
        Tool("add", "Add two numbers.", {"a": "number", "b": "number"}, add),
    )
}


def list_tools(params: Json) -> Json:
    """The result of `tools/list`."""
    if "cursor" in params:
        raise RpcError(INVALID_PARAMS, "The list has one page: no cursor is valid")
    return {"tools": [tool.listing() for tool in TOOLS.values()]}


def call_tool(params: Json) -> Json:
    """The result of `tools/call`. Raises RpcError if the call is wrong."""
    name = params.get("name")
    if not isinstance(name, str) or name not in TOOLS:
        raise RpcError(INVALID_PARAMS, f"No tool is named {name!r}")
    arguments = TOOLS[name].check(params.get("arguments", {}))
    try:
        text, failed = TOOLS[name].run(**arguments), False
    except Exception as error:
        # The call was right but the tool failed: the model should read why, and go on.
        text, failed = f"{name} failed: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}
