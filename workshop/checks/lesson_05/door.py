"""The door: Host, Origin, Content-Type, and how long a body may be."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from workshop.checks.answers import refuses, want_refusal, wrong_status, wrong_stream
from workshop.checks.lesson_05.opening import TRANSPORT, suite
from workshop.checks.mcp_session import JSON_HEADERS, McpServer, Session, as_json, request
from workshop.failed import Failed

MAX_BODY = 4 * 1024 * 1024  # bytes


def refused_on_both(server: McpServer, headers: dict[str, str], exact: int, why: str) -> None:
    """Expect GET and POST to be refused with these headers."""
    with server.open("", headers) as stream:
        if not refuses(stream.status, server, exact):
            raise wrong_stream("get-let-in", stream, want_refusal(server, exact, why))
    with Session.open(server) as session:
        answer = session.post(request(1, "ping"), headers)
        if not refuses(answer.status, server, exact):
            raise wrong_status("post-let-in", answer, want_refusal(server, exact, why))


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
                raise wrong_stream("prefix", stream, want_refusal(server, 421, why))


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
            if allowed and stream.status >= 400:
                raise wrong_stream("own-refused", stream, "HTTP status 200")
            if not allowed and stream.status < 400:
                raise wrong_stream("prefix", stream, want_refusal(server, 403, why))


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
            raise wrong_status(
                "not-415", answer, want_refusal(server, 415, "because it is not JSON")
            )
        if not server.exact:
            return  # no rule says that a server has to know the parameter
        kind = "application/json; charset=utf-8"
        answer = session.post(request(2, "ping"), {"Content-Type": kind})
        if answer.status != 202:
            raise wrong_status("json-refused", answer, "HTTP status 202")
        body = as_json(request(3, "ping")).encode()
        for headers, hint in (
            ({"Content-Type": "application/json-seq"}, "prefix"),
            ({}, "crashed"),
        ):
            answer = server.request("POST", session.endpoint, body, headers)
            if answer.status != 415:
                raise wrong_status(
                    hint if hint == "prefix" or answer.status >= 500 else "not-415",
                    answer,
                    want_refusal(server, 415, "because it is not JSON"),
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
            raise wrong_status(
                "not-413",
                answer,
                "HTTP status 413",
                sent=answer.request + "\n\n(4 MiB and one byte, and no end yet)",
            )
        if not server.exact:
            return
        start, end = b'{"jsonrpc": "2.0", "method": "', b'"}'
        body = start + b"x" * (MAX_BODY - len(start) - len(end)) + end
        answer = server.request("POST", session.endpoint, body, JSON_HEADERS)
        if answer.status == 413:
            raise wrong_status(
                "too-strict", answer, "HTTP status 202", sent="a notification of exactly 4 MiB"
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
