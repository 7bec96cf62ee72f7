"""Whose session is it, and whose answer?"""

from __future__ import annotations

import time
from contextlib import ExitStack

from workshop.checks.answers import head_and_body, wrong_status
from workshop.checks.lesson_05.sessions import want_unguessable
from workshop.checks.lesson_09.opening import Lab, suite
from workshop.checks.mcp_session import JSON_HEADERS, Session, as_json, request
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.raw_stream import SOON, ReceivedEvent

NOT_FOUND = "HTTP status 404, as for an id that does not exist"
TAKES = stretched(0.3)  # seconds: longer than two messages are on their way


@suite.check(
    "guessed-id",
    "Nobody can guess another session's id",
    todo=2,
    after=("allowed",),
    read="Whose session is it?",
    rule="MCP security best practices: secure, non-deterministic session ids. CVE-2025-6515 "
    "was ids that were used again",
    why="Anyone who guesses the id can send messages in that session.",
    hints={
        "too-alike": "Streams opened one after another have ids that are nearly the same. A "
        "counter or a clock (uuid1 too) can be guessed: `secrets` makes ids that can't.",
        "too-short": "The ids are random, but so short that trying all of them finds one. Ask "
        "`secrets` for more: 8 random bytes are the minimum, and 32 are usual.",
    },
)
def guessed_id(lab: Lab) -> None:
    alice, _ = lab.users("guessed-id")
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session.open(alice, initialize=False)) for _ in range(4)
        ]
    want_unguessable(sessions)


@suite.check(
    "found-id",
    "The id of somebody else's session is worth nothing: POST gets 404",
    todo=3,
    after=("who",),
    read="Whose session is it?",
    rule="MCP security best practices: bind session ids to the user. CVE-2026-52869 was "
    "this mistake in the SDK before 1.27.2",
    why="An id appears in logs and in a browser's history: it must not be a password.",
    hints={
        "let-in": "Mallory found the id of Alice's session, sent a message in it under her own "
        "name, and it was accepted.",
        "tells": "Mallory was refused, but not in the same way as for an id that does not "
        "exist. So she learns which ids are in use. Give the same status and the same text.",
    },
)
def found_id(lab: Lab) -> None:
    alice, mallory = lab.users("found-id")
    body = as_json(request("mallory", "ping")).encode()
    with Session.open(alice, initialize=False) as session:
        answer = mallory.request("POST", session.endpoint, body, JSON_HEADERS)
        sent = f"Alice's session is {session.endpoint}. Mallory sends\n{answer.request}"
        if answer.status == 202:
            event = session.reply("mallory")
            received = head_and_body(answer).decode()
            if event is not None:
                received += f"On Alice's stream:\n{session.bytes_of(event).decode()}"
            at = received.find("event:")
            raise Failed(
                "let-in",
                sent=sent,
                received=received,
                at=at if at >= 0 else len("HTTP status "),
                wanted=NOT_FOUND,
            )
        unknown = mallory.request(
            "POST", "/message?session_id=nobody-has-this-one", body, JSON_HEADERS
        )
        if (answer.status, answer.body) != (unknown.status, unknown.body):
            raise wrong_status("tells", answer, NOT_FOUND, sent=sent)


@suite.check(
    "stolen-stream",
    "GET /sse with a session's id opens nobody's session again",
    todo=3,
    after=("who",),
    read="Whose session is it?",
    rule="This course: HTTP+SSE 2024-11-05 has no way back into a session",
    why="Anyone who opens a session again reads the answers that are meant for its owner.",
    hints={
        "opened": "Mallory put the id of Alice's session into the URL of a stream. She now "
        "reads what the server sends to Alice.",
        "own-again": "A second stream carries the same session, for the same principal. Two "
        "readers share one queue, and each gets a part of the events.",
    },
)
def stolen_stream(lab: Lab) -> None:
    alice, mallory = lab.users("stolen-stream")
    with Session.open(alice, initialize=False) as session:
        query = "?" + session.endpoint.partition("?")[2]
        for user, hint in ((mallory, "opened"), (alice, "own-again")):
            with user.open(query) as stream:
                endpoint = stream.event(lambda event: event.type == "endpoint")
                if endpoint is not None and endpoint.data == session.endpoint:
                    raise Failed(
                        hint,
                        sent=f"Alice's session is {session.endpoint}\n{stream.request}",
                        received=stream.raw[endpoint.start : endpoint.end],
                        at=stream.raw[endpoint.start :].find(query.encode()),
                        wanted="an endpoint with a new id",
                    )


@suite.check(
    "crossed-replies",
    "Two clients whose requests have the same id get their own replies",
    todo=4,
    after=("allowed",),
    read="Whose answer is it?",
    rule="MCP 2024-11-05: an id is unique within its session only. CVE-2026-52870 and "
    "CVE-2026-25536 were crossed replies",
    why="Each client counts its requests from 1, so this happens without any attacker.",
    hints={
        "to-a-stranger": "Alice asked first, and Mallory sent a request with the same id. "
        "Alice's reply went to Mallory.",
        "to-another-session": "Alice has two sessions, and each sent a request with the same "
        "id. The first one's reply went to the second. The principal and the id are not "
        "enough: the reply belongs to the session.",
    },
)
def crossed_replies(lab: Lab) -> None:
    alice, mallory = lab.users("crossed-replies")
    wait = {"name": "wait", "arguments": {"seconds": TAKES}}
    with (
        Session.open(alice, initialize=False) as first,
        Session.open(alice, initialize=False) as second,
        Session.open(mallory, initialize=False) as other,
    ):
        asked = first.post(request(7, "tools/call", wait))
        others = {"to-another-session": second, "to-a-stranger": other}
        for session in others.values():
            session.post(request(7, "ping"))

        # Look at all of them: to wait for the right one first would take a second.
        deadline = time.monotonic() + SOON
        while not any(replies_to_wait(session) for session in (first, second, other)):
            if time.monotonic() > deadline:
                raise Failed("no-answer", sent=asked.request, wanted="its reply")
            time.sleep(0.02)
        for hint, session in others.items():
            for event in replies_to_wait(session):
                received = session.bytes_of(event)
                raise Failed(
                    hint,
                    sent=f"{asked.request}\n\nand a ping with the id 7 in two other sessions",
                    received=received,
                    at=received.find(b"Waited"),
                    wanted="this reply on the stream of the session that asked",
                )


def replies_to_wait(session: Session) -> list[ReceivedEvent]:
    """The events on this stream that carry what the tool `wait` says."""
    return [event for event in session.replies() if "Waited" in event.data]
