"""Shutting down with streams open."""

from __future__ import annotations

import signal

from workshop.checks.lesson_05.blame import blamed
from workshop.checks.lesson_05.opening import suite
from workshop.checks.mcp_session import McpServer, Session
from workshop.failed import Failed
from workshop.patience import stretched


@suite.check(
    "leaves",
    "On SIGTERM it stops within 2 s, with streams open",
    todo=12,
    after=("bounded",),
    read="Shutting down",
    rule="This course",
    why="A server that won't stop gets killed, and what it was about to write is lost.",
    hints={
        "still-there": "It still runs. uvicorn waits until every answer is complete, and a "
        "stream never is: end the streams.",
        "other-status": "It has gone, but its exit status is not 0. Stopping when told is not "
        "a failure: end the streams, and let uvicorn do the rest.",
        "cut-off": "It is gone, and a stream broke off in the middle of its response. Close "
        "the sessions, so that each stream comes to its own end; leave the rest to uvicorn.",
        "raised": "It is gone, and on the way a stream broke off: your code raised an "
        "exception. The server's output names the line.",
        "none-yielded": "The end of a stream, None, was yielded as if it were an event. "
        "`events` must return when `next_event` gives None.",
    },
    alone=True,
)
def leaves(server: McpServer) -> None:
    if server.program is None:
        return
    program = server.program
    with (
        Session.open(server, initialize=False) as one,
        Session.open(server, initialize=False) as other,
    ):
        program.stop(signal.SIGTERM, seconds=stretched(2))
        for session in (one, other):
            session.stream.wait_closed()
        whole = not (one.stream.broke_off or other.stream.broke_off)
    status = program.process.returncode
    if status == 0 and whole:
        return
    if status == 0:
        none_yielded = "'NoneType' object has no attribute 'encode'" in program.output
        todo = 1 if none_yielded else blamed(server)
        raised = "raised" if todo and "SystemExit" not in program.output else "cut-off"
        raise Failed(
            "none-yielded" if none_yielded else raised,
            sent="SIGTERM, with two streams open",
            received=one.stream.raw[-200:],
            at=len(one.stream.raw[-200:]),
            wanted="the end of both responses",
            todo=todo,
        )
    last = "\n".join(program.output.splitlines()[-4:])
    raise Failed(
        "still-there" if status == -signal.SIGKILL else "other-status",
        sent="SIGTERM, with two streams open",
        received=f"exit status {status}\n{last}",
        at=len("exit status "),
        wanted="exit status 0 within 2 s",
    )
