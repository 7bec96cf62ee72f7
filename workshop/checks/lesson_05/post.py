"""A message goes in, and its reply comes out."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from urllib.parse import urlsplit

from workshop.checks.answers import (
    INVALID_REQUEST,
    PARSE_ERROR,
    error_code,
    head_and_body,
    refuses,
    want_refusal,
    wrong_status,
)
from workshop.checks.lesson_05.blame import NO_DICT, NOT_AWAITED, RAISED, blamed, has_call, only
from workshop.checks.lesson_05.opening import TRANSPORT, suite
from workshop.checks.lesson_05.sessions import changing_part, want_connections
from workshop.checks.mcp_session import (
    JSON_HEADERS,
    McpServer,
    Session,
    as_json,
    handshake,
    is_reply,
    parsed,
    request,
)
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.raw_client import Answer, read_json
from workshop.raw_stream import ReceivedEvent


@suite.check(
    "accepted",
    "A POST to the endpoint is accepted with status 202",
    todo=4,
    # From here to own-stream one check runs after the other, and all that follow come after
    # them: where replies go astray, sessions that are open side by side disturb each other.
    after=("unguessable", "heartbeat"),
    read="POST",
    rule="The SDKs' convention: 202; any 2xx passes on a server that is not the course's",
    scope="protocol",
    why="202 says: accepted, and the reply comes another way.",
    hints={
        "not-202": "The message is right and went to the endpoint that the stream named, but "
        "the answer's status is not 202.",
        "raised": RAISED,
        "id-is-no-string": "No session was found under this id. A value from a query is a "
        "string, and never equals a number, a UUID object or bytes: make `self.id` a string. "
        "If it is one, look at how `receive_message` asks for it.",
        "message-refused": "`read_message` refused a message that is right: it has "
        '"jsonrpc": "2.0", a string, and a "method".',
        "body-refused": "`read_body` refused a POST that is right: its Content-Type is "
        "application/json, and it is short.",
        "body-lost": "The body that `read_body` gave is not the one that was sent. It comes in "
        "pieces, and the last one may be empty: add each piece to those before it.",
    },
)
def accepted(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        answer = session.post(request(1, "initialize", handshake()))
        if answer.status == 202 or (200 <= answer.status < 300 and not server.exact):
            return
        hint, todo = why_refused(server, session, answer)
        raise wrong_status(hint, answer, "HTTP status 202", todo=todo)


def why_refused(server: McpServer, session: Session, answer: Answer) -> tuple[str, int | None]:
    """Why a right POST is not accepted: a hint of `accepted`, and another TODO than its own."""
    if server.program is None:
        return "not-202", None
    if answer.status >= 500 and (todo := blamed(server)):
        return "raised", todo
    if answer.status in (413, 415):
        return "body-refused", 10
    if answer.status == 400 and error_code(answer) == PARSE_ERROR:
        read_by_us = has_call(server, "read_body", "body")
        return ("message-refused", 5) if read_by_us else ("body-lost", 10)
    if answer.status == 400 and error_code(answer) == INVALID_REQUEST:
        return "message-refused", 5
    if answer.status == 404:
        value = urlsplit(session.endpoint).query.partition("=")[2]
        if re.fullmatch(
            r"\d+|b['\"].*|b%27.*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value
        ):
            return "id-is-no-string", 2
    return "not-202", None


@suite.check(
    "reply-on-stream",
    "The reply comes on the stream, as a `message` event",
    todo=4,
    after=("accepted",),
    read="POST",
    rule=f"{TRANSPORT}: server messages are `message` events",
    scope="protocol",
    why="A client listens for its reply on the stream, and nowhere else.",
    hints={
        "in-the-body": "The reply came in the body of the POST's answer. Put it on the "
        "session's stream, and leave the body empty.",
        "other-type": "An event came, but with a type that no client listens for.",
        "nothing": "Nothing came on the stream within a second. Is the message handed to "
        "`in_background`, and does `events` yield what `next_event` gives?",
        "raised": RAISED,
        "swapped": "`in_background` was given the session where it takes the message: first "
        "the message, then the session.",
        "no-message": "`answer` was given None instead of a message: `read_message` has to "
        "return the message that it has read.",
        "not-awaited": "`answer` put a coroutine into the reply: the method was called and not "
        "awaited.",
        "no-result": "An unknown method got its error, and `initialize` gets nothing: `answer` "
        "must return the reply with the result, too.",
        "ended": "The stream ended instead of carrying the reply: `send` closes a session that "
        "has nothing waiting. Which way round is the comparison?",
    },
)
def reply_on_stream(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        before = len(session.stream.events)
        answer = session.post(request(1, "initialize", handshake()))
        sent = answer.request
        wanted = 'event: message\ndata: {"jsonrpc":"2.0","id":1,…}'
        if looks_like_reply(answer):
            raise Failed(
                "in-the-body", sent=sent, received=head_and_body(answer), wanted=wanted
            )
        if session.stream.event(is_reply, after=before) is not None:
            return
        for event in session.stream.events[before:]:
            if parsed(event) is not None and "jsonrpc" in event.data:
                at = session.bytes_of(event).find(event.type.encode())
                raise Failed(
                    "other-type",
                    sent=sent,
                    received=session.bytes_of(event),
                    at=at if at >= 0 else 0,
                    wanted=wanted,
                )
        hint, todo = why_silent(server, session)
        raise Failed(hint, sent=sent, received=session.since(before), wanted=wanted, todo=todo)


def why_silent(server: McpServer, session: Session) -> tuple[str, int | None]:
    """Why no reply comes: a hint of `reply_on_stream`, and another TODO than its own."""
    if server.program is None:
        return "nothing", None
    todo = blamed(server)
    if NOT_AWAITED in server.program.output:
        return "not-awaited", 6
    if re.search(rf"'(Session|NoneType)' {NO_DICT}", server.program.output) and todo in (4, 5):
        return ("swapped" if todo == 4 else "no-message"), todo
    if todo:
        return "raised", todo
    if session.stream.closed and has_call(server, "send", "close"):
        return "ended", 11
    before = len(session.stream.events)
    with suppress(Failed):
        session.post(request(2, "workshop/nobody-knows-this"))
    if session.stream.event(is_reply, after=before, seconds=stretched(0.3)) is not None:
        return "no-result", 6
    return "nothing", None


def looks_like_reply(answer: Answer) -> bool:
    """Whether the body of an HTTP answer holds a JSON-RPC response."""
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "jsonrpc" in body


@suite.check(
    "reply-is-json",
    "The data of each `message` event is one JSON object",
    todo=1,
    after=("reply-on-stream",),
    read="The stream",
    rule=f"{TRANSPORT}: the message encoded as JSON in the event's data; JSON-RPC 2.0 §5",
    scope="protocol",
    why="A client parses it as JSON. It drops anything it can't parse, and goes on waiting.",
    hints={
        "no-json": "This is not JSON. A dict printed by Python has other quotation marks: "
        "json.dumps writes JSON.",
        "cut-off": "The JSON goes on after a line end, where the field `data` is over. Write "
        "it on one line.",
        "twice": "This is a JSON string that contains JSON: the message was encoded twice. "
        "`answer` returns a dict: `reply_on_stream` makes JSON of it.",
        "an-event": "The data is a whole event. What `next_event` gives has been encoded by "
        "`send`'s caller: yield it as it is.",
        "no-rpc": 'This is JSON, but not a response: it needs "jsonrpc": "2.0", "id", and '
        'either "result" or "error", not both.',
    },
)
def reply_is_json(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        before = len(session.stream.events)
        answer = session.post(request(1, "initialize", handshake()))
        event = session.stream.event(is_reply, after=before)
        if event is None:
            raise Failed("no-answer", sent=answer.request, wanted="a `message` event")
        fault = fault_of(event)
        if fault is None:
            return
        hint, place = fault
        raw = session.bytes_of(event)
        todo = only(server, 6) if hint in ("twice", "no-rpc") else None
        data = raw.find(b"data:") + len(b"data:")
        data += raw[data : data + 1] == b" "
        raise Failed(
            hint,
            sent=answer.request,
            received=raw,
            at=data + len(event.data[:place].encode()),
            wanted='data: {"jsonrpc":"2.0","id":1,"result":{…}}',
            todo=todo,
        )


def fault_of(event: ReceivedEvent) -> tuple[str, int] | None:
    """What keeps the event's data from being a response: a hint's key, and where it is."""
    if re.match(r"(b['\"])?event:", event.data):
        return "an-event", 0
    try:
        message = read_json(event.data)
    except json.JSONDecodeError as error:
        return ("cut-off" if error.pos == len(event.data) else "no-json"), error.pos
    except ValueError:  # it may be JSON, but nobody can read it: too deep, too many digits
        return "no-json", 0
    if isinstance(message, str):
        return "twice", 0
    if (
        not isinstance(message, dict)
        or message.get("jsonrpc") != "2.0"
        or "id" not in message
        or ("result" in message) == ("error" in message)
    ):
        return "no-rpc", 0
    return None


@suite.check(
    "own-stream",
    "The reply goes to the client that asked, and to no other",
    todo=4,
    after=("reply-is-json",),
    read="Sessions",
    rule=f"{TRANSPORT}: handles several clients; the endpoint tells which one sent",
    scope="protocol",
    why="One client would read another's reply, and take it for its own.",
    hints={
        "broadcast": "The reply went to every open stream.",
        "wrong-stream": "The reply went to another client's stream. Look the session up by "
        "the id in the POST's query, and give each session its own outbox.",
        "raised": RAISED,
        "left-with-another": "Another client closed its stream, and now this session is gone "
        "too. Take out the one session whose stream has ended, and no other.",
    },
)
def own_stream(server: McpServer) -> None:
    with (
        Session.open(server, initialize=False) as asking,
        Session.open(server, initialize=False) as other,
    ):
        if server.exact:  # a third client comes and goes
            Session.open(server, initialize=False).close()
        # Twice: where both streams take from one queue, they take turns.
        for request_id in ("mine", "mine too"):
            before = len(asking.stream.events)
            answer = asking.post(request(request_id, "ping"))
            own = asking.stream.event(is_reply, after=before)
            if answer.status == 404:
                raise wrong_status(
                    "left-with-another",
                    answer,
                    "HTTP status 202: this stream is still open",
                    todo=only(server, 3),
                )
            if own is None:
                break
        # What the other stream got by mistake comes before the reply to its own ping. Of two
        # that it got, the second one counts.
        other.post(request("other", "ping"))
        other.stream.event(
            lambda event: is_reply(event) and (parsed(event) or {}).get("id") != "mine"
        )
        stray = other.reply(request_id, seconds=0)
        if stray is not None:
            raw = other.bytes_of(stray)
            raise Failed(
                "wrong-stream" if own is None else "broadcast",
                sent=answer.request,
                received=raw,
                at=raw.find(as_json(request_id).encode()),
                wanted="on this other client's stream: nothing",
            )
        if own is None:
            todo = blamed(server)
            raise Failed(
                "raised" if todo else "no-answer",
                sent=answer.request,
                wanted="a reply on its own stream",
                todo=todo,
            )


# Each digit becomes another digit, each letter another letter: an id of the same shape.
SHIFTED = str.maketrans("0123456789abcdefABCDEF", "1234567890bcdefaBCDEFA")


@suite.check(
    "unknown-session",
    "A POST to a session that does not exist is refused with 404",
    todo=4,
    after=("own-stream",),
    read="POST",
    rule="The SDKs' convention: 404; any 4xx passes on a server that is not the course's",
    scope="protocol",
    why="A client whose session is gone has to be told, or it waits for ever.",
    hints={
        "crashed": "The server crashed on an id that it does not know: look it up, don't take "
        "it for granted.",
        "not-404": "No stream has this id, so no reply can reach anybody: say so.",
        "without-id": "This POST names no session, and the server failed over it. In "
        "`query_params[…]` a name that is not there raises KeyError; `.get` gives None.",
    },
)
def unknown_session(server: McpServer) -> None:
    with Session.open(server) as session, Session.open(server, initialize=False) as other:
        first, last = changing_part([session.endpoint, other.endpoint])
        made_up = session.endpoint[first:last].translate(SHIFTED)
        endpoint = session.endpoint[:first] + made_up + session.endpoint[last:]
        body = as_json(request(1, "ping")).encode()
        answer = server.request("POST", endpoint, body, JSON_HEADERS)
        if refuses(answer.status, server, 404):
            if not server.exact:
                return
            bare = urlsplit(session.endpoint).path
            answer = server.request("POST", bare, body, JSON_HEADERS)
            if answer.status < 500:
                return
            raise wrong_status(
                "without-id", answer, want_refusal(server, 404, "because no session is named")
            )
        raise wrong_status(
            "crashed" if answer.status >= 500 else "not-404",
            answer,
            want_refusal(server, 404, "because there is no such session"),
        )


@suite.check(
    "closed-session",
    "A POST to a session whose stream has closed is refused with 404",
    todo=4,
    after=("unknown-session", "cleaned-up"),
    read="POST",
    rule="This course",
    why="The reply could reach nobody, and an id that still works is a way in.",
    hints={
        "still-open": "The stream is closed and no longer counted, but POST still finds the "
        "session.",
    },
    alone=True,
)
def closed_session(server: McpServer) -> None:
    with Session.open(server) as session:
        pass
    want_connections(server, 0, "kept")
    answer = session.post(request(1, "ping"))
    if answer.status != 404:
        raise wrong_status(
            "still-open", answer, "HTTP status 404, because the stream is closed"
        )
