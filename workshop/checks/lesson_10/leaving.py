"""What a server sends before it leaves."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack

from workshop.checks.lesson_10.opening import Lab, suite
from workshop.checks.mcp_session import Session
from workshop.failed import Failed
from workshop.patience import stretched

STREAMS = 10
WANTED = "retry: and a whole number of milliseconds up to 10000, a different one on each stream"


@suite.check(
    "leaving",
    "Each client gets a different time to wait",
    todo=8,
    read="Leave in good order",
    rule="WHATWG HTML, server-sent events: the field retry. The spread: this course",
    why="If a thousand clients reconnect at the same moment, the server that has just started "
    "may be the next to fail.",
    hints={
        "none": "The stream ended without a `retry` field, so all clients reconnect at the "
        "same time, after their default delay.",
        "no-number": "The value of `retry` is not a whole number, so clients ignore it. Only "
        "the digits 0 to 9 count: no decimal point, no minus sign, no unit.",
        "no-line-end": "The `retry` line has no line ending before the stream ends, so clients "
        "ignore it.",
        "in-data": "`retry` came as the data of an event. It must be a field, like `data`.",
        "same": "All clients get nearly the same time. Pick a random one for each.",
        "seconds": "The times are so short that all clients come back almost at once. `retry` "
        "is in milliseconds.",
        "too-long": "Some clients stay away for more than a minute. `retry` is in "
        "milliseconds, and SPREAD_SECONDS is 10.",
        "still-there": "The server was asked to stop, but did not do so within two seconds, or "
        "its exit status was not 0. Does `leave` raise an exception, block or forget to close?",
    },
    alone=True,
)
def leaving(lab: Lab) -> None:
    server = lab.server("ash")
    program = lab.programs["ash"]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(Session.open(server, initialize=False)).stream
            for _ in range(STREAMS)
        ]
        program.stop(signal.SIGTERM, seconds=stretched(2))
        for stream in streams:
            stream.wait_closed()
        ends = [stream.raw for stream in streams]
    sent = f"SIGTERM, with {STREAMS} streams open"
    status = program.process.returncode
    if status != 0:
        last = "\n".join(program.output.splitlines()[-4:])
        raise Failed(
            "still-there",
            sent=sent,
            received=f"exit status {status}\n{last}",
            at=len("exit status "),
            wanted="exit status 0 within 2 s",
        )
    times: list[int] = []
    for end in ends:
        found = list(re.finditer(rb"^retry(?::[ ]?(.*?))?(\r\n|\r|\n|\Z)", end, re.MULTILINE))
        if not found:
            place = end.find(b"retry")
            raise Failed(
                "in-data" if place >= 0 else "none",
                sent=sent,
                received=end,
                at=place if place >= 0 else len(end),
                wanted=WANTED,
            )
        value, line_end = found[-1][1] or b"", found[-1][2]
        wrong = None if re.fullmatch(rb"[0-9]+", value) else "no-number"
        if wrong or not line_end:
            at = found[-1].start(1) if wrong and found[-1][1] is not None else len(end)
            raise Failed(wrong or "no-line-end", sent=sent, received=end, at=at, wanted=WANTED)
        times.append(int(value))
    shown = "\n".join(f"retry: {time}" for time in times)
    hint = None
    if max(times) > 60_000:
        hint = "too-long"
    elif 0 < max(times) < 1_000 and len(set(times)) > 2:
        hint = "seconds"
    elif len(set(times)) < STREAMS / 2 or max(times) - min(times) < 1_000:
        hint = "same"
    if hint is not None:
        raise Failed(hint, sent=sent, received=shown, wanted=WANTED)
