"""How much? Bodies, queues, sessions, streams and messages."""

from __future__ import annotations

import time
from contextlib import ExitStack

from workshop.checks.answers import wrong_status, wrong_stream
from workshop.checks.lesson_05.door import MAX_BODY, one_byte_too_many
from workshop.checks.lesson_05.sleeping_reader import ends, post_at_once, sleeping_stream
from workshop.checks.lesson_09.opening import Lab, suite
from workshop.checks.mcp_session import JSON_HEADERS, Session, as_json, notification, request
from workshop.failed import Failed
from workshop.raw_client import Answer
from workshop.raw_stream import SOON

BIG = 2_500_000  # bytes: a few of these are more than the buffers on the way to a reader hold
TOO_MANY_EVENTS = 16  # more than may wait
MAX_STREAMS = 5  # of one principal
FLOOD = 140  # messages at once: more than one principal may send
BURST = 70  # messages at once: as many as a busy client may well send
TOO_MANY = "HTTP status 429, with a header Retry-After"


@suite.check(
    "endless-body",
    "A body over 4 MiB is refused with 413 while it comes in",
    todo=8,
    after=("allowed",),
    read="How much?",
    rule="CWE-770: no limit; the Python SDK has the same one since version 2",
    why="A body without an end fills the memory long before it can be measured.",
    hints={
        "waits-for-the-end": "More than 4 MiB have come in, but not the end, and there is no "
        "answer yet. Count while you read.",
        "not-413": "A body over 4 MiB was answered with a status other than 413.",
        "too-strict": "A body of exactly 4 MiB was refused: that is not yet *over* MAX_BODY.",
    },
)
def endless_body(lab: Lab) -> None:
    alice, _ = lab.users("endless-body")
    with Session.open(alice, initialize=False) as session:
        try:
            answer = alice.request(
                "POST", session.endpoint, one_byte_too_many(), JSON_HEADERS, finish=False
            )
        except Failed as failure:
            if failure.hint != "no-answer":
                raise
            raise Failed(
                "waits-for-the-end",
                sent=failure.sent + b"\n\n(4 MiB and one byte, and no end yet)",
                wanted="HTTP status 413",
            ) from None
        if answer.status != 413:
            sent = f"{answer.request}\n\n(4 MiB and one byte, and no end yet)"
            raise wrong_status("not-413", answer, "HTTP status 413", sent=sent)
        start, end = b'{"jsonrpc": "2.0", "method": "', b'"}'
        body = start + b"x" * (MAX_BODY - len(start) - len(end)) + end
        answer = alice.request("POST", session.endpoint, body, JSON_HEADERS)
        if answer.status == 413:
            sent = "a notification of exactly 4 MiB"
            raise wrong_status("too-strict", answer, "HTTP status 202", sent=sent)


@suite.check(
    "hoarded-sessions",
    "A session ends with its stream",
    todo=9,
    after=("who",),
    read="How much?",
    rule="CWE-772: what is never released",
    why="A client that opens streams and leaves, all day, would fill the memory with sessions.",
    hints={
        "kept": "The stream is closed, but its session still takes messages. The events for it "
        "wait for a reader that never comes.",
    },
)
def hoarded_sessions(lab: Lab) -> None:
    alice, _ = lab.users("hoarded-sessions")
    with Session.open(alice, initialize=False) as session:
        pass
    deadline = time.monotonic() + SOON
    # Notifications: with enough replies in its queue, the session would be closed for those.
    while (answer := session.post(notification("still there?"))).status != 404:
        if time.monotonic() > deadline:
            sent = f"(the client closes its stream)\n{answer.request}"
            raise wrong_status("kept", answer, "HTTP status 404", sent=sent)
        time.sleep(0.02)  # the server hears of it in a moment


@suite.check(
    "many-streams",
    f"A principal has at most {MAX_STREAMS} streams open; one more gets 429",
    todo=10,
    after=("hoarded-sessions",),
    read="How much?",
    rule="RFC 6585, section 4: 429 and Retry-After; the number: this course",
    why="Each stream takes a connection and memory. One user could take all there are.",
    hints={
        "not-429": f"Stream number {MAX_STREAMS + 1} of one principal was not refused, or not "
        "with 429.",
        "too-few": f"One of the first {MAX_STREAMS} streams was refused.",
        "no-retry-after": "The refusal does not say when to try again: Retry-After.",
        "not-given-back": "A stream was closed, but a new one is still refused: its place was "
        "not given back. Count the streams that are open, not those that were opened.",
    },
)
def many_streams(lab: Lab) -> None:
    alice, _ = lab.users("many-streams")
    with ExitStack() as stack:
        streams = [stack.enter_context(alice.open("")) for _ in range(MAX_STREAMS)]
        for number, stream in enumerate(streams, start=1):
            if stream.status != 200:
                sent = f"{stream.request}\n\n(stream number {number})"
                raise wrong_stream("too-few", stream, "HTTP status 200", sent=sent)
        with alice.open("") as one_more:
            after = one_more.headers.get("Retry-After")
            received = f"HTTP status {one_more.status}\nRetry-After: {after or '(none)'}"
            if one_more.status != 429 or after is None:
                no_limit = one_more.status != 429
                raise Failed(
                    "not-429" if no_limit else "no-retry-after",
                    sent=f"{one_more.request}\n\n(stream number {MAX_STREAMS + 1})",
                    received=received,
                    at=len("HTTP status ") if no_limit else received.index("\n") + 1,
                    wanted=TOO_MANY,
                )
        streams[0].close()
        deadline = time.monotonic() + SOON
        while True:
            with alice.open("") as again:
                if again.status == 200:
                    return
            if time.monotonic() > deadline:
                sent = f"(the client closes one of its streams)\n{again.request}"
                raise wrong_stream("not-given-back", again, "HTTP status 200", sent=sent)
            time.sleep(0.02)  # the server hears of it in a moment


@suite.check(
    "sleeping-reader",
    "A client that asks and never reads is dropped",
    todo=9,
    after=("hoarded-sessions",),
    read="How much?",
    rule="CWE-770: no limit. This course: at most 10 events wait for a session",
    why="What nobody reads waits in memory: one client could take all of it.",
    hints={
        "unbounded": f"At least {TOO_MANY_EVENTS} replies are waiting, nobody reads, and the "
        "server takes more. Either they all wait in memory, or they are thrown away and "
        "nobody is told. Close the session: then the client gets 404.",
        "left-open": "POST does not find the session any more, but its stream is still open. "
        "`session.close()` does both.",
    },
    alone=True,
)
def sleeping_reader(lab: Lab) -> None:
    alice, _ = lab.users("sleeping-reader")
    params = {"name": "echo", "arguments": {"message": "x" * BIG}}
    with sleeping_stream(alice) as (sleeper, endpoint):
        # These fill the buffers between the server and its reader: the pings after them wait.
        for number in range(3):
            body = as_json(request(number, "tools/call", params)).encode()
            alice.request("POST", endpoint, body, JSON_HEADERS)
        body = as_json(request("last", "ping")).encode()
        post_at_once(alice, endpoint, body, TOO_MANY_EVENTS)
        answer = alice.request("POST", endpoint, body, JSON_HEADERS)
        if answer.status != 404:
            raise wrong_status(
                "unbounded",
                answer,
                "HTTP status 404, once too much waits for this reader",
                sent=f"3 calls of `echo` with {BIG:,} bytes and {TOO_MANY_EVENTS} pings, and "
                "nobody reads",
            )
        if not ends(sleeper):
            raise wrong_status(
                "left-open", answer, "this answer, and the end of the session's stream"
            )


@suite.check(
    "flood",
    "A principal who sends too many messages gets 429, and others don't notice",
    todo=10,
    after=("allowed",),
    read="How much?",
    rule="RFC 6585, section 4: 429 and Retry-After; the number: this course",
    why="Each message takes time, and one user could take all there is.",
    hints={
        "not-429": f"{FLOOD} messages at once, but none was refused with 429.",
        "no-retry-after": "The refusal does not say when to try again: Retry-After.",
        "everybody": "Mallory sent too many messages, and then Alice was refused. Count for "
        "each principal separately.",
    },
    alone=True,
)
def flood(lab: Lab) -> None:
    alice, mallory = lab.users("flood")
    with (
        Session.open(alice, initialize=False) as quiet,
        Session.open(mallory, initialize=False) as loud,
    ):
        body = as_json(notification("flood")).encode()
        answers = post_at_once(mallory, loud.endpoint, body, FLOOD)
        sent = f"POST {loud.endpoint}\n\n({FLOOD} times at once)"
        refusals = [answer for answer in answers if answer.startswith("429")]
        if not refusals:
            statuses = ", ".join(sorted({answer[:3] for answer in answers}))
            raise Failed("not-429", sent=sent, received=statuses, at=0, wanted=TOO_MANY)
        if "retry-after:" not in refusals[0].lower():
            raise Failed("no-retry-after", sent=sent, received=refusals[0], wanted=TOO_MANY)
        answer: Answer = quiet.post(request(1, "ping"))
        if answer.status == 429:
            sent = f"Mallory: {sent}\n\nAlice: {answer.request}"
            raise wrong_status("everybody", answer, "HTTP status 202", sent=sent)


@suite.check(
    "burst",
    "A burst of messages is still let in",
    todo=10,
    after=("flood",),
    read="How much?",
    rule="this course",
    why="A client that lists everything after it has connected is not an attacker.",
    hints={
        "limited": f"{BURST} messages at once, and RATE allows more: but one of them was "
        "refused. Is each message counted only once?",
    },
    alone=True,
)
def burst(lab: Lab) -> None:
    alice, _ = lab.users("burst")
    with Session.open(alice, initialize=False) as session:
        body = as_json(notification("burst")).encode()
        answers = post_at_once(alice, session.endpoint, body, BURST)
        for answer in answers:
            if not answer.startswith("202"):
                raise Failed(
                    "limited",
                    sent=f"POST {session.endpoint}\n\n({BURST} times at once)",
                    received=f"HTTP status {answer}",
                    at=len("HTTP status "),
                    wanted=f"HTTP status 202, {BURST} times",
                )
