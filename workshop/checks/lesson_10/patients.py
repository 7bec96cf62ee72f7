"""The three patients: what is wrong with each, and whether it has been mended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from workshop.checks.answers import head_and_body, wrong_status
from workshop.checks.lesson_10.numbers import Numbers
from workshop.checks.lesson_10.opening import NAMES, Lab, suite
from workshop.checks.mcp_session import McpServer, Session, notification, request
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.raw_stream import SOON

HEADING = "Three patients"
DISEASES = {"leaks": "birch", "blocks": "cedar", "buffers": "ash"}
STREAMS = 12  # to open and leave, on the server that leaked
A_FEW = 3  # on the other two
PINGS = 5
TAKES = stretched(0.25)  # seconds of the slow tool: longer than a ping takes
OTHERS = "had no problem here before, and now it does. Its other two methods need no change."


@suite.check(
    "diagnosis",
    "The diagnosis is right",
    todo=4,
    read=HEADING,
    rule="this course",
    why="Changing what is not broken takes longer than looking, and leaves the fault in place.",
    hints={
        "unreadable": "GET /diagnosis does not answer with a JSON object that has the three "
        "illnesses as keys: leaks, blocks and buffers.",
        "missing": "An illness has no server yet. Its value must be ash, birch or cedar.",
        "leaks": "This server does not leak. After a load, when all clients have left, compare "
        "mcp_sessions with mcp_streams_active: a server with more sessions than streams leaks.",
        "blocks": "This server's event loop is not blocked. During a load, look at "
        "mcp_heartbeat_late_seconds: heartbeats come late if the loop is blocked.",
        "buffers": "This server holds nothing back. After a load, look at "
        "mcp_event_wait_seconds: that is the time from making an event to sending it.",
    },
)
def diagnosis(lab: Lab) -> None:
    answer = lab.server("ash").request("GET", "/diagnosis")
    try:
        said = answer.json()
    except ValueError:
        said = None
    wanted = '{"leaks": "…", "blocks": "…", "buffers": "…"}'
    if not isinstance(said, dict) or not said.keys() >= DISEASES.keys():
        raise wrong_status("unreadable", answer, wanted)
    received = head_and_body(answer)
    for disease, name in DISEASES.items():
        if said[disease] != name:
            raise Failed(
                disease if said[disease] in NAMES else "missing",
                sent=answer.request,
                received=received,
                at=received.find(f'"{disease}"'.encode()),
                wanted="the server whose numbers show this",
            )


@suite.check(
    "ash",
    "Ash is mended",
    todo=5,
    after=("diagnosis", "sessions"),
    read=HEADING,
    rule="this course",
    why="A reply that is ready but not sent is as late as one that is not ready.",
    hints={
        "kept-back": "Ash made a reply, but did not send it. An event must not wait for the "
        "next one, or for a heartbeat.",
        "some-kept-back": f"The first event came, but not all of the {PINGS} that followed "
        "right after it.",
        "twice": "An event came more than once. Is a batch emptied after it is sent?",
        "others": f"Ash {OTHERS}",
    },
)
def ash(lab: Lab) -> None:
    server = lab.server("ash")
    sends_at_once(server)
    healthy(server, leaves_nothing, does_not_block)


@suite.check(
    "birch",
    "Birch is mended",
    todo=6,
    after=("diagnosis", "sessions"),
    read=HEADING,
    rule="this course",
    why="A server that leaks runs for days, and then gets killed at the worst moment.",
    hints={
        "kept": f"{STREAMS} streams were opened and left, and at least one of their sessions "
        "still accepts messages. Nobody will ever read the replies.",
        "others": f"Birch {OTHERS}",
    },
)
def birch(lab: Lab) -> None:
    server = lab.server("birch")
    leaves_nothing(server, STREAMS)
    healthy(server, does_not_block, sends_at_once)


@suite.check(
    "cedar",
    "Cedar is mended",
    todo=7,
    after=("diagnosis", "sessions"),
    read=HEADING,
    rule="this course",
    why="While the event loop is blocked, nobody gets an answer: not even a ping.",
    hints={
        "blocked": "A slow tool was called, and then a ping came. The ping had to wait for the "
        "tool. An `async def` alone does not help: a function that blocks needs a thread.",
        "no-result": "The reply does not have the tool's result. Was the coroutine or the "
        "future awaited? Did the thread get the function, or what the function returned?",
        "others": f"Cedar {OTHERS}",
    },
)
def cedar(lab: Lab) -> None:
    server = lab.server("cedar")
    does_not_block(server)
    healthy(server, leaves_nothing, sends_at_once)


def healthy(server: McpServer, *probes: Callable[[McpServer], None]) -> None:
    """Check that what worked before still works. Raises Failed("others")."""
    for probe in probes:
        try:
            probe(server)
        except Failed as failure:
            failure.hint = "others"
            raise


def sends_at_once(server: McpServer) -> None:
    with Session.open(server, initialize=False) as session:
        asked = session.post(request("first", "ping"))
        if session.reply("first") is None:
            raise Failed(
                "kept-back",
                sent=asked.request,
                received=session.stream.raw,
                at=len(session.stream.raw),
                wanted="the reply, as soon as it is made",
            )
        for number in range(PINGS):
            session.post(request(number, "ping"))
        for number in range(PINGS):
            if session.reply(number) is None:
                raise Failed(
                    "some-kept-back",
                    sent=f"POST {session.endpoint}\n\n({PINGS} pings)",
                    received=session.stream.raw,
                    at=len(session.stream.raw),
                    wanted=f"the replies to all {PINGS}",
                )
        replies = [event.data for event in session.replies()]
        for number, event in enumerate(session.replies()):
            if event.data in replies[:number]:
                raise Failed(
                    "twice",
                    sent=f"POST {session.endpoint}\n\n({PINGS} pings)",
                    received=session.stream.raw,
                    at=event.start,
                    wanted="each reply once",
                )


def leaves_nothing(server: McpServer, streams: int = A_FEW) -> None:
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session.open(server, initialize=False)) for _ in range(streams)
        ]
    deadline = time.monotonic() + SOON
    for session in sessions:
        while (answer := session.post(notification("still there?"))).status != 404:
            if time.monotonic() > deadline:
                numbers = Numbers(server).lines("mcp_streams_active ", "mcp_sessions ")
                received = f"HTTP status {answer.status}\n\nGET /metrics\n{numbers}"
                raise Failed(
                    "kept",
                    sent=f"GET /sse\n\n({streams} times; then the clients leave)\n\n"
                    f"{answer.request}",
                    received=received,
                    at=max(received.find("mcp_sessions "), 0),
                    wanted="HTTP status 404, and no session without a stream",
                )
            time.sleep(0.02)  # the server notices in a moment


def does_not_block(server: McpServer) -> None:
    call = {"name": "wait", "arguments": {"seconds": TAKES}}
    with Session.open(server, initialize=False) as session:
        asked = session.post(request("slow", "tools/call", call))
        session.post(request("quick", "ping"))
        sent = f"{asked.request}\n\nand right after it a ping with the id quick"
        slow = session.reply("slow", seconds=TAKES + SOON)
        quick = session.reply("quick")
        received = session.since(1)
        if slow is None or b"Waited" not in session.bytes_of(slow):
            raise Failed(
                "no-result",
                sent=sent,
                received=received,
                at=max(received.find(b'"error"'), 0),
                wanted=f'"Waited {TAKES} s"',
            )
        if quick is None or quick.start > slow.start:
            raise Failed(
                "blocked",
                sent=sent,
                received=received,
                at=max(received.find(b"Waited"), 0),
                wanted="the reply to the ping first",
            )
