"""The checks of lesson 06: an MCP server of the official SDK, mounted in an app under a prefix.

Those with scope="protocol" fit any server, wherever it is mounted: all they know is the URL
of its event stream. The others know the tea shop of the exercise: its routes, its public
name, and the tools `stock` and `pack`. A packet is scanned with a POST to a route, so a
check decides when the tool may go on, and can see progress arrive live.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import (
    McpServer,
    Reply,
    Session,
    as_json,
    handshake,
    parsed,
    request,
)
from workshop.failed import Failed
from workshop.raw_stream import SOON, ReceivedEvent
from workshop.running import running

PREFIX = "/mcp"
PUBLIC_NAME = "tea.example"


@contextmanager
def open_program(path: Path) -> Iterator[McpServer]:
    """Start the file. Raises ProgramError."""
    # Importing the SDK and FastAPI takes a while on a busy machine.
    with running(path, seconds=30) as program:
        yield McpServer(f"{program.url}{PREFIX}/sse", program, exact=True)


@contextmanager
def open_url(url: str) -> Iterator[McpServer]:
    """A server that is already running; `url` is the URL of its event stream."""
    yield McpServer(url, exact=False)


suite = Suite(
    "06_sdk_server",
    open_program=open_program,
    open_url=open_url,
    start_heading="The tea shop",
    start_hint="Read the last line that it prints. A TypeError about arguments of `sse_app` "
    "comes from v1, where the prefix was passed to it: in v2 it takes keywords only, and the "
    "prefix belongs to `app.mount`.",
)


# --- The mount ----------------------------------------------------------------------------


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


def head_and_body(status: int, headers: Message, body: bytes) -> bytes:
    """The parts of an answer that matter here: status, Location, Content-Type and body."""
    head = f"HTTP status {status}\n"
    for name in ("Location", "Content-Type"):
        if name in headers:
            head += f"{name}: {headers[name]}\n"
    return head.encode() + b"\n" + body


def wrong_place(received: bytes) -> int:
    """Where to draw the caret: where a redirect leads, else at the body, else at the status."""
    for mark in (b"\nLocation: ", b"\n\n"):
        place = received.find(mark)
        if 0 <= place < len(received) - len(mark):
            return place + len(mark)
    return len("HTTP status ")


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


# --- The endpoint, and the way back -------------------------------------------------------


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


def want_let_in(server: McpServer, headers: dict[str, str], hint: str) -> None:
    """Raise Failed with this hint unless GET opens the stream with these headers."""
    with server.open("", headers) as stream:
        if stream.status != 200:
            raise Failed(
                hint,
                sent=stream.request,
                received=f"HTTP status {stream.status}",
                at=len("HTTP status "),
                wanted="HTTP status 200",
            )


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


# --- Who may come in ----------------------------------------------------------------------


@suite.check(
    "names",
    "It answers to its public name, and to its own pages",
    todo=2,
    after=("address",),
    read="Who may come in",
    rule="The SDK compares Host and Origin with its lists; the names: this exercise",
    why="A proxy passes on the name that the customer typed, and a browser the page's origin.",
    hints={
        "by-default": "It lets in exactly the names that `sse_app` has by default, so what "
        "`names()` says has not reached it. Does `names()` return the settings, and does "
        "TODO 1 pass them on, as `transport_security=names()`?",
        "name-refused": f"It refused its public name, {PUBLIC_NAME}. In `allowed_hosts` it "
        "has no scheme and no port: the customers' scheme has a port of its own.",
        "page-refused": "It refused one of its own pages. An Origin is a scheme, :// and a "
        "host, and nothing after that: https:// for the public name, http:// for the others. "
        "`:*` matches any port there too, and `*` alone matches nothing.",
    },
)
def names(server: McpServer) -> None:
    parts = urlsplit(server.url)
    # By default `sse_app` knows this name too, which the exercise doesn't ask for.
    with server.open("", {"Host": f"[::1]:{parts.port}"}) as stream:
        by_default = stream.status == 200
    want_let_in(server, {"Host": PUBLIC_NAME}, "by-default" if by_default else "name-refused")
    for host, scheme in (
        (PUBLIC_NAME, "https"),
        (parts.netloc, "http"),
        (f"localhost:{parts.port}", "http"),
    ):
        headers = {"Host": host, "Origin": f"{scheme}://{host}"}
        want_let_in(server, headers, "page-refused")


@suite.check(
    "strangers",
    "Nobody gets in with a foreign Host or Origin",
    todo=2,
    after=("address",),
    read="Who may come in",
    rule="HTTP+SSE 2024-11-05: MUST validate Origin; the SDKs' convention: Host too",
    scope="protocol",
    why="Any page that you open could call these tools through your browser.",
    hints={
        "host-let-in": "It let in a request for another name. With a `host=` that is not this "
        "machine's own, or with the protection switched off, the SDK compares nothing.",
        "origin-let-in": "It let in a page from elsewhere. Checking only the Host is half a "
        "guard: a page may use the server's real name.",
    },
)
def strangers(server: McpServer) -> None:
    parts = urlsplit(server.url)
    port = "" if parts.port is None else f":{parts.port}"
    for headers, hint in (
        ({"Host": f"rebound.example{port}"}, "host-let-in"),
        ({"Origin": "https://evil.example"}, "origin-let-in"),
        ({"Origin": "null"}, "origin-let-in"),  # what a sandboxed page or a file sends
    ):
        with server.open("", headers) as stream:
            if not 400 <= stream.status < 500:
                raise Failed(
                    hint,
                    sent=stream.request,
                    received=f"HTTP status {stream.status}",
                    at=len("HTTP status "),
                    wanted="HTTP status 421 for the Host, 403 for the Origin",
                )


# --- A tool that fails --------------------------------------------------------------------
# From here on the checks run one after another: a tool that crashes or blocks delays them all.


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


# --- A tool that takes its time -----------------------------------------------------------


def call_pack(
    session: Session, box: int, packets: int, token: str | int | None = None
) -> dict[str, Any]:
    """The call of `pack`. With a token, the client asks for progress."""
    params: dict[str, Any] = {"name": "pack"}
    params["arguments"] = {"box": box, "packets": packets}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return request(session.next_id(), "tools/call", params)


def scan(server: McpServer, box: int, tea: str) -> str:
    """Put a packet into the box, over the shop's own route. Returns what was sent."""
    return server.request("POST", f"/boxes/{box}/scans?tea={tea}").request


def is_progress(event: ReceivedEvent) -> bool:
    """Whether the event is a progress notification."""
    return (parsed(event) or {}).get("method") == "notifications/progress"


def progress_of(event: ReceivedEvent) -> dict[str, Any]:
    """The params of a progress notification; empty when it has none."""
    params = (parsed(event) or {}).get("params")
    return params if isinstance(params, dict) else {}


def is_reply_to(event: ReceivedEvent, call: dict[str, Any]) -> bool:
    """Whether the event is the reply to this call."""
    message = parsed(event) or {}
    return "method" not in message and as_json(message.get("id")) == as_json(call["id"])


@suite.check(
    "others-go-on",
    "While the tool waits, routes and other sessions are served",
    todo=4,
    after=("accepted",),
    read="A tool that blocks everybody",
    rule="This course",
    why="The scan comes in through a route: a tool that blocks the route waits for ever.",
    hints={
        "frozen": "While the tool waited, nobody else was answered. time.sleep, and anything "
        "else in an `async def` that waits without `await`, stops the whole event loop.",
    },
    alone=True,
)
def others_go_on(server: McpServer) -> None:
    with Session.open(server) as packing, Session.open(server) as other:
        call = call_pack(packing, 1, 2)
        sent = packing.post(call).request
        try:
            sent += "\n\n" + scan(server, 1, "assam")
            other.ask("ping")
            server.request("GET", "/teas")
        except Failed as failure:
            raise Failed(
                "frozen",
                sent=f"{sent}\n\n{failure.sent.decode()}" if failure.sent else sent,
                wanted="an answer, while the tool waits for the second packet",
            ) from None


@suite.check(
    "live",
    "Progress arrives while the tool is still at work",
    todo=4,
    after=("others-go-on",),
    read="A tool that takes its time",
    rule="MCP 2024-11-05, progress: notifications/progress with the request's token",
    why="During a long wait, people want to see that something is happening.",
    hints={
        "failed": "The tool raised an exception. The client reads only that it failed; the "
        "server's log has the traceback, whose last lines name the line to look at.",
        "not-waiting": "The result came while a packet was still to be scanned. The tool has "
        "to `await` every scan before it returns: `get()` without `await` is a coroutine that "
        "never runs, and a task on the side does not make the tool wait.",
        "stream-ended": "The stream ended, because the SDK could not write the progress as "
        "JSON: the server's log has the traceback. The message must be a string. Without "
        "`await`, `get()` gives a coroutine and no tea.",
        "nothing": "The tool finished and reported nothing. `ctx.report_progress(…)` "
        "without `await` makes a coroutine that never runs. Python warns of it: look at what "
        "the server prints. (`ctx.info` would send a log message, which is not progress.)",
        "stuck": "Two packets were scanned into the box, and the tool neither reported one "
        "nor finished. What is it waiting for? The scans of this box come from "
        "`scans[box]`.",
        "at-the-end": "The first progress came after the last scan. Report each packet before "
        "you wait for the next one.",
    },
    alone=True,
)
def live(server: McpServer) -> None:
    with Session.open(server) as session:
        before = len(session.stream.events)
        call = call_pack(session, 2, 2, token="box 2")
        sent = session.post(call).request
        # The second packet is held back until the first one has been reported.
        sent += "\n\n" + scan(server, 2, "assam")
        wanted = "notifications/progress, before the second packet is scanned"

        def first_word() -> ReceivedEvent | None:
            return session.stream.event(
                lambda event: is_progress(event) or is_reply_to(event, call), after=before
            )

        event = first_word()
        if session.stream.closed:
            raise Failed(
                "stream-ended", sent=sent, received=session.since(before), wanted=wanted
            )
        reported = event is not None and is_progress(event)
        if reported:
            # A tool that does not wait finishes at once: before this is answered.
            session.ask("ping")
        result = result_of(session, call, before)
        if result is not None:
            raw = session.bytes_of(result)
            at = max(raw.find(b'"result"'), 0)
            kind = "failed" if has_failed(result) else "not-waiting"
            raise Failed(kind, sent=sent, received=raw, at=at, wanted=wanted)
        if reported:
            return
        sent += "\n\n" + scan(server, 2, "sencha")
        event = first_word()
        came = "at-the-end" if event is not None and is_progress(event) else "nothing"
        kind = "stuck" if event is None else came
        raise Failed(kind, sent=sent, received=session.since(before), wanted=wanted)


def result_of(session: Session, call: dict[str, Any], after: int) -> ReceivedEvent | None:
    """The reply to this call, if it is among the events that have come."""
    came = session.stream.events[after:]
    return next((event for event in came if is_reply_to(event, call)), None)


def has_failed(event: ReceivedEvent) -> bool:
    """Whether the event is the result of a tool that failed, or an error."""
    message = parsed(event) or {}
    result = message.get("result")
    return "error" in message or (isinstance(result, dict) and bool(result.get("isError")))


@suite.check(
    "ends",
    "After the last packet, the result comes",
    todo=4,
    after=("live",),
    read="A tool that takes its time",
    rule="MCP 2024-11-05, progress: notifications stop when the work is done",
    why="A call without a reply leaves a client that waits for ever.",
    hints={
        "no-result": "As many packets as were asked for have been scanned, but the tool waits "
        "for another one. range(n) has n numbers in it, range(n + 1) has one more.",
    },
    alone=True,
)
def ends(server: McpServer) -> None:
    with Session.open(server) as session:
        packed(session, 3, ["assam"], token="box 3")


def packed(
    session: Session, box: int, teas: list[str], token: str | int | None
) -> tuple[Reply, list[ReceivedEvent]]:
    """Have these teas packed; the result, and all progress that came with it.

    Raises Failed("no-result") if the result does not come, and Failed("crashed") if it says
    that the tool failed.
    """
    before = len(session.stream.events)
    call = call_pack(session, box, len(teas), token)
    sent = session.post(call).request
    for tea in teas:
        sent += "\n\n" + scan(session.server, box, tea)
    event = session.reply(call["id"], after=before)
    if event is None:
        raise Failed(
            "no-result",
            sent=sent,
            received=session.since(before),
            wanted="the result of the call",
        )
    if has_failed(event):
        raise Failed("crashed", sent=sent, received=session.bytes_of(event), wanted="a result")
    # Anything sent after the result comes before the reply to a ping.
    session.ask("ping")
    progress = [one for one in session.stream.events[before:] if is_progress(one)]
    return Reply(sent, session.bytes_of(event), parsed(event) or {}), progress


@suite.check(
    "steps",
    "Progress goes up to its total, and says which tea it was",
    todo=4,
    after=("ends",),
    read="A tool that takes its time",
    rule="MCP 2025-03-26, progress: MUST increase; total and message are optional",
    why="A client draws a bar from progress and total, and shows the message beside it.",
    hints={
        "numbers": "`progress` says how far the work has got, not what this step adds: it "
        "goes up with every notification, and the last one reaches `total`.",
        "no-tea": "The message does not name the tea that was scanned. It is the third "
        "argument, for people to read.",
    },
    alone=True,
)
def steps(server: McpServer) -> None:
    teas = ["assam", "sencha", "darjeeling"]
    with Session.open(server) as session:
        reply, events = packed(session, 4, teas, token="box 4")
        said = [progress_of(event) for event in events]
        numbers = [
            number for one in said if isinstance(number := one.get("progress"), int | float)
        ]
        total = said[-1].get("total") if said else None
        grows = len(numbers) == len(said) >= len(teas) and all(
            one < following for one, following in pairwise(numbers)
        )
        # Another notification before the first packet, with 0, is fine.
        named = [str(one.get("message")) for one in said[-len(teas) :]]
        if not grows or total is None or numbers[-1] != total:
            hint, field = "numbers", '"progress":'
        elif any(tea not in name for tea, name in zip(teas, named, strict=True)):
            hint, field = "no-tea", '"message":'
        else:
            return
        received = "\n".join(event.data for event in events)
        raise Failed(
            hint,
            sent=reply.sent,
            received=received,
            at=max(received.encode().rfind(field.encode()), 0),
            wanted='"progress": 1, 2, 3, each with "total": 3 and "message": "… assam …"',
        )


@suite.check(
    "token",
    "Progress carries the request's own token",
    todo=4,
    after=("ends",),
    read="A tool that takes its time",
    rule="MCP 2024-11-05, progress: only tokens given in an active request",
    why="Only the token tells a client which of its calls the progress is about.",
    hints={
        "other-token": "Progress came with a token that the client never gave. The request's "
        "id is not its token. `ctx.report_progress` knows the token, and sends nothing when "
        "there is none.",
    },
    alone=True,
)
def progress_token(server: McpServer) -> None:
    with Session.open(server) as session:
        for token in ("any text", 77, None):
            reply, events = packed(session, 5, ["assam"], token)
            for event in events:
                given = progress_of(event).get("progressToken")
                if token is None or as_json(given) != as_json(token):
                    raw = session.bytes_of(event)
                    raise Failed(
                        "other-token",
                        sent=reply.sent,
                        received=raw,
                        at=max(raw.find(b'"progressToken"'), 0),
                        wanted="no progress, because the request has no token"
                        if token is None
                        else f'"progressToken": {as_json(token)}',
                    )


@suite.check(
    "apart",
    "Two sessions pack at once, and each hears of its own box",
    todo=4,
    after=("steps", "token"),
    read="A tool that takes its time",
    rule="HTTP+SSE 2024-11-05: handles several clients",
    why="One client would see what another one buys.",
    hints={
        "crossed": "While another session's tool was at work too, the progress of one "
        "session's box did not come on its own stream. Use the `ctx` that this call was "
        "given, and don't keep it in a variable that all calls share.",
    },
    alone=True,
)
def apart(server: McpServer) -> None:
    with Session.open(server) as first, Session.open(server) as second:
        before = len(first.stream.events)
        call = call_pack(first, 6, 1, token="mine")
        sent = first.post(call).request
        sent += "\n\n" + second.post(call_pack(second, 7, 1, token="mine")).request
        # Messages are handled in order: when these are answered, both tools are at work.
        first.ask("ping")
        second.ask("ping")
        sent += "\n\n" + scan(server, 6, "assam")
        event = first.stream.event(
            lambda event: is_progress(event) or is_reply_to(event, call), after=before
        )
        if event is None or not is_progress(event):
            stray = second.stream.event(is_progress)
            raise Failed(
                "crossed",
                sent=sent,
                received=b"" if stray is None else second.bytes_of(stray),
                at=None if stray is None else 0,
                wanted="progress on the first session's stream, and none on the second's",
                label="On the second session's stream",
            )
