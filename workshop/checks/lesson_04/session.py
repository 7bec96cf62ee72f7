"""The handshake, ids, any text, and notifications."""

from __future__ import annotations

import json

from workshop.checks.lesson_04.messages import (
    INITIALIZED,
    Json,
    as_line,
    error_code,
    initialize_request,
    is_utf_8,
    ping,
    place_of,
    result_in,
)
from workshop.checks.lesson_04.opening import JSON_RPC, STDIO, Target, suite
from workshop.failed import Failed


@suite.check(
    "initialize",
    "`initialize` is answered with version, capabilities and name",
    todo=3,
    after=("only-messages",),
    read="The handshake",
    rule="MCP 2024-11-05 to 2025-11-25, Lifecycle: MUST",
    why="Until a client has this answer it asks for nothing else.",
    hints={
        "no-result": "`initialize` must be answered with a result. If the program ended, "
        "its last line says why.",
        "missing": "The result needs three keys: `protocolVersion`, `capabilities` and "
        "`serverInfo`, spelled exactly like that.",
        "wrong-kind": "The key is there, but its value is of the wrong kind. "
        "`protocolVersion` is one string. `capabilities` and `serverInfo` are objects.",
        "wrapped": "There is a result in the result. Return only what is inside: `reply_to` "
        "adds `jsonrpc`, `id` and `result`.",
        "no-tools": "Announce the tools: `capabilities` needs an object `tools`, which may be "
        "empty. A client does not ask for what the server has not announced.",
    },
)
def initialize(target: Target) -> None:
    sent = as_line(initialize_request("2025-11-25"))
    with target.child() as child:
        try:
            line = child.ask(sent)
        except Failed as failure:
            raise Failed(
                "no-result", sent=sent, received=failure.received, wanted="a result"
            ) from failure
    result = result_in(line)
    if not isinstance(result, dict):
        raise Failed("no-result", sent=sent, received=line.raw, wanted='"result": {…}')
    for key, kind in (("protocolVersion", str), ("capabilities", dict), ("serverInfo", dict)):
        if not isinstance(result.get(key), kind):
            hint = "wrapped" if "result" in result else "missing"
            if result.get(key) is not None:
                hint = "wrong-kind"
            at = place_of(line.raw, key) or place_of(line.raw, "result")
            raise Failed(hint, sent=sent, received=line.raw, at=at, wanted=f'"{key}"')
    if not isinstance(result["capabilities"].get("tools"), dict):
        at = place_of(line.raw, "capabilities")
        raise Failed("no-tools", sent=sent, received=line.raw, at=at, wanted='{"tools": {}}')


@suite.check(
    "version",
    "Both sides agree on a version",
    todo=3,
    after=("initialize",),
    read="The handshake",
    rule="MCP 2024-11-05 to 2025-11-25, Version Negotiation: MUST",
    why="From here on both sides follow that version.",
    hints={
        "ignored": "The client asked for a version that you speak, and got another one. "
        "Agree to what it asks for if you can.",
        "not-newest": "You were asked for a version that you don't speak. Offer your newest, "
        "and let the client decide.",
        "echoed": "There is no such version, and you agreed to it. Offer your newest instead: "
        "then the client can leave, or agree.",
        "refused": "A version that you don't speak is not an error: offer your newest, and let "
        "the client decide.",
    },
)
def version(target: Target) -> None:
    newest = "2025-11-25"
    for asked in ("2024-11-05", newest, "1900-01-01"):
        sent = as_line(initialize_request(asked))
        with target.child() as child:
            line = child.ask(sent)
        result = result_in(line)
        if not isinstance(result, dict):
            raise Failed("refused", sent=sent, received=line.raw, wanted='"result": {…}')
        at = place_of(line.raw, "protocolVersion")
        got = result.get("protocolVersion")
        if asked != "1900-01-01" and got != asked:
            raise Failed("ignored", sent=sent, received=line.raw, at=at, wanted=f'"{asked}"')
        if asked == "1900-01-01" and got == asked:
            raise Failed(
                "echoed", sent=sent, received=line.raw, at=at, wanted="a version of yours"
            )
        if asked == "1900-01-01" and got != newest:
            raise Failed("not-newest", sent=sent, received=line.raw, at=at, wanted=newest)


@suite.check(
    "id",
    "A reply carries the id of its request",
    todo=4,
    after=("only-messages",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST be the same",
    why="The id is the only thing that says which question this answer belongs to.",
    hints={
        "not-the-id": "This is not the id of the request. Take it from the message.",
        "other-type": 'The id changed its type on the way: 7 and "7" are two ids. '
        "Give back the value itself.",
        "zero-lost": "0 is an id like any other, but Python treats it as false. "
        'Ask whether "id" is in the message, not whether it is true.',
    },
)
def same_id(target: Target) -> None:
    with target.child() as child:
        for id in (7, "seven", 0):
            sent = as_line(ping(id))
            try:
                line = child.ask(sent)
            except Failed as failure:
                if id == 0 and failure.hint == "no-answer":  # taken for a notification
                    failure.hint = "zero-lost"
                raise
            got = None if line.message is None else line.message.get("id")
            if got == id and type(got) is type(id):
                continue
            hint = "not-the-id"
            if id == 0:
                hint = "zero-lost"
            elif str(got) == str(id):
                hint = "other-type"
            at = place_of(line.raw, "id")
            raise Failed(
                hint, sent=sent, received=line.raw, at=at, wanted=f'"id": {json.dumps(id)}'
            )


@suite.check(
    "any-text",
    "Line breaks and letters of every script fit in the line",
    todo=2,
    after=("id",),
    read="One message, one line",
    rule=f"{STDIO} not contain embedded newlines, MUST be UTF-8",
    why="The reply repeats text that the client chose. It must still be one line of UTF-8.",
    hints={
        "line-break": "The text has a line break in it, and now your line has one too. "
        "`json.dumps` writes it as a backslash and an n: leave that as it is.",
        "not-utf-8": "The line is not UTF-8. Encode it as UTF-8, or let `json.dumps` escape "
        "what is not ASCII.",
        "not-read": "The line is JSON in UTF-8, and was refused as if it were not. "
        "`json.loads` takes the bytes as they came (TODO 8).",
        "died": "Sending this text ended the server. Encode it as UTF-8, which has every "
        "letter, or let `json.dumps` escape what is not ASCII.",
    },
)
def any_text(target: Target) -> None:
    for id in ("in\ntwo lines", "日本", "é"):
        sent = as_line(ping(id))
        with target.child() as child:
            try:
                line = child.ask(sent)
            except Failed as failure:
                if failure.hint == "crashed":
                    failure.hint = "died"
                raise
        if not is_utf_8(line.raw):
            raise Failed("not-utf-8", sent=sent, received=line.raw, wanted=sent.decode())
        if error_code(line) == -32700:
            at = place_of(line.raw, "error")
            wanted = f'"id": {json.dumps(id)}'
            raise Failed("not-read", sent=sent, received=line.raw, at=at, wanted=wanted, todo=8)
        if line.message is None:
            at = len(line.raw) - 1
            raise Failed("line-break", sent=sent, received=line.raw, at=at, wanted="\\n")


@suite.check(
    "notifications",
    "A notification gets no reply",
    todo=4,
    after=("id",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST NOT",
    why="Nothing waits for it. A client that gets one takes it for the answer to something.",
    hints={
        "answered": "`notifications/initialized` has no id, so nothing waits for a reply. "
        "Return None before you make one.",
        "unknown-answered": "This has no id, so it is a notification and gets no reply, not "
        "even an error: look for the id, not for the name.",
        "refused": "A message without an id was refused as invalid. It is valid: it is a "
        "notification. Let it through, and return None for it.",
        "died": "The server ended at the notification, which is a message without an id. Ask "
        "whether there is one before you use it.",
    },
)
def notifications(target: Target) -> None:
    unknown: Json = {"jsonrpc": "2.0", "method": "notifications/never/heard/of"}
    with target.child() as child:
        for notification, hint in (
            (INITIALIZED, "answered"),
            (unknown, "unknown-answered"),
            ({"jsonrpc": "2.0", "method": "ping"}, "unknown-answered"),
        ):
            sent = as_line(notification)
            for line in child.replies_before_pong(sent, "died")[:1]:
                if error_code(line) == -32600:
                    hint = "refused"
                raise Failed(hint, sent=sent, received=line.raw, at=0, wanted="nothing")
