"""The stream, and its first event."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from workshop.checks.lesson_05.blame import RAISED, blamed
from workshop.checks.lesson_05.opening import HEARTBEAT, TRANSPORT, suite
from workshop.checks.mcp_session import McpServer, Session, parsed
from workshop.failed import Failed


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
        elif re.search(r"\{[A-Za-z_][\w.]*\}", uri):  # a name: an id may have braces, too
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
