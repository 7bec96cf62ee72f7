"""The tools: functions that a client may call, and what it must know to call them.

`Tool` is lesson 05's. `read_note` and `count_lines` are new here: they touch the machine.
"""

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from json_rpc import INVALID_PARAMS, Json, RpcError
from notes import count_lines, read_note

NOTES = Path(os.environ.get("NOTES") or Path(__file__).parent / "notes")
MAX_WAIT = 60  # seconds

logger = logging.getLogger("uvicorn.error")


def is_string(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    # In Python True is an int, and 1e999 reads as infinity. Neither is a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


ARGUMENT_TYPES: dict[str, Callable[[object], bool]] = {
    "string": is_string,
    "number": is_number,
}


@dataclass(frozen=True)
class Tool:
    """A function and what a client must know to call it. Every argument is required."""

    name: str
    description: str
    arguments: dict[str, str]  # each one's name and its type in JSON Schema
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


async def wait(seconds: float) -> str:
    if not 0 <= seconds <= MAX_WAIT:
        raise ValueError(f"seconds is between 0 and {MAX_WAIT}")
    await asyncio.sleep(seconds)
    return f"Waited {seconds} s"


async def read(name: str) -> str:
    return read_note(NOTES, name)


async def count(name: str) -> str:
    return await count_lines(NOTES, name)


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("echo", "Say a message back.", {"message": "string"}, echo),
        Tool("wait", "Wait for some seconds.", {"seconds": "number"}, wait),
        Tool("read_note", "Read a note.", {"name": "string"}, read),
        Tool("count_lines", "Count the lines of a note.", {"name": "string"}, count),
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
    except ValueError as error:
        # The call was right and the tool failed: the model should read why and go on.
        text, failed = f"{name} failed: {error}", True
    except Exception:
        # Nobody wrote this error for strangers: it may hold a path or a password.
        logger.exception("%s failed", name)
        text, failed = f"{name} failed", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}
