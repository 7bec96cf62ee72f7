"""Tools: the list, the calls, and a tool that takes its time.

The last check is about POST, and is here because it calls that slow tool.
"""

from __future__ import annotations

from contextlib import suppress

from workshop.checks.answers import ERROR, INVALID_PARAMS, expect_error
from workshop.checks.lesson_05.blame import NOT_AWAITED, blamed, only
from workshop.checks.lesson_05.opening import suite
from workshop.checks.mcp_session import (
    McpServer,
    Reply,
    Session,
    as_json,
    handshake,
    notification,
    parsed,
    request,
)
from workshop.failed import Failed
from workshop.patience import stretched

LONG = stretched(1.5)  # seconds that a slow tool takes: longer than any check waits


@suite.check(
    "tools-listed",
    "tools/list gives each tool's name and inputSchema",
    after=("initialize",),
    read="Tools",
    rule="MCP 2024-11-05, tools: name and inputSchema, a JSON Schema of an object",
    scope="protocol",
    why="From this list the model learns what it can call, and how.",
    hints={
        "incomplete": "There is no list `tools`, or a tool in it lacks its `name`, or its "
        '`inputSchema` with "type": "object". The names must match exactly.',
    },
)
def tools_listed(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        capabilities = session.ask("initialize", handshake()).result.get("capabilities")
        session.post(notification("notifications/initialized"))
        if not isinstance(capabilities, dict) or "tools" not in capabilities:
            return  # a server without tools need not list any
        reply = session.ask("tools/list")
        tools = reply.result.get("tools")
        wanted = '"tools": [{"name": "…", "inputSchema": {"type": "object", …}}, …]'
        if not isinstance(tools, list) or not all(is_listed_right(tool) for tool in tools):
            raise Failed(
                "incomplete",
                sent=reply.sent,
                received=reply.raw,
                at=reply.at('"tools"') or reply.at('"result"') or reply.at('"error"'),
                wanted=wanted,
            )


def is_listed_right(tool: object) -> bool:
    """Whether a tool in the list has what every client needs."""
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        return False
    schema = tool.get("inputSchema")
    return isinstance(schema, dict) and schema.get("type") == "object"


@suite.check(
    "tool-called",
    "tools/call of `echo` gives the message back as text content",
    after=("tools-listed",),
    read="Tools",
    rule="MCP 2024-11-05, tools: a result is a list `content`",
    why="A client hands the content to the model, whatever language it is in.",
    hints={
        "other-content": "The result has no list `content`, or its first item is not the text "
        "that was sent.",
        "refused": "`echo` was called as the list says, and the reply is an error. Is one of "
        "the conditions in `call_tool` the wrong way round?",
        "ignored": "No reply came: the call raised an exception, or was never awaited.",
        "whole-message": "The method was handed the whole message, so it does not find its "
        "arguments: a method takes the message's `params`.",
    },
)
def tool_called(server: McpServer) -> None:
    said = "hello SSE\n日本 é ✓"
    with Session.open(server) as session:
        params: dict[str, object] = {"name": "echo", "arguments": {"message": said}}
        try:
            reply = session.ask("tools/call", params)
        except Failed as failure:
            wanted = f'"text": {as_json(said)}'
            todo = blamed(server) or only(server, 7)
            if server.program is not None and NOT_AWAITED in server.program.output:
                todo = 7
            hint = "ignored"
            if has_whole_message(session, params):
                hint, todo = "whole-message", only(server, 6)
            sent = failure.sent
            raise Failed(hint, sent=sent, wanted=wanted, todo=todo) from None
        if reply.error and server.program is not None:
            whole = has_whole_message(session, params)
            raise Failed(
                "whole-message" if whole else "refused",
                sent=reply.sent,
                received=reply.raw,
                at=reply.at('"error"'),
                wanted=f'"content": [{{"type": "text", "text": {as_json(said)}}}]',
                todo=6 if whole else 7,
            )
        content = reply.result.get("content")
        first = content[0] if isinstance(content, list) and content else None
        text = first.get("text") if isinstance(first, dict) else None
        if text == said and isinstance(first, dict) and first.get("type") == "text":
            return
        raise Failed(
            "other-content",
            sent=reply.sent,
            received=reply.raw,
            at=reply.at('"result"') if text is None else reply.at('"text"'),
            wanted=f'"content": [{{"type": "text", "text": {as_json(said)}}}]',
        )


def has_whole_message(session: Session, params: dict[str, object]) -> bool:
    """Whether a call is understood whose params stand in the message itself."""
    request_id = session.next_id()
    before = len(session.stream.events)
    session.post(request(request_id, "tools/call", {}) | params)
    event = session.reply(request_id, after=before)
    return event is not None and "result" in (parsed(event) or {})


@suite.check(
    "bad-params",
    "A call that can't be made gets error -32602",
    todo=7,
    after=("tool-called", "unknown-method"),
    read="Tools",
    rule="MCP 2024-11-05, tools: unknown tools and invalid arguments are protocol errors; its "
    "example is -32602; any error passes on a server that is not the course's",
    scope="protocol",
    why="The client asked for something that the list doesn't offer: that is its own mistake.",
    hints={
        "ignored": "No reply came. The reply to a call that can't be made is an error.",
        "tool-error": "The reply is a result with isError. That is for a tool that ran and "
        "failed; here no tool could run.",
        "not-the-error": "The reply is not the error that JSON-RPC has for this.",
    },
)
def bad_params(server: McpServer) -> None:
    calls: list[dict[str, object]] = [{"name": "nobody-knows-this", "arguments": {}}]
    if server.exact:
        calls.append({"name": "echo", "arguments": {}})
        calls.append({"name": "add", "arguments": {"a": 1, "b": "two"}})
    with Session.open(server) as session:
        for params in calls:
            before = len(session.stream.events)
            request_id = session.next_id()
            answer = session.post(request(request_id, "tools/call", params))
            event = session.reply(request_id, after=before)
            if event is None:
                raise Failed("ignored", sent=answer.request, wanted=ERROR % INVALID_PARAMS)
            reply = Reply(answer.request, session.bytes_of(event), parsed(event) or {})
            if reply.result.get("isError") is True and server.exact:
                raise Failed(
                    "tool-error",
                    sent=reply.sent,
                    received=reply.raw,
                    at=reply.at('"isError"'),
                    wanted=ERROR % INVALID_PARAMS,
                )
            if server.exact or not (reply.error or reply.result.get("isError")):
                expect_error(reply, INVALID_PARAMS)


@suite.check(
    "tool-fails",
    "A tool that fails gives a result with isError",
    todo=7,
    after=("bad-params",),
    read="Tools",
    rule="MCP 2024-11-05, tools: a tool's own errors are results with isError",
    why="The model reads a result, and can try again. It never sees a protocol error.",
    hints={
        "protocol-error": "The reply is a JSON-RPC error. The call was right and the tool "
        "failed: give a result.",
        "not-said": "The result does not say that the tool failed: isError must be true.",
        "ignored": "No reply came: the tool's exception ended the work on this message.",
    },
)
def tool_fails(server: McpServer) -> None:
    params = {"name": "add", "arguments": {"a": 1e308, "b": 1e308}}
    wanted = '"result": {"content": [{"type": "text", "text": "why"}], "isError": true}'
    with Session.open(server) as session:
        before = len(session.stream.events)
        request_id = session.next_id()
        answer = session.post(request(request_id, "tools/call", params))
        event = session.reply(request_id, after=before)
        if event is None:
            raise Failed("ignored", sent=answer.request, wanted=wanted)
        reply = Reply(answer.request, session.bytes_of(event), parsed(event) or {})
        if reply.result.get("isError") is not True:
            raise Failed(
                "protocol-error" if reply.error else "not-said",
                sent=reply.sent,
                received=reply.raw,
                at=reply.at('"error"') if reply.error else reply.at('"isError"'),
                wanted=wanted,
            )


@suite.check(
    "others-go-on",
    "While one client's tool waits, the others are served",
    todo=8,
    # One after the other: each of these takes a second or two when it fails.
    after=("tool-called", "tool-fails", "not-json-rpc"),
    read="Tools",
    rule="This course",
    why="All sessions share one event loop: a tool that blocks it blocks everybody.",
    hints={
        "frozen": f"While a tool waited {LONG} s in one session, another session's ping got no "
        "reply. time.sleep stops the whole event loop; asyncio.sleep lets it go on.",
        "did-not-wait": f"The tool was asked to wait {LONG} s and answered at once. A "
        "coroutine that is only made, or put into a task, is not waited for: await it.",
        "tool-failed": "The tool did not wait: it failed, and its result says why.",
    },
    alone=True,
)
def others_go_on(server: McpServer) -> None:
    with Session.open(server) as slow, Session.open(server) as quick:
        before = len(slow.stream.events)
        call = call_wait(slow)
        try:
            slow.post(call, seconds=stretched(0.1))
        except Failed as failure:
            if failure.hint != "no-answer":
                raise
            # Whether the POST is answered at once is for another check.
        try:
            quick.ask("ping")
        except Failed as failure:
            raise Failed(
                "frozen",
                sent=f"in one session\n{as_json(call)}\n\nthen in another\n"
                + failure.sent.decode(),
                wanted="the ping's reply, long before the tool is done",
            ) from None
        # Two streams keep no order between them, one does: a tool that did not wait has
        # replied before this ping. A server that takes a session's messages one by one says
        # nothing now, and that is all right.
        with suppress(Failed):
            slow.ask("ping")
        early = slow.reply(call["id"], after=before, seconds=0)
        result = (parsed(early) or {}).get("result") if early else None
        if early is not None and result is not None:  # an error says that there is no such tool
            failed = isinstance(result, dict) and result.get("isError") is True
            raise Failed(
                "tool-failed" if failed else "did-not-wait",
                sent=as_json(call),
                received=slow.bytes_of(early),
                wanted=f"its result after {LONG} s, and not before",
            )


def call_wait(session: Session) -> dict[str, object]:
    """The call of a tool that takes longer than any check waits."""
    params = {"name": "wait", "arguments": {"seconds": LONG}}
    return request(session.next_id(), "tools/call", params)


@suite.check(
    "accepted-at-once",
    "202 comes before the tool is done",
    todo=4,
    after=("others-go-on",),
    read="POST",
    rule="This course: clients limit how long a POST may take (the Python SDK: 5 s)",
    why="A client that gives up on its POST never sees the reply of a slow tool.",
    hints={
        "after-the-tool": "The POST was answered only when the tool was done. Answer it at "
        "once, and let the tool run in the background.",
    },
    alone=True,
)
def accepted_at_once(server: McpServer) -> None:
    with Session.open(server) as session:
        try:
            session.post(call_wait(session))
        except Failed as failure:
            if failure.hint != "no-answer":
                raise
            raise Failed(
                "after-the-tool",
                sent=failure.sent,
                wanted=f"HTTP status 202, while the tool still waits its {LONG} s",
            ) from None
