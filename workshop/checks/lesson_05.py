"""The checks of lesson 05: an MCP server over HTTP+SSE.

Those with scope="protocol" fit any server: they know its tools only from its
own list, its session ids only from the endpoint it names, and expect the course's exact
status and error codes only from the course's own programs (`server.exact`).
"""

from __future__ import annotations

import ast
import json
import re
import signal
import socket
import string
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import (
    JSON_HEADERS,
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
from workshop.patience import stretched
from workshop.raw_client import Answer, read_json
from workshop.raw_stream import SOON, ReceivedEvent
from workshop.running import ProgramError, running

TRANSPORT = "HTTP+SSE 2024-11-05"
MAX_BODY = 4 * 1024 * 1024  # bytes
HEARTBEAT = 0.1  # seconds; the program is started with --heartbeat
BIG = 400_000  # bytes of one large reply
TOO_MANY = 60  # of them: three times what a server may keep for one reader
FILLING = 15  # of them: more than lies on the way to a reader, less than a server may keep
AT_ONCE = 20  # pings that are sent before their replies are awaited
TOO_MANY_EVENTS = 110  # more than may wait, but these don't
LONG = stretched(1.5)  # seconds that a slow tool takes: longer than any check waits


@contextmanager
def open_program(path: Path) -> Iterator[McpServer]:
    """Start the file. Raises ProgramError."""
    with running(path, "--heartbeat", str(HEARTBEAT), seconds=stretched(10)) as program:
        yield McpServer(f"{program.url}/sse", program, exact=True)


@contextmanager
def open_url(url: str) -> Iterator[McpServer]:
    """A server that already runs; `url` is the URL of its event stream."""
    yield McpServer(url, exact=False)


suite = Suite(
    "05_sse_server",
    open_program=open_program,
    open_url=open_url,
    start_heading="Run it",
)


def head_and_body(answer: Answer) -> bytes:
    """Status, content type and body: the visible parts of an answer."""
    kind = answer.headers.get("Content-Type", "none")
    return f"HTTP status {answer.status}\nContent-Type: {kind}\n\n".encode() + answer.body


def refuses(status: int, server: McpServer, exact: int) -> bool:
    """Whether this status refuses a request, with the course's own number where promised."""
    return status == exact if server.exact else 400 <= status < 500


def want_refusal(server: McpServer, exact: int, why: str) -> str:
    """What to show as expected where `refuses` decides."""
    return f"HTTP status {exact}, {why}" if server.exact else f"HTTP status 4xx, {why}"


# --- Whose fault it is: one check may fail for what several TODOs did ----------------------


# What Python says where the line that it names is not the one to be mended.
NO_DICT = "(object is not subscriptable|is not iterable|object has no attribute 'get')"
TOLD_BY = [
    # Python tells of the missing await only later.
    (r"JSON object must be str, bytes or bytearray, not coroutine", 4),
    (r"JSON object must be str, bytes or bytearray, not ", 10),
    (rf"'Session' {NO_DICT}", 4),
    (rf"'NoneType' {NO_DICT}", 5),
]
NOT_AWAITED = "Object of type coroutine is not JSON serializable"


def only(server: McpServer, todo: int) -> int | None:
    """The TODO; None for a server that is not the learner's exercise."""
    return todo if server.program is not None else None


def blamed(server: McpServer) -> int | None:
    """The TODO that the program's own exceptions are about, if it printed any."""
    if server.program is None:
        return None
    with suppress(ProgramError):  # it answers first, and then prints
        server.program.wait_for_output("Traceback", seconds=stretched(0.3))
    printed = server.program.output
    for told, todo in TOLD_BY:
        if re.search(rf"^TypeError: .*{told}|^AttributeError: {told}", printed, re.MULTILINE):
            return todo
    complaints = [one for one in server.program.complaints() if one.line is not None]
    # A missing await explains the exceptions that follow it; of these, the last one counts.
    first = next((one for one in complaints if "await" in one.said), None)
    return todo_of(first or complaints[-1]) if complaints else None


def has_call(server: McpServer, function: str, call: str) -> bool:
    """Whether this function of the learner's file calls something of that name."""
    if server.program is None:
        return False
    try:
        tree = ast.parse(server.program.path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, SyntaxError):
        return False
    return any(
        isinstance(inner, ast.Call) and ast.unparse(inner.func).rpartition(".")[2] == call
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
        for inner in ast.walk(node)
    )


RAISED = "Your code raised an exception on the way. The server's output names the line."


# --- The stream, and its first event ------------------------------------------------------


@suite.check(
    "opens",
    "GET answers 200 with Content-Type: text/event-stream",
    read="The stream",
    rule="WHATWG HTML, server-sent events: a client fails for any other type",
    scope="protocol",
    why="With any other type, EventSource and every MCP client give up.",
    hints={
        "no-stream": "The answer is not an event stream. StreamingResponse takes the type as "
        "`media_type`. And --url needs the stream's own URL, which usually ends in /sse.",
        "raised": RAISED,
        "guarded": "`guard` refused a request that is right: its Host is one of own_hosts, "
        "with the port, and it has no Origin. Only browsers send one.",
    },
)
def opens(server: McpServer) -> None:
    with server.open("") as stream:
        kind = stream.headers.get_content_type() if "Content-Type" in stream.headers else ""
        if stream.status != 200 or kind != "text/event-stream":
            received = f"HTTP status {stream.status}\nContent-Type: "
            received += stream.headers.get("Content-Type", "none")
            hint, todo = "no-stream", None
            if stream.status == 500 and (todo := blamed(server)):
                hint = "raised"
            elif stream.status in (403, 421) and server.program is not None:
                hint, todo = "guarded", 9
            raise Failed(
                hint,
                todo=todo,
                sent=stream.request,
                received=received,
                at=received.find("Content-Type: ") + 14 if stream.status == 200 else 12,
                wanted="HTTP status 200, Content-Type: text/event-stream",
            )


@suite.check(
    "endpoint-first",
    "The first event is `endpoint`",
    todo=1,
    after=("opens",),
    read="The stream",
    rule=f"{TRANSPORT}: MUST send it; that it comes first is how clients wait for it",
    scope="protocol",
    why="A client can't send anything before it knows where to POST.",
    hints={
        "another-event-first": "Another event came before it. Yield `endpoint` before "
        "anything else.",
        "no-event": "No event came. If bytes did: an event ends with an empty line, so its "
        "last line needs two line ends.",
        "raised": "The stream broke off before its first event: your code raised an exception. "
        "The server's output names the line.",
    },
)
def endpoint_first(server: McpServer) -> None:
    with server.open("") as stream:
        first = stream.event()
        # An event without its empty line goes on until a heartbeat brings one.
        glued = first and re.search(rb"data:.*\n:", stream.raw[first.start : first.end])
        if first is None or glued:
            todo = blamed(server) if stream.closed else None
            raise Failed(
                "raised" if todo else "no-event",
                todo=todo,
                sent=stream.request,
                received=stream.raw,
                at=glued.end() - 1 if glued else len(stream.raw),
                wanted="event: endpoint\ndata: /message?session_id=…\n\n",
            )
        if first.type != "endpoint":
            field = stream.raw.find(b"event:", first.start, first.end)
            at = field if field < 0 else field + len(b"event: ")
            raise Failed(
                "another-event-first",
                sent=stream.request,
                received=stream.raw,
                at=max(at, first.start),
                wanted="event: endpoint",
            )


@suite.check(
    "endpoint-uri",
    "Its data is a URI on the same server",
    todo=1,
    after=("endpoint-first",),
    read="The stream",
    rule=f"{TRANSPORT}: a URI; on the same origin: the SDKs' clients refuse any other",
    scope="protocol",
    why="The client joins it to the stream's URL as a browser does with a link.",
    hints={
        "not-bare": "The data must be the URI and nothing else. Quotation marks around it "
        "become part of the path: it is text, not JSON.",
        "not-filled-in": "The braces came out as they are written. Only a string with an f "
        "before its quotation mark fills them in.",
        "other-name": "The exercise's endpoint is /message?session_id=… with the session's id. "
        "POST looks for exactly that path and that name.",
        "other-origin": "The URI has a different origin from the stream's, so clients refuse "
        "it. Send the path alone: it is right under every name the server has.",
    },
)
def endpoint_uri(server: McpServer) -> None:
    with server.open("") as stream:
        event = stream.event()
        if event is None:
            raise Failed("no-answer", sent=stream.request, wanted="an `endpoint` event")
        uri = event.data
        start = stream.raw.find(b"data:", event.start)
        start = stream.raw.find(uri[:1].encode(), start + 5)
        # No URI begins like that: RFC 3986 allows neither quotation marks nor brackets there.
        if not uri or uri[0] in "\"'{[<":
            hint = "not-bare"
        elif re.search(r"\{.*\}", uri):
            hint = "not-filled-in"
        elif origin(server.url, uri) != origin(server.url):
            hint = "other-origin"
        elif server.exact and not re.match(r"[^?]*/?message\?session_id=.", uri):
            hint = "other-name"
        else:
            return
        raise Failed(
            hint,
            sent=stream.request,
            received=stream.raw,
            at=start,
            wanted="data: a path with a query, such as /message?session_id=…",
        )


def origin(base: str, uri: str = "") -> tuple[str, str | None, int | None] | None:
    """Scheme, host and port of a URI on a page at `base`; None if it is not a URI."""
    try:
        parts = urlsplit(urljoin(base, uri))
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname, parts.port or default
    except ValueError:
        return None


@suite.check(
    "heartbeat",
    "A silent stream carries a heartbeat, which is not a message",
    todo=1,
    after=("endpoint-uri",),
    read="The stream",
    rule="This course: proxies cut a connection that is silent for a minute",
    why="Without it a proxy ends the stream, and a client that is gone goes unnoticed.",
    hints={
        "silent": "Nothing came, though --heartbeat asked for one every "
        f"{HEARTBEAT} s. The exercise keeps that in `heartbeat_seconds`.",
        "as-message": "The heartbeat came as an event of type `message` (that is what an event "
        "without a type is), and clients parse it as JSON-RPC. A comment begins with a colon.",
        "no-line-end": "The heartbeat has no line end, so it runs into the line that comes "
        "next.",
        "only-one": "One heartbeat came, and no second one. After a heartbeat, go on: wait for "
        "the next message, or the next heartbeat.",
    },
)
def heartbeat(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        sent = f"{session.stream.request}\n\n(then nothing for a second)"
        wanted = f": heartbeat, and a line end, within {HEARTBEAT} s of silence"
        after = session.stream.events[-1].end
        if not session.stream.wait(lambda stream: len(stream.raw) > after):
            raise Failed("silent", sent=sent, received=session.stream.raw, wanted=wanted)
        came = session.stream.raw[after:]
        if not came.endswith((b"\n", b"\r")):
            raise Failed("no-line-end", sent=sent, received=came, at=len(came), wanted=wanted)
        for event in session.replies():
            if parsed(event) is None:
                raw = session.bytes_of(event)
                raise Failed("as-message", sent=sent, received=raw, at=0, wanted=wanted)
        if not session.stream.wait(lambda stream: len(stream.raw) > after + len(came)):
            raise Failed(
                "only-one",
                sent=sent,
                received=came,
                at=len(came),
                wanted=f"{wanted}, and again",
            )


# --- Sessions ---------------------------------------------------------------------------


@suite.check(
    "unguessable",
    "Nobody can guess another session's id",
    todo=2,
    after=("endpoint-uri",),
    read="Sessions",
    rule="MCP security best practices, 2025-06-18: secure, non-deterministic session ids",
    scope="protocol",
    why="Anyone who guesses the id can send messages in that session: it is a password.",
    hints={
        "shared": "Two streams were given the same endpoint, so their messages can't be told "
        "apart. Each session needs an id of its own.",
        "too-alike": "Streams opened one after another have ids that are nearly the same. A "
        "counter or a clock (uuid1 too) can be guessed: `secrets` makes ids that can't.",
        "too-short": "The ids are random, but so short that trying all of them finds one. Ask "
        "`secrets` for more: 8 random bytes are the least, and 32 the usual.",
    },
)
def unguessable(server: McpServer) -> None:
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session.open(server, initialize=False)) for _ in range(4)
        ]
    endpoints = [session.endpoint for session in sessions]
    first, last = changing_part(endpoints)
    differing = endpoints[0][first:last]
    # 64 bits is the least that is considered safe: 16 hexadecimal digits, 11 of base64.
    digits = set("".join(endpoint[first:last] for endpoint in endpoints))
    bits = 4 if digits <= set(string.hexdigits + "-") else 6
    if len(set(endpoints)) < len(endpoints):
        hint = "shared"
    elif len(differing) * bits < 64:
        ids = [endpoint.rpartition("=")[2] for endpoint in endpoints]
        short = all(len(id) * bits < 64 and not id.isdigit() for id in ids)
        hint = "too-short" if short else "too-alike"
    else:
        return
    raise Failed(
        hint,
        sent=f"{sessions[0].stream.request}\n\n({len(sessions)} times)",
        received="\n".join(endpoints),
        at=sum(len(endpoint) + 1 for endpoint in endpoints[:-1]) + first,
        wanted="endpoints that differ in at least 64 random bits",
    )


def changing_part(texts: list[str]) -> tuple[int, int]:
    """Where the part that differs begins and ends, counted in the first text."""
    first = common_length(texts)
    ending = common_length([text[first:][::-1] for text in texts])
    return first, len(texts[0]) - ending


def common_length(texts: list[str]) -> int:
    """How many characters all the strings share at their beginning."""
    columns = enumerate(zip(*texts, strict=False))
    shortest = min(len(text) for text in texts)
    return next((place for place, column in columns if len(set(column)) > 1), shortest)


@suite.check(
    "cleaned-up",
    "When a stream closes, its session is gone",
    todo=3,
    after=("unguessable", "heartbeat"),
    read="A client that leaves",
    rule="This course: GET /health counts the open streams as `connections`",
    why="Whatever is kept for a client that has left stays for ever: memory, and a way in.",
    hints={
        "not-counted": "GET /health has no number `connections`, or it does not count the "
        "open stream.",
        "kept": "The stream is closed, but its session is still counted.",
    },
    alone=True,
)
def cleaned_up(server: McpServer) -> None:
    # All checks have closed their streams by now, the last one a moment ago.
    want_connections(server, 0, "kept")
    session = Session.open(server, initialize=False)
    with session:
        want_connections(server, 1, "not-counted")
    want_connections(server, 0, "kept")


def want_connections(server: McpServer, wanted: int, hint: str) -> None:
    """Ask GET /health until it counts this many connections; Failed after a second."""
    deadline = time.monotonic() + SOON
    while True:
        answer = server.request("GET", "/health")
        try:
            count = answer.json()["connections"]
        except (ValueError, KeyError, TypeError):
            count = None
        if count == wanted:
            return
        if time.monotonic() > deadline or not isinstance(count, int):
            place = answer.body.find(b'"connections"')
            raise Failed(
                "not-counted" if not isinstance(count, int) else hint,
                sent=answer.request,
                received=answer.body,
                at=max(place, 0),
                wanted=f'"connections": {wanted}, the number of open streams',
            )
        time.sleep(0.02)


# --- A message goes in, its reply comes out ---------------------------------------------


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
        raise Failed(
            hint,
            todo=todo,
            sent=answer.request,
            received=head_and_body(answer),
            at=len("HTTP status "),
            wanted="HTTP status 202",
        )


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


def error_code(answer: Answer) -> object:
    """The code of the JSON-RPC error in the body of an HTTP answer; None without one."""
    try:
        return answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None


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
                raise Failed(
                    "left-with-another",
                    sent=answer.request,
                    received=head_and_body(answer),
                    at=len("HTTP status "),
                    wanted="HTTP status 202: this stream is still open",
                    todo=only(server, 3),
                )
            if own is None:
                break
        # What the other stream got by mistake comes before the reply to its own ping.
        other.post(request("other", "ping"))
        other.stream.event(is_reply)
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
            raise Failed(
                "without-id",
                sent=answer.request,
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted=want_refusal(server, 404, "because no session is named"),
            )
        raise Failed(
            "crashed" if answer.status >= 500 else "not-404",
            sent=answer.request,
            received=head_and_body(answer),
            at=len("HTTP status "),
            wanted=want_refusal(server, 404, "because there is no such session"),
        )


# Each digit becomes another digit, each letter another letter: an id of the same shape.
SHIFTED = str.maketrans("0123456789abcdefABCDEF", "1234567890bcdefaBCDEFA")


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
        raise Failed(
            "still-open",
            sent=answer.request,
            received=head_and_body(answer),
            at=len("HTTP status "),
            wanted="HTTP status 404, because the stream is closed",
        )


# --- JSON-RPC ---------------------------------------------------------------------------


ERROR = '"error": {"code": %d, "message": "…"}'
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602


def expect_error(reply: Reply, code: int) -> None:
    """Raise Failed("not-the-error") unless the reply is this error."""
    if not reply.error or reply.error.get("code") != code:
        found = reply.at('"code"') if reply.error else reply.at('"result"')
        if reply.error and found is not None:
            found = reply.raw.find(b":", found) + 1
            found += reply.raw[found : found + 1] == b" "
        raise Failed(
            "not-the-error",
            sent=reply.sent,
            received=reply.raw,
            at=found,
            wanted=ERROR % code,
        )


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
            raise Failed(
                "notification-refused",
                sent=answer.request,
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted="HTTP status 202",
            )


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


# --- Tools ------------------------------------------------------------------------------


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
        params = {"name": "echo", "arguments": {"message": said}}
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
        try:
            slow.post(call_wait(slow), seconds=stretched(0.1))
        except Failed as failure:
            if failure.hint != "no-answer":
                raise
            # Whether the POST is answered at once is for another check.
        try:
            quick.ask("ping")
        except Failed as failure:
            raise Failed(
                "frozen",
                sent=f"in one session\n{as_json(call_wait(slow))}\n\nthen in another\n"
                + failure.sent.decode(),
                wanted="the ping's reply, long before the tool is done",
            ) from None
        early = slow.replies(after=before)
        result = (parsed(early[0]) or {}).get("result") if early else None
        if result is not None:  # an error says that there is no such tool
            failed = isinstance(result, dict) and result.get("isError") is True
            raise Failed(
                "tool-failed" if failed else "did-not-wait",
                sent=as_json(call_wait(slow)),
                received=slow.bytes_of(early[0]),
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


# --- The door ---------------------------------------------------------------------------


def refused_on_both(server: McpServer, headers: dict[str, str], exact: int, why: str) -> None:
    """Expect GET and POST to be refused with these headers."""
    with server.open("", headers) as stream:
        if not refuses(stream.status, server, exact):
            raise Failed(
                "get-let-in",
                sent=stream.request,
                received=f"HTTP status {stream.status}",
                at=len("HTTP status "),
                wanted=want_refusal(server, exact, why),
            )
    with Session.open(server) as session:
        answer = session.post(request(1, "ping"), headers)
        if not refuses(answer.status, server, exact):
            raise Failed(
                "post-let-in",
                sent=answer.request,
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted=want_refusal(server, exact, why),
            )


@suite.check(
    "host",
    "A request under a foreign Host is refused with 421",
    todo=9,
    after=("own-stream",),
    read="The door",
    rule="The SDKs' convention against DNS rebinding; 421: this course and the Python SDK",
    scope="protocol",
    why="A page whose name points to 127.0.0.1 would have the same origin as this server.",
    hints={
        "get-let-in": "GET was not refused, or not with 421, under a name that is not this "
        "server's.",
        "post-let-in": "GET is guarded, but POST is not.",
        "prefix": "This Host only begins or ends like the server's own. Compare all of it, the "
        "port too.",
    },
)
def foreign_host(server: McpServer) -> None:
    why = "because that is not this server's name"
    parts = urlsplit(server.url)
    port = "" if parts.port is None else f":{parts.port}"
    refused_on_both(server, {"Host": f"rebound.example{port}"}, 421, why)
    # A registered domain may well begin with the digits of an address.
    alike = [f"{parts.hostname}.evil.example{port}"]
    if server.exact:
        alike += [
            f"evil.{parts.hostname}{port}",
            f"{parts.hostname}:1",
            f"{parts.hostname}{port}1",
        ]
    for host in alike:
        with server.open("", {"Host": host}) as stream:
            if not refuses(stream.status, server, 421):
                raise Failed(
                    "prefix",
                    sent=stream.request,
                    received=f"HTTP status {stream.status}",
                    at=len("HTTP status "),
                    wanted=want_refusal(server, 421, why),
                )


@suite.check(
    "origin",
    "A request from a foreign page's Origin is refused with 403",
    todo=9,
    after=("own-stream",),
    read="The door",
    rule=f"{TRANSPORT}: MUST validate Origin on all connections; 403: 2025-11-25",
    scope="protocol",
    why="Any page that its visitor opens could talk to this server through the browser.",
    hints={
        "get-let-in": "GET was not refused, or not with 403, for a page from elsewhere.",
        "post-let-in": "GET is guarded, but POST is not.",
        "prefix": "This Origin only begins like the server's own. Compare all of it.",
        "own-refused": "The server's own page was refused: its Origin is http:// and the Host.",
    },
)
def foreign_origin(server: McpServer) -> None:
    why = "because the page is from elsewhere"
    refused_on_both(server, {"Origin": "https://evil.example"}, 403, why)
    parts = urlsplit(server.url)
    own = f"{parts.scheme}://{parts.netloc}"
    # A registered domain may well begin with the digits of an address.
    alike = own.replace(parts.hostname or "", f"{parts.hostname}.evil.example")
    for given, allowed in ((alike, False), (f"{own}1", False), (own, True)):
        if given != alike and not server.exact:
            continue  # of which ports a server lets pages in is its own affair
        with server.open("", {"Origin": given}) as stream:
            if (stream.status < 400) != allowed:
                raise Failed(
                    "own-refused" if allowed else "prefix",
                    sent=stream.request,
                    received=f"HTTP status {stream.status}",
                    at=len("HTTP status "),
                    wanted="HTTP status 200" if allowed else want_refusal(server, 403, why),
                )


@suite.check(
    "content-type",
    "A POST that is not application/json is refused with 415",
    todo=10,
    after=("own-stream",),
    read="The door",
    rule="The SDKs' convention: refused; 415: this course",
    scope="protocol",
    why="A web page may send text/plain to any server without asking. JSON it may not.",
    hints={
        "not-415": "A message with the type text/plain was not refused, or not with 415.",
        "prefix": "This type only begins like application/json. Compare all of it, up "
        "to the semicolon.",
        "crashed": "This POST has no Content-Type, and the server failed over it. In "
        "`headers[…]` a name that is not there raises KeyError; `.get` does not.",
        "json-refused": "This type is JSON too, with a parameter. Compare what comes before "
        "the semicolon.",
    },
)
def content_type(server: McpServer) -> None:
    with Session.open(server) as session:
        answer = session.post(request(1, "ping"), {"Content-Type": "text/plain"})
        if not refuses(answer.status, server, 415):
            raise Failed(
                "not-415",
                sent=answer.request,
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted=want_refusal(server, 415, "because it is not JSON"),
            )
        if not server.exact:
            return  # no rule says that a server has to know the parameter
        kind = "application/json; charset=utf-8"
        answer = session.post(request(2, "ping"), {"Content-Type": kind})
        if answer.status != 202:
            raise Failed(
                "json-refused",
                sent=answer.request,
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted="HTTP status 202",
            )
        body = as_json(request(3, "ping")).encode()
        for headers, hint in (
            ({"Content-Type": "application/json-seq"}, "prefix"),
            ({}, "crashed"),
        ):
            answer = server.request("POST", session.endpoint, body, headers)
            if answer.status != 415:
                raise Failed(
                    hint if hint == "prefix" or answer.status >= 500 else "not-415",
                    sent=answer.request,
                    received=head_and_body(answer),
                    at=len("HTTP status "),
                    wanted=want_refusal(server, 415, "because it is not JSON"),
                )


@suite.check(
    "body-limit",
    "A body over 4 MiB is refused with 413 while it comes in",
    todo=10,
    after=("content-type",),
    read="The door",
    rule="This course; the Python SDK has the same limit",
    why="A body without an end fills the memory long before it can be measured.",
    hints={
        "waits-for-the-end": "More than 4 MiB have come in, the end has not, and there is no "
        "answer either. Count while you read.",
        "not-413": "A body over 4 MiB was answered with a status other than 413.",
        "too-strict": "A body of exactly 4 MiB was refused: that is not yet *over* MAX_BODY.",
    },
)
def body_limit(server: McpServer) -> None:
    with Session.open(server) as session:
        try:
            answer = server.request(
                "POST", session.endpoint, one_byte_too_many(), JSON_HEADERS, finish=False
            )
        except Failed as failure:
            if failure.hint == "no-answer":
                raise Failed(
                    "waits-for-the-end",
                    sent=failure.sent + b"\n\n(4 MiB and one byte, and no end yet)",
                    wanted="HTTP status 413",
                ) from None
            raise
        if answer.status != 413:
            raise Failed(
                "not-413",
                sent=answer.request + "\n\n(4 MiB and one byte, and no end yet)",
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted="HTTP status 413",
            )
        if not server.exact:
            return
        start, end = b'{"jsonrpc": "2.0", "method": "', b'"}'
        body = start + b"x" * (MAX_BODY - len(start) - len(end)) + end
        answer = server.request("POST", session.endpoint, body, JSON_HEADERS)
        if answer.status == 413:
            raise Failed(
                "too-strict",
                sent="a notification of exactly 4 MiB",
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted="HTTP status 202",
            )


def one_byte_too_many() -> Iterator[bytes]:
    """Exactly as much as the server must read: nothing is left unread when the answer comes."""
    yield b'{"jsonrpc": "2.0", "method": "'
    left = MAX_BODY - len(b'{"jsonrpc": "2.0", "method": "')
    while left:
        size = min(left, 65_536)
        left -= size
        yield b"x" * size
    yield b"x"


# --- A reader that sleeps ---------------------------------------------------------------


@suite.check(
    "bounded",
    "A client that reads nothing does not fill the memory",
    todo=11,
    after=("tool-called", "closed-session"),
    read="A reader that sleeps",
    rule="This course: at most 100 events and 8 MiB wait for a session",
    why="One client that stops reading would take the memory of the whole server.",
    hints={
        "unbounded": f"{TOO_MANY} replies of {BIG:,} bytes, nobody reads, and the server takes "
        "more. Either they all wait in memory, or they are thrown away and nobody is told. "
        "Close the session: then the client hears 404.",
        "lively-dropped": "A session whose client reads everything was closed. Events that "
        "were taken don't count any more: `next_event` subtracts their bytes.",
        "left-open": "POST does not find the session any more, and its stream is still open. "
        "`session.close()` does both.",
        "too-many-events": f"{TOO_MANY_EVENTS} small replies wait, nobody reads, and the "
        "server takes more. Bytes are one bound; MAX_WAITING_EVENTS is the other.",
    },
    alone=True,
)
def bounded(server: McpServer) -> None:
    big = {"name": "echo", "arguments": {"message": "x" * BIG}}
    with sleeping_stream(server) as (sleeper, endpoint):
        hello = as_json(request("hello", "initialize", handshake())).encode()
        answer = server.request("POST", endpoint, hello, JSON_HEADERS)
        for number in range(TOO_MANY):
            body = as_json(request(number, "tools/call", big)).encode()
            answer = server.request("POST", endpoint, body, JSON_HEADERS)
            if answer.status >= 400:
                break
        else:
            raise Failed(
                "unbounded",
                sent=f"{TOO_MANY} calls of `echo` with {BIG:,} bytes, and nobody reads",
                received=head_and_body(answer),
                at=len("HTTP status "),
                wanted="HTTP status 404, once too much waits for this reader",
            )
        if server.exact and not ends(sleeper):
            raise Failed(
                "left-open",
                sent=answer.request,
                received=head_and_body(answer),
                wanted="this answer, and the end of the session's stream",
            )
    # Another server may take all that waits in one piece: its events then wait elsewhere.
    if has_call(server, "session_events", "events"):
        expect_few_events(server, big)
    with Session.open(server) as lively:
        body = as_json(request("one of many", "ping")).encode()
        for _ in range(0, TOO_MANY_EVENTS, AT_ONCE):
            post_at_once(server, lively.endpoint, body, AT_ONCE)
            try:
                lively.ask("ping")
            except Failed as failure:
                raise Failed(
                    "lively-dropped",
                    sent=f"{TOO_MANY_EVENTS} pings, and each reply is read",
                    received=failure.received,
                    wanted=f"{TOO_MANY_EVENTS} replies",
                ) from None


def expect_few_events(server: McpServer, big: dict[str, object]) -> None:
    """Want a session closed for the number of its events, where their bytes are still few."""
    with sleeping_stream(server) as (_, endpoint):
        # These fill what lies between the server and its reader: the pings behind them wait.
        for number in range(FILLING):
            body = as_json(request(number, "tools/call", big)).encode()
            server.request("POST", endpoint, body, JSON_HEADERS)
        body = as_json(request("last", "ping")).encode()
        post_at_once(server, endpoint, body, TOO_MANY_EVENTS)
        answer = server.request("POST", endpoint, body, JSON_HEADERS)
        if answer.status == 404:
            return
        raise Failed(
            "too-many-events",
            sent=f"{TOO_MANY_EVENTS} pings, and nobody reads",
            received=head_and_body(answer),
            at=len("HTTP status "),
            wanted="HTTP status 404, once 100 events wait for this reader",
        )


def post_at_once(server: McpServer, endpoint: str, body: bytes, times: int) -> None:
    """POST it many times on one connection, and read all answers: in turn it takes a second."""
    parts = urlsplit(urljoin(server.url, endpoint))
    head = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    address = (parts.hostname or "", parts.port or 80)
    came = b""
    with socket.create_connection(address, SOON) as connection, suppress(OSError):
        connection.sendall((head.encode() + body) * times)
        while came.count(b"HTTP/1.1 ") < times and (piece := connection.recv(65_536)):
            came += piece


def ends(sleeper: socket.socket) -> bool:
    """Read on at last. Whether the response ends within a second."""
    deadline = time.monotonic() + SOON
    came = b""
    with suppress(OSError):
        while time.monotonic() < deadline and not came.endswith(b"\r\n0\r\n\r\n"):
            piece = sleeper.recv(1_000_000)
            if not piece:
                break
            came = came[-10:] + piece
        else:
            return came.endswith(b"\r\n0\r\n\r\n")
        return True
    return False


@contextmanager
def sleeping_stream(server: McpServer) -> Iterator[tuple[socket.socket, str]]:
    """The connection of a stream from which nothing more is read, and its endpoint."""
    parts = urlsplit(server.url)
    address = (parts.hostname or "", parts.port or 80)
    with socket.socket() as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.settimeout(SOON)
        sleeper.connect(address)
        sleeper.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        came = b""
        while not (found := re.search(rb"event: ?endpoint\r?\ndata: ?(\S+)\r?\n", came)):
            came += sleeper.recv(65_536)
        yield sleeper, found[1].decode()


# --- The end ----------------------------------------------------------------------------


@suite.check(
    "leaves",
    "On SIGTERM it stops within 2 s, with streams open",
    todo=12,
    after=("bounded",),
    read="Shutting down",
    rule="This course",
    why="A server that won't stop gets killed, and what it was about to write is lost.",
    hints={
        "still-there": "It still runs. uvicorn waits until every answer is complete, and a "
        "stream never is: end the streams.",
        "other-status": "It has gone, but its exit status is not 0. Stopping when told is not "
        "a failure: end the streams, and let uvicorn do the rest.",
        "cut-off": "It is gone, and a stream broke off in the middle of its response. Close "
        "the sessions, so that each stream comes to its own end; leave the rest to uvicorn.",
        "raised": "It is gone, and on the way a stream broke off: your code raised an "
        "exception. The server's output names the line.",
        "none-yielded": "The end of a stream, None, was yielded as if it were an event. "
        "`events` must return when `next_event` gives None.",
    },
    alone=True,
)
def leaves(server: McpServer) -> None:
    if server.program is None:
        return
    program = server.program
    with (
        Session.open(server, initialize=False) as one,
        Session.open(server, initialize=False) as other,
    ):
        program.stop(signal.SIGTERM, seconds=stretched(2))
        for session in (one, other):
            session.stream.wait_closed()
        whole = not (one.stream.broke_off or other.stream.broke_off)
    status = program.process.returncode
    if status == 0 and whole:
        return
    if status == 0:
        none_yielded = "'NoneType' object has no attribute 'encode'" in program.output
        todo = 1 if none_yielded else blamed(server)
        raised = "raised" if todo and "SystemExit" not in program.output else "cut-off"
        raise Failed(
            "none-yielded" if none_yielded else raised,
            sent="SIGTERM, with two streams open",
            received=one.stream.raw[-200:],
            at=len(one.stream.raw[-200:]),
            wanted="the end of both responses",
            todo=todo,
        )
    last = "\n".join(program.output.splitlines()[-4:])
    raise Failed(
        "still-there" if status == -signal.SIGKILL else "other-status",
        sent="SIGTERM, with two streams open",
        received=f"exit status {status}\n{last}",
        at=len("exit status "),
        wanted="exit status 0 within 2 s",
    )
