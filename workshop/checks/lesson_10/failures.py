"""What the client learns about an error, and what the log does."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress

from workshop.checks.lesson_10.opening import Lab, suite
from workshop.checks.mcp_session import Reply, Session, as_json
from workshop.failed import Failed
from workshop.raw_stream import SOON
from workshop.running import ProgramError

# What the tool `report` raises, and what a traceback of it shows.
KIND, TEXT = "ConnectionError", "reports.internal"
INSIDE = (TEXT, KIND, "Traceback", ".py")
WANTED = '"error": {"code": -32603, "message": "Internal error", "data": {"id": "…"}}'


@suite.check(
    "errors",
    "An error is answered with -32603 and an id, and the log has the rest",
    todo=3,
    after=("sessions",),
    read="Errors with an id",
    rule="JSON-RPC 2.0, section 5.1: -32603 is an internal error. CWE-209: error messages "
    "that hold sensitive information",
    why="A traceback tells strangers how your server is built. And what a client sent may be "
    "secret: many people who should not see it can read the log.",
    hints={
        "inside": "The client can read what only you should see: the exception or its "
        "traceback.",
        "other-code": "The error's code is not -32603, which clients know.",
        "no-id": "No id in the error is also in the log. When a user reports the error, you "
        "can't find the line about it.",
        "same-id": "Two errors have the same id. A search for it finds both lines, or even "
        "thousands.",
        "no-cause": "The id is in the log, but not what went wrong: the type of the "
        "exception. The client must not see that, but you must.",
        "text": "The text of the exception is in the log, and it quotes what the client sent. "
        "A traceback ends with that text. Log the exception's type and where it was raised.",
        "argument": "What the client sent is in the log.",
        "session-id": "The id of the session is in the log. `session.name` is a hash of it: it "
        "says which session it was, but nobody can use the session with it.",
    },
)
def errors(lab: Lab) -> None:
    server = lab.server("birch")
    secret = secrets.token_hex(12)
    call = {"name": "report", "arguments": {"day": secret}}
    with Session.open(server, initialize=False) as session:
        replies = [session.ask("tools/call", call) for _ in range(2)]
        session_id = session.endpoint.partition("=")[2]
    first = replies[0]
    for text in INSIDE:
        if text.encode() in first.raw:
            raise failed("inside", first, text)
    if first.error.get("code") != -32603:
        raise failed("other-code", first, '"code"' if first.error else '"result"')
    program = lab.programs["birch"]
    candidates = [ids_in(reply) for reply in replies]
    for words in candidates:
        for word in words[:1]:
            with suppress(ProgramError):
                program.wait_for_output(word, seconds=SOON)
    log = program.output
    ids = [[word for word in words if word in log] for words in candidates]
    if not all(ids):
        raise failed("no-id", first, '"error"')
    if set(ids[0]) & set(ids[1]):
        raise failed("same-id", replies[1], ids[1][0])
    if KIND not in log:
        raise Failed(
            "no-cause",
            sent=first.sent,
            received=line_with(log, ids[0][0]),
            label="In the log",
            wanted=f"this line, with {KIND} and where it was raised",
        )
    quoted = "text" if TEXT in log else "argument"
    for text, hint in ((secret, quoted), (session_id, "session-id")):
        if text and text in log:
            line = line_with(log, text)
            raise Failed(
                hint,
                sent=first.sent,
                received=line,
                at=len(line.partition(text)[0].encode()),
                label="In the log",
                wanted="a line without it",
            )


def failed(hint: str, reply: Reply, text: str) -> Failed:
    return Failed(hint, sent=reply.sent, received=reply.raw, at=reply.at(text), wanted=WANTED)


def ids_in(reply: Reply) -> list[str]:
    """The words in an error that may be its id: they contain a digit, and are not its code."""
    words = re.findall(r"[\w-]{4,}", as_json(reply.error))
    return [word for word in words if re.search(r"\d", word) and word != "-32603"]


def line_with(log: str, text: str) -> str:
    return next((line for line in log.splitlines() if text in line), "")
