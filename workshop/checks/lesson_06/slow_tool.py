"""A tool that takes its time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from workshop.checks.lesson_06.opening import suite
from workshop.checks.mcp_session import McpServer, Reply, Session, as_json, parsed, request
from workshop.failed import Failed
from workshop.raw_stream import ReceivedEvent


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
