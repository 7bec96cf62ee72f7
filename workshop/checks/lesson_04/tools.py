"""Tools: the list, and the calls."""

from __future__ import annotations

import json
from typing import Any

from workshop.checks.lesson_04.child import Child
from workshop.checks.lesson_04.messages import (
    Json,
    Line,
    as_line,
    check_code,
    error_code,
    place_of,
    request,
    result_in,
)
from workshop.checks.lesson_04.opening import Target, suite
from workshop.failed import Failed


@suite.check(
    "tools-list",
    "`tools/list` lists add and echo",
    todo=5,
    after=("initialize", "id", "notifications"),
    read="Tools",
    rule="MCP, Tools: MUST",
    why="The list is all that a model knows of a tool: its name, its use and its arguments.",
    hints={
        "no-tools": "The result must be an object whose `tools` is a list with add and echo.",
        "no-schema": "Each tool needs `inputSchema`, an object that says "
        '"type": "object". On the wire the name is written in camel case.',
    },
)
def tools_list(target: Target) -> None:
    sent = as_line(request("tools/list", {}))
    with target.session() as child:
        line = child.ask(sent)
    result = result_in(line)
    tools = result.get("tools") if isinstance(result, dict) else None
    known = (
        {tool.get("name") for tool in tools if isinstance(tool, dict)}
        if isinstance(tools, list)
        else set()
    )
    if not isinstance(tools, list) or not {"add", "echo"} <= known:
        at = place_of(line.raw, "result")
        raise Failed("no-tools", sent=sent, received=line.raw, at=at, wanted='{"tools": […]}')
    for tool in tools:
        schema = tool.get("inputSchema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            at = place_of(line.raw, "input_schema") or line.raw.find(tool["name"].encode())
            raise Failed(
                "no-schema", sent=sent, received=line.raw, at=at, wanted='"inputSchema": {…}'
            )


def call(child: Child, name: str, arguments: Json) -> tuple[bytes, Line]:
    """Call a tool. Returns what was sent and what came."""
    sent = as_line(request("tools/call", {"name": name, "arguments": arguments}))
    return sent, child.ask(sent)


@suite.check(
    "tools-call",
    "`tools/call` runs add",
    todo=6,
    after=("initialize", "id", "notifications"),
    read="Tools",
    rule="MCP, Tools: MUST",
    why="The content is what the model gets to read.",
    hints={
        "refused": "This call is right, and the answer is an error. The arguments are in "
        '`params["arguments"]`.',
        "no-content": "The result needs `content`, a list: "
        '[{"type": "text", "text": "5"}]. A tool may give back several things.',
        "no-string": "The `text` of a text item is a string, even when it is a number. "
        "A client that checks types refuses the whole answer.",
        "no-type": 'Each piece of content says what it is: "type": "text".',
        "wrong-sum": "This is not the sum. Add first, then turn the sum into text.",
        "fraction-lost": "2.5 and 0.25 were not added as they came. The schema says number, "
        "not integer: add what you were given.",
        "is-error": "The tool worked, and `isError` says that it failed. Make it false, "
        "or leave it out.",
    },
)
def tools_call(target: Target) -> None:
    with target.session() as child:
        sent, line = call(child, "add", {"a": 2, "b": 3})
        sent_fraction, fraction = call(child, "add", {"a": 2.5, "b": 0.25})
    result = result_in(line)
    content = result.get("content") if isinstance(result, dict) else None
    if error_code(line) is not None:
        at = place_of(line.raw, "error")
        raise Failed("refused", sent=sent, received=line.raw, at=at, wanted='"result": {…}')
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        at = place_of(line.raw, "content") or place_of(line.raw, "result")
        raise Failed("no-content", sent=sent, received=line.raw, at=at, wanted='"content": […]')
    if content[0].get("type") != "text":
        at = place_of(line.raw, "content")
        raise Failed("no-type", sent=sent, received=line.raw, at=at, wanted='"type": "text"')
    text, at = content[0].get("text"), place_of(line.raw, "text")
    if not isinstance(text, str):
        raise Failed("no-string", sent=sent, received=line.raw, at=at, wanted='"text": "5"')
    if text not in ("5", "5.0"):
        raise Failed("wrong-sum", sent=sent, received=line.raw, at=at, wanted='"text": "5"')
    if result.get("isError", False) is not False:
        at = place_of(line.raw, "isError")
        raise Failed("is-error", sent=sent, received=line.raw, at=at, wanted="false")
    if text_in(fraction) != "2.75":
        at, wanted = place_of(fraction.raw, "text"), '"text": "2.75"'
        raise Failed(
            "fraction-lost", sent=sent_fraction, received=fraction.raw, at=at, wanted=wanted
        )


def text_in(line: Line) -> Any:
    """The text of the first content in a reply, or None."""
    result = result_in(line)
    content = result.get("content") if isinstance(result, dict) else None
    return content[0].get("text") if content else None


@suite.check(
    "echo",
    "`echo` returns its text unchanged",
    todo=6,
    after=("tools-call", "any-text"),
    read="Tools",
    rule="this lesson",
    why="Spaces, line breaks and letters of every script are the caller's, not ours.",
    hints={"differs": "The text came back changed. Give back exactly what came."},
)
def echo(target: Target) -> None:
    message = "  two lines\nand é 日本 \n"
    with target.session() as child:
        sent, line = call(child, "echo", {"message": message})
    if text_in(line) != message:
        at = place_of(line.raw, "text")
        raise Failed("differs", sent=sent, received=line.raw, at=at, wanted=json.dumps(message))


@suite.check(
    "bad-call",
    "A call that can't be made is refused",
    todo=6,
    after=("tools-call",),
    read="Tools",
    rule="MCP, Tools, Error Handling",
    why="A model guesses names and forgets arguments. It needs to be told, not cut off.",
    hints={
        "died": "The call ended the server, and with it everything else the client wanted. "
        "Turn the exception that its last line names into an RpcError.",
        "taken": "There is no such tool, but the reply looks as if there were. Raise RpcError.",
        "guessed": "The argument `b` is missing, and the tool ran all the same. Say so with an "
        "RpcError: otherwise a model that forgot it would never know.",
        "echo-guessed": "`echo` was called without its `message`, and answered all the same. "
        "`get` gives None for a missing argument: refuse the call with an RpcError.",
        "wrong-code": "`tools/call` exists, its params are wrong: INVALID_PARAMS. RpcError "
        "takes the code first, and then the text.",
    },
)
def bad_call(target: Target) -> None:
    unknown = as_line(request("tools/call", {"name": "subtract", "arguments": {}}))
    missing = as_line(request("tools/call", {"name": "add", "arguments": {"a": 2}}))
    silent_echo = as_line(request("tools/call", {"name": "echo", "arguments": {}}))
    with target.session() as child:
        for sent, taken in (
            (unknown, "taken"),
            (missing, "guessed"),
            (silent_echo, "echo-guessed"),
        ):
            try:
                line = child.ask(sent)
            except Failed as failure:
                if failure.hint != "no-answer":
                    failure.hint = "died"
                failure.wanted = '"code": -32602'
                raise
            result = result_in(line)
            if isinstance(result, dict) and result.get("isError") is True:
                continue  # since 2025-11-25 this is how wrong arguments should be reported
            if result is not None:
                at = place_of(line.raw, "result")
                raise Failed(
                    taken, sent=sent, received=line.raw, at=at, wanted='"code": -32602'
                )
            check_code(line, -32602, sent)
