"""What goes out: line ends in text that others have written."""

from __future__ import annotations

import re
from urllib.parse import quote

from workshop.checks.lesson_09.opening import WELCOME, Lab, suite
from workshop.failed import Failed

STANDARD = "WHATWG HTML, server-sent events"
CASES = "CVE-2026-29085 and CVE-2026-33128 were fields that could be injected"
ALARM = "event: alarm{end}data: leave at once{end}{end}"


@suite.check(
    "injected-id",
    "A client's name with a line end or NUL in it is refused with 400",
    todo=7,
    after=("allowed",),
    read="What goes out",
    rule=f"{STANDARD}: a line ends with CR LF, LF or CR. {CASES}",
    why="A link with such a name makes this server say whatever the link's author likes.",
    hints={
        "injected": "The name added an event: a line end in the id ends the field. Refuse "
        "an id with a line end in it.",
        "only-lf": "The same works with CR instead of LF. In an event stream, CR alone ends "
        "a line, too.",
        "nul": "An id with NUL in it went out. Clients ignore it, so after a reconnect they "
        "don't say where they were.",
        "not-refused": "The line end is gone, and the name was accepted. What is left is "
        "nobody's name: raise ValueError, and the answer is 400.",
    },
)
def injected_id(lab: Lab) -> None:
    alice, _ = lab.users("injected-id")
    for end, hint in (("\n", "injected"), ("\r", "only-lf"), ("\0", "nul")):
        name = f"x{end}{end}{ALARM.format(end=end)}" if end != "\0" else "x\0y"
        with alice.open(f"?client={quote(name)}") as stream:
            if 400 <= stream.status < 500:
                continue
            if stream.status >= 500:
                received = f"HTTP status {stream.status}".encode()
                raise Failed("crashed", sent=stream.request, received=received, wanted="400")
            alarm = stream.event(lambda event: event.type in ("alarm", "connected"))
            raw = stream.raw
            injected = alarm is not None and (
                alarm.type == "alarm" or f"id: x{end}".encode() in raw
            )
            place = raw.find(f"id: x{end}".encode())
            raise Failed(
                hint if injected or end == "\0" else "not-refused",
                sent=stream.request,
                received=raw,
                at=place + len("id: x") if place >= 0 else max(raw.find(b"id: "), 0),
                wanted="HTTP status 400",
            )


@suite.check(
    "injected-data",
    "Data with line ends in it arrives as it is, in one event",
    todo=7,
    after=("allowed",),
    read="What goes out",
    rule=f"{STANDARD}: each line of the data has its own field. {CASES}",
    why="Anyone who may write the note that greets everybody could send them any event.",
    hints={
        "injected": "The note in the greeting has line ends, and after them what looks like "
        "an event, `alarm`. It went out as an event.",
        "changed": "The data that arrived is not the data that should have been sent. CR LF "
        "is one line end, and so is CR alone or LF alone. Nothing else is.",
    },
)
def injected_data(lab: Lab) -> None:
    alice, _ = lab.users("injected-data")
    due = re.sub("\r\n|\r", "\n", WELCOME)
    with alice.open("") as stream:
        # The greeting is the second event. What was injected comes right after it.
        stream.wait(lambda stream: len(stream.events) >= 2)
        greeting = stream.event(lambda event: event.type == "connected")
        sent = f"{stream.request}\n\nThe note welcome.txt is {WELCOME!r}"
        came = greeting.data.partition("\n")[2] if greeting is not None else ""
        if came == due:
            return
        place = stream.raw.find(b"\revent: alarm")
        injected = place >= 0 or stream.event(lambda event: event.type == "alarm") is not None
        start = stream.raw.find(b"event: connected")
        raise Failed(
            "injected" if injected else "changed",
            sent=sent,
            received=stream.raw if injected or greeting is None else came,
            at=(place + 1 if place >= 0 else max(start, 0))
            if injected or greeting is None
            else first_difference(came, due),
            wanted="data: event: alarm" if injected else repr(due),
        )


def first_difference(came: str, due: str) -> int:
    """The index of the first byte of `came` that differs from `due`."""
    same = 0
    while same < min(len(came), len(due)) and came[same] == due[same]:
        same += 1
    return len(came[:same].encode())
