"""The mount, the endpoint, and the way back."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from workshop.checks.lesson_06.answers import head_and_body, want_let_in, wrong_place
from workshop.checks.lesson_06.opening import PREFIX, suite
from workshop.checks.mcp_session import McpServer, Session, handshake, request
from workshop.failed import Failed


@suite.check(
    "mounted",
    "The event stream opens at its URL, without a redirect",
    todo=1,
    read="Inside an app that you already have",
    rule="WHATWG HTML, server-sent events: 200 and text/event-stream; the URL: this course",
    scope="protocol",
    why="This is the URL that people put in their clients.",
    hints={
        "not-there": "Something else answered. Routes and mounts are tried from top to bottom: "
        "is the app that `sse_app` returns mounted under /mcp, above the route that catches "
        "every path? And is the stream's path below the mount still /sse? (With --url, give "
        "the stream's own URL.)",
        "not-an-app": "Something is mounted there, and it raised an exception: the server's "
        "last lines name it. `app.mount` takes an ASGI app: what `server.sse_app(…)` returns, "
        "not the server, and not the method without its parentheses. In the same way, "
        "`names()` is called.",
        "redirected": "The server knows this path only with a slash at its end, and sends the "
        "client there. Not every client follows. `sse_path` ends without a slash.",
    },
)
def mounted(server: McpServer) -> None:
    with server.open("") as stream:
        kind = stream.headers.get_content_type() if "Content-Type" in stream.headers else ""
        if stream.status == 200 and kind == "text/event-stream":
            return
        if server.exact and stream.status == 421:
            return  # it is there; its address is for the next check
        stream.wait_closed()
        kinds = {3: "redirected", 5: "not-an-app"}
        received = head_and_body(stream.status, stream.headers, stream.raw)
        raise Failed(
            kinds.get(stream.status // 100, "not-there"),
            sent=stream.request,
            received=received,
            at=wrong_place(received),
            wanted="HTTP status 200, Content-Type: text/event-stream",
        )


@suite.check(
    "routes",
    "The shop's own routes answer as before",
    todo=1,
    after=("mounted",),
    read="Inside an app that you already have",
    rule="This course",
    why="The app was there first, and its users know nothing about MCP.",
    hints={
        "swallowed": "The mounted app answered one of the shop's paths. A mount takes every "
        "path below its prefix, and everything is below /.",
    },
)
def routes(server: McpServer) -> None:
    for path, text in (("/teas", '"assam"'), ("/nobody-knows-this", "No such page")):
        answer = server.request("GET", path)
        if text.encode() not in answer.body:
            received = head_and_body(answer.status, answer.headers, answer.body)
            raise Failed(
                "swallowed",
                sent=answer.request,
                received=received,
                at=wrong_place(received),
                wanted=f"the shop's answer, with {text} in it",
            )


@suite.check(
    "address",
    "It answers under its own address",
    todo=2,
    after=("mounted",),
    read="Who may come in",
    rule="The SDK compares Host and Origin with its lists",
    why="421 is the first thing that most people see of a server in a new place.",
    hints={
        "refused": "It refused its own address. Your list replaces the one that `sse_app` has "
        "by default. An entry is compared with the whole Host, name and port, which has no "
        "scheme: an entry without a port never matches 127.0.0.1:8006, one with `:*` at its "
        "end matches any port, and `*` alone matches nothing.",
    },
)
def address(server: McpServer) -> None:
    parts = urlsplit(server.url)
    for host in (parts.netloc, f"localhost:{parts.port}"):
        want_let_in(server, {"Host": host}, "refused")


@suite.check(
    "endpoint",
    "The endpoint event names a path below the prefix",
    todo=1,
    after=("address",),
    read="Inside an app that you already have",
    rule=f"This course: all of MCP is below {PREFIX}, once",
    why="A proxy that sends only /mcp to this app would never deliver the other paths.",
    hints={
        "wrong-prefix": "The prefix must be in it exactly once. A mount tells the app below "
        "its prefix, and that app puts it in front of `message_path`: so it must not be in "
        "`message_path` too, and without a mount it is missing.",
    },
)
def endpoint(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        path = urlsplit(urljoin(server.url, session.endpoint)).path
        below = path.removeprefix(PREFIX)
        if below.startswith("/") and below != path and not below.startswith(f"{PREFIX}/"):
            return
        raise Failed(
            "wrong-prefix",
            sent=session.stream.request,
            received=session.stream.raw,
            at=session.stream.raw.find(session.endpoint.encode()),
            wanted=f"data: {PREFIX}/messages/?session_id=…",
        )


@suite.check(
    "accepted",
    "A POST to the endpoint is accepted, without a redirect",
    todo=1,
    after=("endpoint",),
    read="Inside an app that you already have",
    rule="The SDKs' convention: 202; any 2xx passes on a server that is not the course's",
    scope="protocol",
    why="Not every client follows a redirect with its POST and the POST's body.",
    hints={
        "not-taken": "The message went to the very path in the endpoint event, and was not "
        "accepted. 307 means that the server knows this path only with a slash at its end: "
        "`message_path` ends with one.",
    },
)
def accepted(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        answer = session.post(request(1, "initialize", handshake()))
        if answer.status == 202 or (200 <= answer.status < 300 and not server.exact):
            return
        received = head_and_body(answer.status, answer.headers, answer.body)
        raise Failed(
            "not-taken",
            sent=answer.request,
            received=received,
            at=wrong_place(received),
            wanted="HTTP status 202",
        )
