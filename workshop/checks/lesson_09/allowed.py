"""What is allowed still works. If it does not, no attack proves anything."""

from __future__ import annotations

from contextlib import ExitStack

from workshop.checks.answers import head_and_body
from workshop.checks.lesson_09.opening import GUESTS, Lab, User, suite
from workshop.checks.mcp_session import Session, as_json, parsed, request
from workshop.complaints import todo_of
from workshop.failed import Failed
from workshop.raw_client import Answer
from workshop.raw_stream import Stream

# What refuses a request with this status: the hint, and the TODO to blame.
REFUSED_BY = {
    400: ("name-refused", 7),
    401: ("right-token-refused", 1),
    403: ("own-page-refused", 5),
    404: ("own-session-refused", 3),
    413: ("short-body-refused", 8),
    415: ("json-refused", 6),
    421: ("own-name-refused", 5),
    429: ("limited", 10),
}


@suite.check(
    "allowed",
    "What is allowed still works, for several users side by side",
    read="The server that everyone writes",
    rule="this course",
    why="A server that refuses everything is secure, and nobody uses it.",
    hints={
        "right-token-refused": "A request with the right token was answered with 401.",
        "own-session-refused": "A message to a session, from the principal who opened it, was "
        "answered with 404.",
        "own-name-refused": "The Host is a name of this machine, with the server's port, but "
        "it was refused with 421.",
        "own-page-refused": "The Origin is the server's own, http:// and its Host, but it was "
        "refused with 403.",
        "json-refused": "The Content-Type is application/json, but it was refused with 415.",
        "name-refused": "The name in ?client= is harmless, but it was refused with 400.",
        "short-body-refused": "The body has less than a hundred bytes, but it was refused with "
        "413.",
        "one-name": "Each guest has a token, but `principal_of` gave all of them the same "
        "name. So they share the limits of one principal.",
        "limited": f"{GUESTS} principals have one stream each, but one of them was refused "
        "with 429. Count for each principal separately.",
        "no-reply": "The message was accepted, but its reply did not come on the session's "
        "stream.",
        "dropped": "The stream ended instead of carrying a reply: `send` closes a session that "
        "has nothing waiting. Which way round is the comparison?",
        "note-refused": "`read_note` did not read a note that is in the folder. Resolve both "
        "paths before you compare them: the path to the folder may hold a symbolic link, too.",
        "not-counted": "`count_lines` did not count the lines of a note that is in the folder.",
    },
)
def allowed(lab: Lab) -> None:
    port = lab.program.port
    streams: list[Stream] = []
    with ExitStack() as stack:
        for number in range(GUESTS):
            guest = lab.user(f"guest-{number}")
            streams.append(stack.enter_context(guest.open("")))
            limited = streams[-1].status == 429 and number >= 2
            if limited and named(streams[0]) == named(streams[1]):
                raise Failed(
                    "one-name",
                    sent=f"{streams[0].request}\n\nand the same with other tokens",
                    received=f"{named(streams[0])}\n{named(streams[1])}\n…",
                    at=0,
                    wanted="another name for each token",
                    todo=1,
                )
            expect_stream(lab, streams[-1])
        alice, _ = lab.users("allowed")
        session = stack.enter_context(Session.open(alice, initialize=False))
        expect_tool(lab, session, "echo", "message", "hello 日本", "hello 日本", "no-reply", 4)
        expect_tool(
            lab, session, "read_note", "name", "shopping.txt", "Milk", "note-refused", 12
        )
        note = "lists/today.txt"
        expect_tool(lab, session, "read_note", "name", note, "Secure", "note-refused", 12)
        expect_tool(lab, session, "count_lines", "name", note, "2", "not-counted", 13)
        session.close()
        for path, headers in (
            ("", {"Host": f"localhost:{port}"}),
            ("", {"Origin": f"http://127.0.0.1:{port}"}),
            ("?client=Ada%20L%C3%B8vel", {}),
        ):
            with alice.open(path, headers) as stream:
                expect_stream(lab, stream)
    post_from_own_page(lab, alice)


def named(stream: Stream) -> str:
    """How the server greets the client of this stream: it says the principal's name."""
    greeting = stream.event(lambda event: event.type == "connected")
    return greeting.data.partition("\n")[0] if greeting is not None else ""


def post_from_own_page(lab: Lab, alice: User) -> None:
    with Session.open(alice, initialize=False) as session:
        origin = {"Origin": f"http://localhost:{lab.program.port}"}
        expect_accepted(lab, session.post(request(1, "ping"), origin))


def expect_tool(
    lab: Lab,
    session: Session,
    tool: str,
    argument: str,
    value: str,
    text: str,
    hint: str,
    todo: int,
) -> None:
    """Call a tool, and expect this text in its result."""
    request_id = session.next_id()
    params = {"name": tool, "arguments": {argument: value}}
    answer = session.post(request(request_id, "tools/call", params))
    expect_accepted(lab, answer)
    event = session.reply(request_id)
    wanted = f"a result with {as_json(text)} in its text"
    if event is None:
        dropped = session.stream.closed
        raise Failed(
            "dropped" if dropped else "no-reply",
            sent=answer.request,
            received=session.stream.raw,
            at=len(session.stream.raw),
            wanted=wanted,
            todo=9 if dropped else raised_in(lab) or 4,
        )
    result = (parsed(event) or {}).get("result")
    good = isinstance(result, dict) and result.get("isError") is False
    if not good or text not in as_json(result):
        came = session.bytes_of(event)
        raise Failed(
            hint,
            sent=answer.request,
            received=came,
            at=max(came.find(b'"text"'), 0),
            wanted=wanted,
            todo=todo,
        )


def expect_stream(lab: Lab, stream: Stream) -> None:
    """Expect an open stream."""
    if stream.status != 200:
        stream.wait_closed()
        received = f"HTTP status {stream.status}\n\n".encode() + stream.raw
        raise refused(lab, stream.status, stream.request, received, "HTTP status 200")


def expect_accepted(lab: Lab, answer: Answer) -> None:
    if answer.status != 202:
        shown = head_and_body(answer)
        raise refused(lab, answer.status, answer.request, shown, "HTTP status 202")


def refused(lab: Lab, status: int, sent: str, received: bytes, wanted: str) -> Failed:
    """What to raise when something allowed was refused."""
    hint, todo = REFUSED_BY.get(status, ("crashed", raised_in(lab)))
    return Failed(
        hint, sent=sent, received=received, at=len("HTTP status "), wanted=wanted, todo=todo
    )


def raised_in(lab: Lab) -> int | None:
    """The TODO that the program's own exceptions are about, if it printed any."""
    complaints = [one for one in lab.program.complaints() if one.line is not None]
    return todo_of(complaints[-1]) if complaints else None
