"""JSON-RPC: what gets an error, what gets no reply, and the handshake."""

from __future__ import annotations

from workshop.checks.answers import (
    ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    error_code,
    expect_error,
    head_and_body,
    wrong_status,
)
from workshop.checks.lesson_05.blame import blamed
from workshop.checks.lesson_05.opening import suite
from workshop.checks.mcp_session import (
    McpServer,
    Reply,
    Session,
    as_json,
    handshake,
    is_reply,
    notification,
    parsed,
    request,
)
from workshop.complaints import todo_of
from workshop.failed import Failed
from workshop.raw_client import Answer

NONSENSE_HINTS = {
    "crashed": "The server raised an exception on it. Whatever comes from outside needs an "
    "answer.",
    "not-the-error": "The error that JSON-RPC has for this did not come, neither in the answer "
    "nor on the stream.",
    "not-caught": "`read_message` raised its RpcError, and `receive_message` let it through. "
    "Catch it there, and answer 400 with error.reply().",
    "wrapped": "The error came, packed into `detail`: HTTPException does that. Return a "
    "JSONResponse instead.",
    "not-400": "The error came, with a status that says all is well. Clients look at the "
    "status first: 400.",
    "raised-by-post": "`receive_message` raised an exception over the RpcError that it caught. "
    "The server's output names the line.",
}


@suite.check(
    "not-json",
    "A body that is not JSON gets error -32700",
    todo=5,
    after=("own-stream",),
    read="JSON-RPC",
    rule="JSON-RPC 2.0 §5.1: -32700; in the answer or on the stream; any 4xx passes on a "
    "server that is not the course's",
    scope="protocol",
    why="One bad message must cost neither the server nor the session.",
    hints=NONSENSE_HINTS,
)
def not_json(server: McpServer) -> None:
    expect_refused(server, b'{"jsonrpc": "2.0", "id": 1, "method"', PARSE_ERROR)


@suite.check(
    "not-json-rpc",
    "JSON that is not a JSON-RPC message gets error -32600",
    todo=5,
    after=("not-json",),
    read="JSON-RPC",
    rule="JSON-RPC 2.0 §5.1: -32600; in the answer or on the stream; any 4xx passes on a "
    "server that is not the course's",
    scope="protocol",
    why="A server that guesses what was meant does things that nobody asked for.",
    hints={
        "crashed": NONSENSE_HINTS["crashed"],
        "not-the-error": NONSENSE_HINTS["not-the-error"],
        "notification-refused": "A message without `id` is a notification, and its "
        "method may be any string. `read_message` has to let it pass.",
    },
)
def not_json_rpc(server: McpServer) -> None:
    values: list[object] = ["ping", {"jsonrpc": "1.0", "id": 1, "method": "ping"}, {"id": 1}]
    if server.exact:
        values.append({"jsonrpc": "2.0", "id": 1, "method": 7})
    for value in values:
        expect_refused(server, as_json(value).encode(), INVALID_REQUEST)
    if not server.exact:
        return
    with Session.open(server, initialize=False) as session:
        answer = session.post(notification("notifications/nobody-knows-this"))
        if 400 <= answer.status < 500:
            raise wrong_status("notification-refused", answer, "HTTP status 202")


def expect_refused(server: McpServer, body: bytes, code: int) -> None:
    """POST something invalid, and expect an error: in the answer, or on the stream."""
    with Session.open(server, initialize=False) as session:
        before = len(session.stream.events)
        try:
            answer = session.post(body)
        except Failed as failure:
            if failure.hint != "no-connection":
                raise
            raise Failed("crashed", sent=failure.sent, received=failure.received) from None
        wait_for_ping(session, "after")
        replies = [parsed(event) or {} for event in session.replies(before)]
        errors = [reply["error"] for reply in replies if "error" in reply]
        try:
            errors.append(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            pass  # nothing to see in the body
        codes = [error.get("code") for error in errors if isinstance(error, dict)]
        todo = None
        if answer.status >= 500:
            hint = "crashed"
            if code == PARSE_ERROR and (found := why_crashed(server)):
                hint, todo = found, 4
        elif server.exact and error_code(answer) == code == PARSE_ERROR and answer.status < 400:
            hint, todo = "not-400", 4
        elif server.exact and code == PARSE_ERROR and error_is_wrapped(answer, code):
            hint, todo = "wrapped", 4
        elif code in codes or (answer.status >= 400 and not server.exact):
            return
        else:
            hint = "not-the-error"
        received = head_and_body(answer)
        at = received.find(b'"code"')
        raise Failed(
            hint,
            sent=answer.request,
            received=received,
            at=at if at >= 0 else len("HTTP status "),
            wanted=ERROR % code,
            todo=todo,
        )


def error_is_wrapped(answer: Answer, code: int) -> bool:
    """Whether the error stands in `detail`, where HTTPException puts what it is given."""
    try:
        return bool(answer.json()["detail"]["error"]["code"] == code)
    except (ValueError, KeyError, TypeError):
        return False


def why_crashed(server: McpServer) -> str | None:
    """A hint for a crash over nonsense where `receive_message` is to blame."""
    if blamed(server) is None or server.program is None:
        return None
    last = server.program.complaints()[-1]
    if last.said.rpartition(".")[2].startswith(("RpcError:", "RpcError")):
        return "not-caught"
    return "raised-by-post" if todo_of(last) == 4 else None


@suite.check(
    "same-id",
    "A reply has exactly its request's id",
    todo=6,
    after=("own-stream",),
    read="JSON-RPC",
    rule="JSON-RPC 2.0 §5: MUST be the same as the request's; MCP: a string or an integer",
    scope="protocol",
    why="The id is all that tells a client which request a reply answers.",
    hints={
        "other-id": "The id came back as another value. Copy it from the request as it is: 7 "
        'and "7" are two ids.',
        "no-reply": "No reply came for this id. 0 and an empty string are ids too: see whether "
        "`id` is there, not whether it is truthy.",
    },
)
def same_id(server: McpServer) -> None:
    # No handshake: it has a notification in it, which a later check is about.
    with Session.open(server, initialize=False) as session:
        for request_id in (7, "7", "a-b", 0):
            before = len(session.stream.events)
            answer = session.post(request(request_id, "ping"))
            event = session.stream.event(is_reply, after=before)
            wanted = f'"id": {as_json(request_id)}'
            if event is None:
                raise Failed("no-reply", sent=answer.request, wanted=wanted)
            message = parsed(event) or {}
            if as_json(message.get("id")) != as_json(request_id):
                raw = session.bytes_of(event)
                place = raw.find(b'"id"')
                value = raw.find(b":", place) + 1
                value += raw[value : value + 1] == b" "
                raise Failed(
                    "other-id",
                    sent=answer.request,
                    received=raw,
                    at=value if place >= 0 else raw.find(b"{"),
                    wanted=wanted,
                )


@suite.check(
    "notification",
    "A notification gets no reply",
    todo=6,
    after=("same-id",),
    read="JSON-RPC",
    rule="JSON-RPC 2.0 §4.1: MUST NOT be replied to",
    scope="protocol",
    why="Nobody asked, and a reply without a request's id is an error to a client.",
    hints={
        "replied": "A reply came. A message without `id` is a notification: do what it says, "
        "and send nothing.",
    },
)
def no_reply_to_notification(server: McpServer) -> None:
    with Session.open(server) as session:
        before = len(session.stream.events)
        sent = [
            session.post(notification("notifications/initialized")).request,
            session.post(notification("notifications/nobody-knows-this")).request,
        ]
        # Replies come in order: any to the notifications would be here before this one's.
        wait_for_ping(session, "after")
        for event in session.replies(before):
            message = parsed(event)
            if message is None or message.get("id") != "after":
                raise Failed(
                    "replied",
                    sent="\n\n".join(sent),
                    received=session.bytes_of(event),
                    at=0,
                    wanted="nothing on the stream",
                )


def wait_for_ping(session: Session, request_id: str) -> None:
    """Send a ping and wait until something with its id has come, or an error for it."""
    before = len(session.stream.events)
    session.post(request(request_id, "ping"))
    session.reply(request_id, after=before)


@suite.check(
    "initialize",
    "initialize gets version, capabilities and server info",
    after=("same-id",),
    read="JSON-RPC",
    rule="MCP 2024-11-05, lifecycle: the server MUST respond with these",
    scope="protocol",
    why="A client that can't read this ends the connection.",
    hints={
        "incomplete": "There is no result, or something is missing in it, or is not of the "
        "type.",
    },
)
def initialize(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        reply = session.ask("initialize", handshake())
        result, info = reply.result, reply.result.get("serverInfo")
        if (
            isinstance(result.get("protocolVersion"), str)
            and isinstance(result.get("capabilities"), dict)
            and isinstance(info, dict)
            and isinstance(info.get("name"), str)
            and isinstance(info.get("version"), str)
        ):
            return
        raise Failed(
            "incomplete",
            sent=reply.sent,
            received=reply.raw,
            at=reply.at('"error"' if reply.error else '"result"'),
            wanted='"result": {"protocolVersion": "…", "capabilities": {…}, '
            '"serverInfo": {"name": "…", "version": "…"}}',
        )


@suite.check(
    "version",
    "To a version it does not know, it names one that it does",
    after=("initialize",),
    read="JSON-RPC",
    rule="MCP 2024-11-05, version negotiation: MUST respond with a version it supports",
    scope="protocol",
    why="A server that agrees to anything agrees to messages that it does not understand.",
    hints={
        "echoed": "It agreed to a revision that doesn't exist. It may repeat the client's "
        "version only when it knows that revision.",
        "refused": "The reply is not a result. The server names a version, the client decides "
        "whether to stay.",
    },
)
def version(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        reply = session.ask("initialize", handshake("1999-01-01"))
        named = reply.result.get("protocolVersion")
        if named is None or named == "1999-01-01":
            raise Failed(
                "refused" if named is None else "echoed",
                sent=reply.sent,
                received=reply.raw,
                at=reply.at("1999-01-01") if named else reply.at('"error"'),
                wanted='"protocolVersion": "2024-11-05", or another that the server speaks',
            )


@suite.check(
    "unknown-method",
    "An unknown method gets error -32601",
    todo=6,
    after=("same-id", "not-json-rpc"),
    read="JSON-RPC",
    rule="JSON-RPC 2.0 §5.1: -32601, method not found",
    scope="protocol",
    why="A newer client asks for `server/discover` first, and waits 10 s for a silent server.",
    hints={
        "ignored": "No reply came. A request always gets one, even if nobody knows its method.",
        "not-the-error": "The reply is not the error that JSON-RPC has for this.",
        "without-id": "The error came, with the id null: nobody can tell what it answers. "
        "error.reply takes the request's id.",
    },
)
def unknown_method(server: McpServer) -> None:
    with Session.open(server) as session:
        for method in ("server/discover", "workshop/nobody-knows-this"):
            before = len(session.stream.events)
            request_id = session.next_id()
            answer = session.post(request(request_id, method))
            event = session.reply(request_id, after=before)
            if event is None:
                nameless = session.reply(None, after=before, seconds=0)
                raise Failed(
                    "without-id" if nameless else "ignored",
                    sent=answer.request,
                    received=session.since(before),
                    wanted=ERROR % METHOD_NOT_FOUND,
                )
            reply = Reply(answer.request, session.bytes_of(event), parsed(event) or {})
            # A server for a later revision does know server/discover.
            if method != "server/discover" or server.exact:
                expect_error(reply, METHOD_NOT_FOUND)
