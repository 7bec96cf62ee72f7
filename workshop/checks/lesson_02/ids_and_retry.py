"""TODO 3: `id` and `retry`."""

from __future__ import annotations

from workshop.checks.lesson_02.cases import Case, events, expect, found_in, misread
from workshop.checks.lesson_02.opening import INTERPRETING, suite
from workshop.checks.lesson_02.processes import Parser


@suite.check(
    "id-set",
    "An id sets the last event id",
    todo=3,
    after=("buffers-emptied", "one-space"),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: process the field, id; dispatch, step 1",
    why="`Last-Event-ID` says where to continue. Without it, a client starts all over again.",
    hints={
        "no-id": "An `id` line sets `_last_event_id` (TODO 3). At the blank line, "
        "`last_event_id` takes what that holds (TODO 1).",
        "not-as-sent": "An id is any text, and is kept exactly as it came: not as a number, "
        "and without strip().",
        "last-one-counts": "A second `id` line replaces the id that the first one set.",
    },
)
def id_set(parser: Parser) -> None:
    shapes = {"TypeError: feed returned": "not-as-sent", "ValueError": "not-as-sent"}
    for stream, at, hint, id in (
        (b"id: 7\ndata: a\n\n", 0, "no-id", "7"),
        (b"data: a\nid: 7\n\n", 8, "no-id", "7"),
        (b"id:  b-07 c \ndata: a\n\n", 4, "not-as-sent", " b-07 c "),
        (b"id: 7\nid: 8\ndata: a\n\n", 10, "last-one-counts", "8"),
    ):
        case = Case(stream, [("message", "a", id)], at, hint)
        (answer,) = parser.ask([case.fed()])
        found = found_in(case, answer, shapes)
        # It must have arrived somewhere. That it is in both places is the next check.
        if id not in (answer["last_event_id"], *(event[2] for event in found)):
            got = f"last_event_id {answer['last_event_id']!r}, and {events(found)}"
            raise misread(case, answer, hint, f"last_event_id {id!r}. It has {got}")


@suite.check(
    "id-stays",
    "An id belongs to its event and to all that follow it",
    todo=1,
    after=("id-set",),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: dispatch, step 1",
    why="A listener that handles an event later must know which id was in effect.",
    hints={
        "event-without-id": "`last_event_id` is right, but the Event does not carry it. "
        "`_dispatch` passes it on as the third part of the Event.",
        "only-in-the-event": "The Event carries the id, but the parser's own `last_event_id` "
        "was not set. That is what a client sends when it reconnects.",
        "id-forgotten": "The data and the type are emptied after each event. The last event "
        "id buffer is not.",
    },
)
def id_stays(parser: Parser) -> None:
    both = [("message", "a", "7"), ("message", "b", "7")]
    expect(
        parser,
        Case(b"id: 7\ndata: a\n\n", both[:1], 0, "event-without-id"),
        Case(b"id: 7\ndata: a\n\n", both[:1], 0, "only-in-the-event", last_event_id="7"),
        Case(b"id: 7\ndata: a\n\ndata: b\n\n", both, 15, "id-forgotten", last_event_id="7"),
    )


@suite.check(
    "id-alone",
    "An id without data is not an event, but it counts",
    todo=1,
    after=("id-stays", "no-data"),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: dispatch, steps 1 and 2",
    why="A server may say how far it has got without an event, if all of the last ones were "
    "for somebody else. Step 1 comes before step 2, which is where httpx-sse is wrong.",
    hints={
        "id-not-kept": "Set the last event id before you ask whether there is data.",
        "took-it-for-an-event": "Only data makes an event. An id does not.",
    },
)
def id_alone(parser: Parser) -> None:
    expect(
        parser,
        Case(b"id: 7\n\ndata: a\n\n", [("message", "a", "7")], 6, "took-it-for-an-event"),
        Case(b"id: 7\n\n", [], 6, "id-not-kept", last_event_id="7"),
    )


@suite.check(
    "id-at-the-blank-line",
    "An id takes effect at the blank line, not before",
    todo=3,
    after=("id-stays",),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: dispatch, step 1",
    why="If the connection breaks in the middle of event 8, it must be sent again. A client "
    "that says `Last-Event-ID: 8` never gets it.",
    hints={
        "too-early": "The `id` line sets the buffer, `_last_event_id`. Leave `last_event_id` "
        "to `_dispatch`."
    },
)
def id_at_the_blank_line(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: 8\nda"
    case = Case(stream, [("message", "a", "7")], 15, "too-early")
    (answer,) = parser.ask([case.fed()])
    found_in(case, answer, {})
    if answer["last_event_id"] == "8":
        raise misread(case, answer, case.hint, "last_event_id '7'. It was '8'")


@suite.check(
    "id-with-nul",
    "An id with NUL in it is ignored",
    todo=3,
    after=("id-stays",),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: process the field, id",
    why="It will be sent as a header, and no header can carry a NUL.",
    hints={"nul-taken": "Ignore the whole field if there is a NUL anywhere in its value."},
)
def id_with_nul(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n"
    both = [("message", "a", "7"), ("message", "b", "7")]
    expect(parser, Case(stream, both, 20, "nul-taken"))


@suite.check(
    "id-empty",
    "An empty id resets the last event id",
    todo=3,
    after=("id-stays",),
    read="Ids: where to continue",
    rule=f"{INTERPRETING}: process the field, id",
    why="It is the only way for a server to say: from here on, start from the beginning.",
    hints={"not-reset": "An empty value is a value. Only a NUL makes you ignore an id."},
)
def id_empty(parser: Parser) -> None:
    stream = b"id: 7\ndata: a\n\nid: \ndata: b\n\n"
    both = [("message", "a", "7"), ("message", "b", "")]
    expect(parser, Case(stream, both, 19, "not-reset", last_event_id=""))


@suite.check(
    "retry",
    "retry takes digits and nothing else",
    todo=3,
    after=("no-data", "one-space"),
    read="Retry: how long to wait",
    rule=f"{INTERPRETING}: process the field, retry",
    why="A client that waits -1 ms, or crashes on `soon`, has let the server break it.",
    hints={
        "not-set": "`retry: 3000` sets `reconnection_time` to 3000 milliseconds, as an int.",
        "too-late": "It does not belong to an event, and takes effect at once.",
        "last-one-counts": "A second `retry` replaces the first one.",
        "digits-refused": "These are digits and nothing else, so the field counts. Even 0 "
        "does: it means not to wait at all.",
        "not-digits": "Only the ASCII digits 0 to 9. int() takes much more: signs, spaces, "
        "underscores, the digits of other scripts.",
    },
)
def retry(parser: Parser) -> None:
    def case(stream: str, at: int, hint: str, time: int) -> Case:
        return Case(stream.encode(), [], at, hint, reconnection_time=time)

    refused = ["-1", "+1", " 1", "1.5", "1_000", "1e3", "", "soon", "٣", "²"]
    expect(
        parser,
        case("retry: 3000\n\n", 7, "not-set", 3000),
        case("retry: 3000\n", 11, "too-late", 3000),
        case("retry: 5\nretry: 3000\n\n", 16, "last-one-counts", 3000),
        case("retry: 5\nretry: 0\n\n", 16, "digits-refused", 0),
        case("retry: 5\nretry: 007\n\n", 16, "digits-refused", 7),
        *(case(f"retry: 5\nretry: {value}\n\n", 16, "not-digits", 5) for value in refused),
        crashes={"ValueError": "not-digits"},
    )
