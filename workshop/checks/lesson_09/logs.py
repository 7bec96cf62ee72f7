"""What the log knows."""

from __future__ import annotations

import secrets
from contextlib import suppress

from workshop.checks.lesson_09.opening import Lab, suite
from workshop.checks.mcp_session import Session, request
from workshop.failed import Failed
from workshop.raw_stream import SOON
from workshop.running import ProgramError


@suite.check(
    "logged",
    "The access log shows no session's id, no token and no ticket",
    todo=11,
    after=("allowed",),
    read="What the log knows",
    rule="RFC 6750, section 5.3: URLs end up in logs",
    why="Many more people read a log than may use a session.",
    hints={
        "id": "The log shows the id of a session.",
        "other-value": "The log hides the session's id, but shows another value in the "
        "query: the one called `ticket`.",
        "other-spelling": "The log hides what is called `session_id`, but not what is called "
        "`%73ession_id`, which is the same name. Hide every value.",
        "second-value": "The log hides the first value in the query, but shows the second.",
        "nothing": "The log has no line for a request that was answered. So nobody would see "
        "an attack in it, either. Hide only the values.",
    },
)
def logged(lab: Lab) -> None:
    alice, _ = lab.users("logged")
    mark, ticket, second = (secrets.token_hex(12) for _ in range(3))
    with Session.open(alice, initialize=False) as session:
        session_id = session.endpoint.rpartition("=")[2]
        spelt = session.endpoint.replace("session_id", "%73ession_id") + f"x{mark}"
        session.post(request(1, "ping"))
        alice.request("GET", f"/nothing?ticket={ticket}")
        alice.request("GET", f"/nothing?a=b&ticket={second}")
        alice.request("POST", spelt)
        alice.request("GET", f"/nothing-{mark}")
    wanted = '"POST /message?session_id=… HTTP/1.1" 202'
    with suppress(ProgramError):
        lab.program.wait_for_output(f"nothing-{mark}", seconds=SOON)
    printed = lab.program.output
    if f"nothing-{mark}" not in printed:
        sent = f"GET /nothing-{mark}"
        raise Failed("nothing", sent=sent, label="In the log", wanted=f'"{sent} HTTP/1.1" 404')
    for value, hint in (
        (f"session_id={session_id} ", "id"),
        (f"ticket={ticket}", "other-value"),
        (f"{session_id}x{mark}", "other-spelling"),
        (second, "second-value"),
    ):
        lines = [line for line in printed.splitlines() if value in line]
        if lines:
            raise Failed(
                hint,
                sent=lines[0].partition('"')[2].rpartition(" HTTP/")[0],
                received=lines[0],
                at=len(lines[0].partition(value)[0].encode()) + value.find("=") + 1,
                label="In the log",
                wanted=wanted,
            )
