"""A first event, and a parser that keeps its state to itself."""

from __future__ import annotations

from typing import Any

from workshop.checks.lesson_02.cases import HELLO, Case, events, found_in, message, misread
from workshop.checks.lesson_02.opening import INTERPRETING, suite
from workshop.checks.lesson_02.processes import Parser, calls
from workshop.failed import Failed

AFTER_A_COMMENT = b":\ndata: hello\n\n"


@suite.check(
    "one-event",
    "A data line and a blank line are an event",
    read="Events end with a blank line",
    rule=INTERPRETING,
    why="Everything else is built on this one.",
    hints={
        "nothing-returned": "`feed` returned None. It has to return the list `events`, after "
        "the loop.",
        "no-event": "`feed` returned no event. Follow the blank line: `_take_lines` returns it "
        'as "", `feed` then calls `_dispatch`, and that appends an Event to the list `events` '
        "that it was given. A new list would be lost.",
        "first-character-lost": "The same stream is read well when a comment comes before it. "
        "So the first character of the stream gets lost. Only a byte order mark may be left "
        "out (TODO 6).",
        "not-events": "`feed` returns a list of `Event`. Its `type`, `data` and "
        "`last_event_id` are text, each a str.",
        "step-fails": "`feed` works in steps, and one of them does not do its part. Called "
        "alone with a simple event, it gave this. Does it return what it made, and all of it?",
        "field-lost": "`_process_line` ran, and nothing came into `_data`. It has to pass the "
        "name and the value on: call `_process_field` with both.",
    },
)
def one_event(parser: Parser) -> None:
    shapes = {
        "TypeError: feed returned None, and": "nothing-returned",
        "TypeError: feed ": "not-events",
    }
    plain, commented = (
        Case(stream, message("hello"), len(stream) - 1, "no-event", only="number")
        for stream in (HELLO, AFTER_A_COMMENT)
    )
    answer, answer_later = parser.ask([plain.fed(), commented.fed()])
    if "error" not in answer and plain.same(found_in(plain, answer, shapes)):
        return
    failure = no_first_event(plain, answer, shapes)
    step = parser.failing_step() if failure.hint in ("no-event", "crashed") else {}
    failure.todo = step.get("todo", failure.todo)
    if failure.hint == "no-event" and failure.todo in (None, 6):
        later = "error" not in answer_later and found_in(commented, answer_later, {})
        if later and commented.same(later):
            failure.hint, failure.at, failure.todo = "first-character-lost", 0, 6
    raised = failure.hint == "crashed" and step.get("line") is not None
    if failure.hint in ("no-event", "crashed") and step and step["todo"] != 1 and not raised:
        failure = Failed(
            "field-lost" if step["todo"] == 2 else "step-fails",
            sent=step["call"],
            received=step["got"],
            wanted=step["wanted"],
            label="Came out",
            todo=step["todo"],
        )
    raise failure


def no_first_event(case: Case, answer: dict[str, Any], shapes: dict[str, str]) -> Failed:
    """What is wrong, as far as the answer alone tells."""
    try:
        found = found_in(case, answer, shapes)
    except Failed as failure:
        if failure.hint == "not-events":
            failure.todo = 1  # it makes the Event
        return failure
    wanted = f"{events(case.wanted)}. It returned {events(found)}"
    return misread(case, answer, case.hint, wanted)


@suite.check(
    "own-state",
    "Every parser has its own state",
    after=("one-event",),
    read="Your parser",
    rule="this course",
    why="A client has one parser for each connection, and what one server sent would turn up "
    "in the stream of another.",
    hints={
        "shared": "A new parser knows something that another one was fed. Create everything "
        "that is kept in `__init__`, as `self.…`: not in the body of the class, not as the "
        "default value of a parameter, and not outside the class."
    },
)
def own_state(parser: Parser) -> None:
    new = [[b"\xef\xbb\xbfdata: b\n\n"], [b"data: b\n\n"]]
    others = [[b"id: 7\n\nretry: 5\ndata: a\n"], [b"event: add\n"], [b"data: a"], [b"\xc3"]]
    # In a new process: nothing at all was fed to it before.
    answers = parser.ask_another([*new, *others, *new])
    if not answers:
        return
    before, after = answers[: len(new)], answers[-len(new) :]
    for chunks, first, again in zip(new, before, after, strict=True):
        if first != again:
            fed = ", ".join(calls(other) for other in others)
            raise Failed(
                "shared",
                sent=f"to other parsers: {fed}; then to a new one: {calls(chunks)}",
                received=result(again),
                wanted=f"{result(first)}, as before the other parsers",
            )


def result(answer: dict[str, Any]) -> str:
    """What a parser made of a stream, in one line."""
    if "error" in answer:
        return answer["error"].strip().splitlines()[-1]
    found = events(event for step in answer["steps"] for event in step)
    kept = f"last_event_id {answer['last_event_id']!r}"
    return f"{found}; {kept}, reconnection_time {answer['reconnection_time']!r}"
