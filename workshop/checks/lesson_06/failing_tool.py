"""A tool that fails.

From here on the checks run one after another: a tool that crashes or blocks delays them all.
"""

from __future__ import annotations

from typing import Any

from workshop.checks.lesson_06.opening import suite
from workshop.checks.mcp_session import McpServer, Reply, Session, parsed, request
from workshop.failed import Failed
from workshop.raw_stream import SOON


@suite.check(
    "tool-error",
    "`stock` fails for an unknown tea, and names the known ones",
    todo=3,
    after=("accepted",),
    read="A tool that fails",
    rule="MCP 2024-11-05, tools: a tool's own errors are results with isError",
    why="A model that reads what was wrong, and what would be right, can call again.",
    hints={
        "refused": "A tea that the shop has is refused. Is the condition the wrong way round?",
        "no-help": "The tool failed, and the text does not help. For any exception but "
        "ToolError the SDK sends the tool's name and nothing else (v1 sent its text too): for "
        "a KeyError, and for returned text where `-> int` promises a number. Raise "
        "ToolError, with the teas that there are in its text.",
        "not-said": "There is no such tea, but the result is a success: a number such as 0 "
        "or -1 is a number of packets, and text that says `error` is only text. Raise "
        "ToolError, and the SDK sets isError.",
        "protocol-error": "The reply is a JSON-RPC error. That is what MCPError makes, for the "
        "program that called; the model never sees it. ToolError makes a result.",
        "sold-out": "For a tea that is sold out the answer is 0. `if` takes 0 for false: test "
        "whether the tea is `in` STOCK.",
    },
    alone=True,
)
def tool_error(server: McpServer) -> None:
    with Session.open(server) as session:
        for tea, packets, kind in (("assam", 40, "refused"), ("gyokuro", 0, "sold-out")):
            known = ask_stock(session, tea)
            if known.result.get("isError") or text_of(known.result) != str(packets):
                raise Failed(
                    kind,
                    sent=known.sent,
                    received=known.raw,
                    at=known.at('"text"'),
                    wanted=f'"content": [{{"type": "text", "text": "{packets}"}}], '
                    '"isError": false',
                )
        reply = ask_stock(session, "coffee")
        if reply.error:
            hint, field = "protocol-error", '"error"'
        elif reply.result.get("isError") is not True:
            hint, field = "not-said", '"isError"'
        elif not all(tea in text_of(reply.result) for tea in ("assam", "sencha")):
            # The teas are missing where its text ends.
            hint, field = "no-help", '","type":"text"'
        else:
            return
        raise Failed(
            hint,
            sent=reply.sent,
            received=reply.raw,
            at=reply.at(field),
            wanted='"text": "… assam, darjeeling, gyokuro, sencha …", "isError": true',
        )


def ask_stock(session: Session, tea: str) -> Reply:
    """The reply to a call of `stock`. Raises Failed("no-answer")."""
    before = len(session.stream.events)
    params = {"name": "stock", "arguments": {"tea": tea}}
    call = request(session.next_id(), "tools/call", params)
    sent = session.post(call).request
    # Longer than for other replies: when a tool crashes, the SDK may first print a traceback
    # of a hundred lines, and on a busy machine that alone takes a second.
    event = session.reply(call["id"], after=before, seconds=3 * SOON)
    if event is None:
        raise Failed(
            "no-answer",
            sent=sent,
            received=session.since(before),
            wanted=f"a `message` event with the id {call['id']}",
        )
    return Reply(sent, session.bytes_of(event), parsed(event) or {})


def text_of(result: dict[str, Any]) -> str:
    """The text of a tool's result; empty when it has none."""
    content = result.get("content")
    first = content[0] if isinstance(content, list) and content else None
    text = first.get("text") if isinstance(first, dict) else None
    return text if isinstance(text, str) else ""
