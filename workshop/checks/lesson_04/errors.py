"""When something is wrong."""

from __future__ import annotations

from workshop.checks.lesson_04.messages import Json, as_line, check_code, place_of, request
from workshop.checks.lesson_04.opening import JSON_RPC, Target, suite
from workshop.complaints import complaints_in, todo_of
from workshop.failed import Failed


@suite.check(
    "unknown-method",
    "An unknown method gets error -32601",
    todo=7,
    after=("initialize", "id", "notifications"),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="Newer clients send `server/discover` first. A server that says nothing stalls them.",
    hints={
        "died": "The question ended the server. Turn the exception into an RpcError.",
        "silent": "No reply came. The client waits until its patience ends: ten seconds, "
        "for the official one.",
        "taken": "The client now believes that this method exists and that this is its "
        "result. Raise RpcError.",
        "wrong-code": "The code for a method that does not exist is METHOD_NOT_FOUND. RpcError "
        "takes the code first, and then the text.",
    },
)
def unknown_method(target: Target) -> None:
    sent = as_line(request("server/discover", {}))
    with target.session() as child:
        replies = child.replies_before_pong(sent, "died")
    if not replies:
        raise Failed("silent", sent=sent, wanted='"code": -32601')
    line = replies[0]
    if line.message is not None and "result" in line.message:
        at = place_of(line.raw, "result")
        raise Failed("taken", sent=sent, received=line.raw, at=at, wanted='"code": -32601')
    check_code(line, -32601, sent)


@suite.check(
    "error-id",
    "An error carries the id of its request too",
    todo=4,
    after=("unknown-method",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST be the same",
    why="An error is a response like any other: without the id, the client keeps waiting.",
    hints={
        "id-lost": "The error does not say which request it is about. Set `request_id` as soon "
        "as you have the message: before anything can raise an RpcError.",
    },
)
def error_id(target: Target) -> None:
    sent = as_line({**request("server/discover", {}), "id": "who are you"})
    with target.session() as child:
        line = child.ask(sent)
    if line.message is not None and line.message.get("id") != "who are you":
        at = place_of(line.raw, "id")
        raise Failed("id-lost", sent=sent, received=line.raw, at=at, wanted='"who are you"')


@suite.check(
    "not-json",
    "A line that is not JSON gets error -32700",
    todo=8,
    after=("id",),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="One garbled line should cost one message, not the connection.",
    hints={
        "died": "The line ended the server. Catch what `json.loads` raises: ValueError, "
        "of which JSONDecodeError and UnicodeDecodeError are two kinds.",
        "silent": "No reply came. There is no id to answer with, so the id is null, "
        "but the client should learn that something was garbled.",
        "wrong-code": "The code for a line that is not JSON, or not UTF-8, is PARSE_ERROR.",
        "read-as-text": "This line is not UTF-8, and something decoded it before `json.loads` "
        "saw its bytes. `sys.stdin` gives text: `incoming` gives the bytes (TODO 1).",
    },
)
def not_json(target: Target) -> None:
    with target.child() as child:
        for sent in (b"hello\n", b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}\n'):
            try:
                replies = child.replies_before_pong(sent, "died")
            except Failed as failure:
                # Not even `serve` got the line: its loop decodes before it hands on.
                raised = complaints_in(child.whole_log, target.path)[-1:]
                if any(one.said.startswith("UnicodeDecodeError") for one in raised) and (
                    todo_of(raised[0]) == 1
                ):
                    failure.hint, failure.todo = "read-as-text", 1
                raise
            if not replies:
                raise Failed("silent", sent=sent, wanted='"code": -32700')
            # How Python keeps a byte in a text that can't have it.
            if b"udcff" in replies[0].raw:
                raise Failed(
                    "read-as-text",
                    sent=sent,
                    received=replies[0].raw,
                    at=replies[0].raw.find(b"udcff") - 1,
                    wanted='"code": -32700',
                    todo=1,
                )
            check_code(replies[0], -32700, sent)


@suite.check(
    "not-a-request",
    "JSON that is not a request gets error -32600",
    todo=8,
    after=("not-json",),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="Valid JSON can be anything: a list, a number, an object with other keys.",
    hints={
        "died": "This is JSON, but not what the next line of your code expects. Ask whether it "
        "is a dict with a string under `method` before you use it.",
        "silent": "No reply came. The client that sent this believes that it was understood.",
        "wrong-code": "It is JSON, but not a request: INVALID_REQUEST. A method is a string.",
    },
)
def not_a_request(target: Target) -> None:
    with target.child() as child:
        no_method: Json = {"jsonrpc": "2.0", "id": 1}
        for sent in (b"[]\n", as_line(no_method), as_line({**no_method, "method": 5})):
            replies = child.replies_before_pong(sent, "died")
            if not replies:
                raise Failed("silent", sent=sent, wanted='"code": -32600')
            check_code(replies[0], -32600, sent)
