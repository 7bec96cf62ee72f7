"""Turns what is typed at the prompt into calls, and makes the tools readable.

Nothing here talks to a server.
"""

from __future__ import annotations

import json
import math
import shlex
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn

from mcp_types import Tool
from rich.cells import cell_len

Json = dict[str, Any]

WIDTH = 80
# How much of what was typed is shown on each side of a mistake.
AROUND = 30


class Mistyped(Exception):
    """What was typed is not a call. The text says why, and where."""


def read_positional(words_typed: str, tool: Tool) -> Json:
    """`2 5` as the arguments of `add`, each of the type that the tool's schema asks for.

    Words are split as in a shell: quotes keep words together. Raises Mistyped.
    """
    properties, required = parameters_of(tool)
    try:
        words = shlex.split(words_typed)
    except ValueError as error:
        raise Mistyped(f"{tool.name}: {error}") from None
    if not len(required) <= len(words) <= len(properties):
        wanted = f"{len(required)} to {len(properties)}"
        wanted = wanted if len(required) < len(properties) else str(len(required))
        raise Mistyped(f"{signature(tool)} takes {wanted} words, not {len(words)}.")
    # The schema's order is the order of the arguments: JSON objects keep it in practice.
    named = zip(properties.items(), words, strict=False)
    return {name: coerce(name, word, schema) for (name, schema), word in named}


def coerce(name: str, word: str, schema: Json) -> Any:
    """One word as a value of the first type of the schema that it fits. Raises Mistyped."""
    types = types_of(schema)
    for each in types:
        try:
            return coerce_to(each, word)
        except (ValueError, RecursionError):
            continue
    shown = word if len(word) <= 2 * AROUND else f"{word[: 2 * AROUND]}…"
    raise Mistyped(f"{name} must be a value of type {' or '.join(types)}, not {shown!r}.")


def coerce_to(type_name: str, word: str) -> Any:
    """The word as a value of this type. Raises ValueError when it isn't one."""
    if type_name == "string":
        return word
    value = json.loads(word, parse_constant=refuse_constant)
    kinds = {
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
        "array": list,
        "object": dict,
    }
    kind = kinds.get(type_name, object)
    # In Python True is an int, and 1e999 becomes infinity, which JSON cannot express.
    confused = isinstance(value, bool) and type_name in ("integer", "number")
    infinite = isinstance(value, float) and not math.isfinite(value)
    if not isinstance(value, kind) or confused or infinite:
        raise ValueError(word)
    return value


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_json(text: str) -> Json:
    """The JSON object in `text`. Raises Mistyped, which points at the byte that is wrong."""
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise Mistyped(pointed_at(text, error.pos, f"Not JSON: {error.msg}")) from None
    except (ValueError, RecursionError) as error:
        raise Mistyped(f"Not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Mistyped('Arguments are one JSON object, as in: call add {"a": 2, "b": 5}')
    return value


def pointed_at(text: str, position: int, what: str) -> str:
    """Three lines: what is wrong and at which byte, the text around it, and a caret."""
    byte = len(text[:position].encode())
    start = max(0, position - AROUND)
    around = text[start : position + AROUND].replace("\t", " ")
    left = cell_len(around[: position - start])
    return f"{what}, at byte {byte}\n  {around}\n  {' ' * left}^"


# --- The tools, readable ------------------------------------------------------------------


def listing(tools: Iterable[Tool]) -> str:
    """Each tool with its parameters and what it does, in at most 80 columns."""
    lines: list[str] = []
    for tool in tools:
        lines += fold(signature(tool), 2, 6)
        lines += fold(tool.description or "", 6, 6)
        for name, schema in parameters_of(tool)[0].items():
            if isinstance(schema, dict) and "description" in schema:
                lines += fold(f"{name}: {schema['description']}", 6, 8)
    return "\n".join(lines)


def fold(text: str, first: int, then: int) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=" " * first,
        subsequent_indent=" " * then,
        break_on_hyphens=False,
    )


def signature(tool: Tool) -> str:
    """`add(a: number, b: number = 1)`. A `?` follows a parameter that may be left out."""
    properties, required = parameters_of(tool)
    parameters: list[str] = []
    for name, schema in properties.items():
        text = f"{name}: {' or '.join(types_of(schema))}"
        if isinstance(schema, dict) and "default" in schema:
            text += f" = {json.dumps(schema['default'], ensure_ascii=False)}"
        elif name not in required:
            text = text.replace(":", "?:", 1)
        parameters.append(text)
    return f"{tool.name}({', '.join(parameters)})"


def parameters_of(tool: Tool) -> tuple[Json, list[str]]:
    """The schemas of a tool's parameters, and the names of those it requires."""
    # Some servers send null for "none".
    schema = tool.input_schema
    return schema.get("properties") or {}, schema.get("required") or []


def types_of(schema: Any) -> list[str]:
    """The names of the JSON types that a schema allows; "JSON" where it does not say."""
    if not isinstance(schema, dict):
        return ["JSON"]
    found = schema.get("type")
    if isinstance(found, list):
        return [str(one) for one in found]
    if isinstance(found, str):
        return [found]
    enum, several = schema.get("enum"), schema.get("anyOf") or schema.get("oneOf")
    if isinstance(enum, list):
        return ["string"] if all(isinstance(one, str) for one in enum) else ["JSON"]
    if isinstance(several, list):
        return [name for one in several for name in types_of(one)] or ["JSON"]
    return ["JSON"]
