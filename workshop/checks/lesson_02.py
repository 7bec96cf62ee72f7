"""The checks of lesson 02: a parser for event streams, fed with bytes cut everywhere."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workshop.checks.engine import Suite
from workshop.complaints import Complaint, line_it_ran, todo_of
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError, abort, environment

DRIVER = Path(__file__).with_name("parser_driver.py")
PARSING = "WHATWG HTML 9.2.5, Parsing an event stream"
INTERPRETING = "WHATWG HTML 9.2.6, Interpreting an event stream"

Found = tuple[str, str, str]  # type, data, last event id


class Driver:
    """One process with the learner's file in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A file: a full pipe would stop the process in its next print.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`stop` closes it)
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
        )
        try:
            self._answer(seconds=stretched(4.0))
        except (TimeoutError, EOFError) as error:
            printed = self.printed
            if isinstance(error, TimeoutError):
                abort(self._process)
                # In this order: which line it was is read from the end.
                printed = f"The import does not end.\n{self.printed}"
            self.stop()
            raise ProgramError(printed) from None

    @property
    def printed(self) -> str:
        """What went to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def hung_in(self) -> Complaint | None:
        """End the process, and say which line of the learner's file it was running."""
        abort(self._process)
        return line_it_ran(self.printed, self._path)

    def ask(self, runs: list[list[bytes]], *, seconds: float) -> list[dict[str, Any]]:
        """Feed a new parser for each run. Raises TimeoutError, and EOFError at its death."""
        return self._ask([[chunk.hex() for chunk in chunks] for chunks in runs], seconds)

    def failing_step(self, *, seconds: float) -> dict[str, Any]:
        """What the driver says of the first step of `feed` that fails alone; maybe nothing."""
        return self._ask(["steps"], seconds)[0]

    def _ask(self, question: list[Any], seconds: float) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Any:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            piece = os.read(pipe, 65_536)
            if not piece:
                raise EOFError
            answer += piece
        return json.loads(answer)

    def stop(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        with suppress(BrokenPipeError):  # a question may still be in the buffer, unsent
            self._process.communicate()
        self._errors.close()


class Parser:
    """The learner's parser, in as many processes as are needed: one, unless it hangs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Not SimpleQueue: its `get` forgets the timeout in Python 3.11, if another thread is
        # quicker in just that moment, and waits for ever.
        self._idle: queue.Queue[Driver] = queue.Queue()
        self._idle.put(Driver(path))
        self._starting = threading.Lock()
        self._patience = stretched(1.0)  # seconds for an answer that takes milliseconds

    def ask(self, runs: list[list[bytes]]) -> list[dict[str, Any]]:
        """Feed each run to its own parser. Raises Failed when there is no answer."""
        driver = self._take()
        try:
            answer = driver.ask(runs, seconds=self._patience)
        except (TimeoutError, EOFError) as error:
            self._patience = stretched(0.4)  # it hung once: the others need not take as long
            shown = calls(runs[0]) + (" and others after it" if len(runs) > 1 else "")
            hung = isinstance(error, TimeoutError)
            line = driver.hung_in() if hung else None
            # The end of it: there may be a lot.
            printed = "\n".join(driver.printed.splitlines()[-12:])
            driver.stop()
            if line is None:
                hint = "hangs" if hung else "crashed"
                raise Failed(
                    hint, sent=shown, received=printed, wanted="an answer", label="Printed"
                ) from None
            raise Failed(
                "hangs",
                sent=shown,
                received=f"line {line.line}: {line.code}",
                wanted="an answer",
                label="Stuck in",
                todo=todo_of(line),
            ) from None
        else:
            self._idle.put(driver)
        return answer

    def ask_another(self, runs: list[list[bytes]]) -> list[dict[str, Any]]:
        """Feed the runs in a new process. What goes wrong there is left to other checks."""
        driver = Driver(self._path)
        try:
            return driver.ask(runs, seconds=stretched(0.4))
        except (TimeoutError, EOFError):
            return []
        finally:
            driver.stop()

    def failing_step(self) -> dict[str, Any]:
        """The step of `feed` that does not do its part, if it can be told."""
        driver = Driver(self._path)
        try:
            step = driver.failing_step(seconds=stretched(0.4))
        except (TimeoutError, EOFError):
            return {}
        finally:
            driver.stop()
        if "todo" not in step:  # each of them does its part
            return {}
        if step.get("line"):  # an exception: its line may be in another TODO
            step["todo"] = todo_of(Complaint(self._path, "", step["line"])) or step["todo"]
        return step

    def _take(self) -> Driver:
        while True:
            with suppress(queue.Empty):
                return self._idle.get(timeout=0.1)
            # Another check's question takes long. Start one more process, one at a time:
            # many that start beside one that spins would be slower than waiting.
            if self._starting.acquire(blocking=False):
                try:
                    return Driver(self._path)
                finally:
                    self._starting.release()

    def stop(self) -> None:
        """End all processes."""
        while not self._idle.empty():
            self._idle.get().stop()


@contextmanager
def open_program(path: Path) -> Iterator[Parser]:
    """The parser in the file at `path`. Raises ProgramError when it can't be loaded."""
    parser = Parser(path)
    try:
        yield parser
    finally:
        parser.stop()


suite = Suite(
    "02_event_format",
    open_program=open_program,
    start_heading="Your parser",
    start_title="The file can be imported",
    start_hint="Run the file yourself and read the last lines it prints.",
)


# --- asking and comparing ----------------------------------------------------------------


def calls(chunks: list[bytes]) -> str:
    """The chunks as a learner would feed them, in one line."""
    shown = [f"feed({chunk!r})" for chunk in chunks]
    return " ".join(shown if len(shown) <= 6 else [*shown[:5], "…", shown[-1]])


def events(found: Iterable[Iterable[Any]]) -> str:
    """Events as text, with the id where there is one."""
    shown = []
    for type, data, last_event_id in found:
        fields = f"type={type!r}, data={data!r}"
        shown.append(f"({fields}, id={last_event_id!r})" if last_event_id else f"({fields})")
    return ", ".join(shown) or "no event"


@dataclass(frozen=True, slots=True)
class Case:
    """A stream, the events in it, and what to say when a parser finds others.

    `at` is the byte that is then misread.
    """

    stream: bytes
    wanted: list[Found]
    at: int
    hint: str
    chunks: tuple[bytes, ...] = ()  # without: the stream in one chunk
    last_event_id: str | None = None  # afterwards; None: it does not matter
    reconnection_time: int | None = None
    only: Literal["all", "number", "types"] = "all"  # what is compared of the events

    def fed(self) -> list[bytes]:
        return list(self.chunks) or [self.stream]

    def same(self, found: list[Found]) -> bool:
        """Whether these are the wanted events."""
        if self.only == "number":
            return len(found) == len(self.wanted)
        if self.only == "types":
            return [event[0] for event in found] == [event[0] for event in self.wanted]
        return found == self.wanted


def expect(parser: Parser, *cases: Case, crashes: dict[str, str] | None = None) -> None:
    """Raise Failed for the first case that the parser reads differently.

    `crashes` has the hints for exceptions that this check knows, by how they begin.
    """
    answers = parser.ask([case.fed() for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        found = found_in(case, answer, crashes or {})
        wanted, got = events(case.wanted), events(found)
        wrong = not case.same(found)
        if not wrong and case.last_event_id is not None:
            wrong = answer["last_event_id"] != case.last_event_id
            wanted = f"last_event_id {case.last_event_id!r}"
            got = repr(answer["last_event_id"])
        if not wrong and case.reconnection_time is not None:
            # Not by ==, for which 3000.0 is as good as 3000.
            wrong = repr(answer["reconnection_time"]) != repr(case.reconnection_time)
            wanted = f"reconnection_time {case.reconnection_time!r}"
            got = repr(answer["reconnection_time"])
        if wrong:
            raise misread(case, answer, case.hint, f"{wanted}. It returned {got}")


def found_in(case: Case, answer: dict[str, Any], crashes: dict[str, str]) -> list[Found]:
    """The events in the driver's answer. Raises Failed if there was an exception."""
    if "error" not in answer:
        return [tuple(event) for step in answer["steps"] for event in step]
    got = answer["error"].strip().splitlines()[-1]
    for start, hint in crashes.items():
        if got.startswith(start):
            raise misread(case, answer, hint, f"{events(case.wanted)}. It raised {got}")
    raise Failed(
        "crashed",
        sent=said(case, answer),
        received=answer["error"],
        wanted=events(case.wanted),
        label="Raised",
    )


def misread(case: Case, answer: dict[str, Any], hint: str, wanted: str) -> Failed:
    """The failure that shows the stream, with a caret under the byte that was misread."""
    return Failed(
        hint,
        sent=said(case, answer),
        received=case.stream,
        at=case.at,
        wanted=wanted,
        label="Misread",
    )


def said(case: Case, answer: dict[str, Any]) -> str:
    """How the stream was fed, and what the learner's code printed meanwhile."""
    printed = f" It printed: {answer['printed']!r}" if answer["printed"] else ""
    return calls(case.fed()) + printed


def message(*data: str) -> list[Found]:
    """Plain events: no type, no id."""
    return [("message", text, "") for text in data]


def every_cut(stream: bytes, wanted: list[Found], hint: str) -> list[Case]:
    """The stream cut in two at every place."""
    return [
        Case(stream, wanted, place, hint, (stream[:place], stream[place:]))
        for place in range(1, len(stream))
    ]


def byte_by_byte(stream: bytes, wanted: list[Found], hint: str) -> Case:
    """The stream in chunks of one byte."""
    return Case(stream, wanted, 0, hint, tuple(stream[i : i + 1] for i in range(len(stream))))


# --- a first event -----------------------------------------------------------------------

HELLO = b"data: hello\n\n"
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


# --- TODO 1: dispatch --------------------------------------------------------------------


@suite.check(
    "plain-type",
    "An event without a type is a `message`",
    todo=1,
    after=("own-state",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 3, 5 and 6",
    why="Pages and MCP clients listen for `message`, and would miss an event without a type.",
    hints={
        "swapped": "The data came as the type. The order is Event(type, data, last_event_id).",
        "not-a-message": "The stream did not name a type, so `_event_type` is empty. Then the "
        'type of the Event is "message", all in small letters.',
        "lf-added": "There is an LF too many at the end of the data. The standard adds one "
        "after each value, and removes the last one when it dispatches.",
    },
)
def plain_type(parser: Parser) -> None:
    last = len(HELLO) - 1
    case = Case(HELLO, message("hello"), last, "not-a-message", only="types")
    (answer,) = parser.ask([case.fed()])
    for type, data, _ in found_in(case, answer, {}):
        shown = f"{events(case.wanted)}. It returned {events([(type, data, '')])}"
        if (type, data) == ("hello", "message"):
            raise misread(case, answer, "swapped", shown)
        if type != "message":
            raise misread(case, answer, "not-a-message", shown)
        if data == "hello\n":
            raise misread(case, answer, "lf-added", shown)


@suite.check(
    "plain-data",
    "The data is the value of the data line",
    todo=2,
    after=("plain-type",),
    read="A line is a field",
    rule=INTERPRETING,
    why="It is what the server wanted to say.",
    hints={
        "not-the-value": "The value of this line is `hello`. Look at what `_process_line` "
        "passes on, and how it gets into `_data`: append() adds it as one item.",
    },
)
def plain_data(parser: Parser) -> None:
    expect(parser, Case(HELLO, message("hello"), 6, "not-the-value"))


@suite.check(
    "buffers-emptied",
    "Each event has its own data",
    todo=1,
    after=("plain-data",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 7",
    why="The second listener would get the first one's data once more.",
    hints={
        "data-stays": "After dispatching, the data buffer is empty again.",
        "one-event-a-chunk": "A chunk can complete more than one event. Return all of them.",
    },
)
def buffers_emptied(parser: Parser) -> None:
    stream, wanted = b"data: a\n\ndata: b\n\n", message("a", "b")
    expect(
        parser,
        Case(stream, wanted, 9, "data-stays", (stream[:9], stream[9:])),
        Case(stream, wanted, 9, "one-event-a-chunk"),
    )


@suite.check(
    "no-data",
    "A blank line without data lines before it is not an event",
    todo=1,
    after=("buffers-emptied",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 2",
    why="Servers send blank lines after comments to keep a connection open. Each of them "
    "would be an empty message.",
    hints={
        "empty-event": "There was no data line, so there is nothing to dispatch: append only "
        "if there is data."
    },
)
def no_data(parser: Parser) -> None:
    expect(
        parser,
        Case(b"\n\ndata: a\n\n", message("a"), 0, "empty-event"),
        Case(b"data: a\n\n\n\n", message("a"), 9, "empty-event"),
    )


@suite.check(
    "empty-data",
    "An empty data line is data",
    todo=1,
    after=("plain-data",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 3",
    why="The line put an LF into the standard's data buffer, so the buffer is not "
    "empty: the listener gets an event whose data is the empty string.",
    hints={
        "event-lost": "There was a data line, and its value is empty. Ask whether there were "
        "data lines, not whether there is text in them."
    },
)
def empty_data(parser: Parser) -> None:
    expect(parser, Case(b"data: \n\n", message(""), 6, "event-lost"))


@suite.check(
    "data-lines",
    "Several data lines are one event with several lines",
    todo=1,
    after=("empty-data",),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, step 3",
    why="This is how a value with line ends travels, such as JSON printed over several lines.",
    hints={
        "joined-otherwise": "There is one LF between the values of two data lines.",
        "last-line-lost": "Only the LF that dispatch itself adds at the end goes away. The LF "
        "before a last, empty data line is part of the data.",
    },
)
def data_lines(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data: a\ndata: b\n\n", message("a\nb"), 7, "joined-otherwise"),
        Case(b"data: a\ndata: \n\n", message("a\n"), 14, "last-line-lost"),
    )


# --- TODO 2: fields ----------------------------------------------------------------------


@suite.check(
    "one-space",
    "One space after the colon is left out, no more and no less",
    todo=2,
    after=("plain-data",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line with a colon",
    why="`data:x` and `data: x` mean the same, and many servers leave the space out. A second "
    "space is part of the text: indented code would lose its shape.",
    hints={
        "needs-a-space": "The space is optional: the field name ends at the colon.",
        "all-spaces": "Remove one space at the start of the value, and nothing else. Don't use "
        "strip(), here or on whole lines.",
    },
)
def one_space(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data:a\n\n", message("a"), 5, "needs-a-space"),
        Case(b"data:  a\n\n", message(" a"), 6, "all-spaces"),
        Case(b"data: a \n\n", message("a "), 7, "all-spaces"),
        Case(b"data:\ta\n\n", message("\ta"), 5, "all-spaces"),
    )


@suite.check(
    "later-colons",
    "Only the first colon separates",
    todo=2,
    after=("one-space",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line with a colon",
    why="There are colons in URLs, times and all JSON.",
    hints={"cut-at-another": "Everything after the first colon is the value."},
)
def later_colons(parser: Parser) -> None:
    expect(parser, Case(b"data:a: b:c\n\n", message("a: b:c"), 6, "cut-at-another"))


@suite.check(
    "no-colon",
    "A line without a colon is a field with an empty value",
    todo=2,
    after=("data-lines", "later-colons"),
    read="A line is a field",
    rule=f"{INTERPRETING}: otherwise",
    why="`data` alone is how some servers write an empty line of data.",
    hints={
        "skipped": "Without a colon, the whole line is the name and the value is empty.",
        "needs-a-colon": "This line has no colon, and your code fails without one. Then the "
        "whole line is the name, and the value is empty.",
    },
)
def no_colon(parser: Parser) -> None:
    unpacked = {"ValueError": "needs-a-colon", "IndexError": "needs-a-colon"}
    expect(
        parser,
        Case(b"data\n\n", message(""), 4, "skipped"),
        Case(b"data: a\ndata\ndata: b\n\n", message("a\n\nb"), 12, "skipped"),
        crashes=unpacked,
    )


@suite.check(
    "names",
    "Names are compared exactly; unknown ones are ignored",
    todo=2,
    after=("no-colon",),
    read="A line is a field",
    rule=f"{INTERPRETING}: process the field, otherwise",
    why="New fields can only be added to a format whose old readers ignore them.",
    hints={
        "other-name": "`Data`, ` data` and `data ` are not the name `data`. Don't use lower() "
        "or strip().",
        "not-blank": "A line of spaces is not empty: it is a field with an unknown name, and "
        "does not end an event.",
    },
)
def names(parser: Parser) -> None:
    expect(
        parser,
        Case(b"data: a\n \ndata: b\n\n", message("a\nb"), 8, "not-blank"),
        Case(b"Data: a\ndata: b\n\n", message("b"), 0, "other-name"),
        Case(b" data: a\ndata: b\n\n", message("b"), 0, "other-name"),
        Case(b"data : a\ndata: b\n\n", message("b"), 4, "other-name"),
        Case(b"foo: a\ndata: b\ndatax: c\n\n", message("b"), 0, "other-name"),
    )


@suite.check(
    "comments",
    "A line that starts with a colon is a comment",
    todo=2,
    after=("data-lines",),
    read="A line is a field",
    rule=f"{INTERPRETING}: a line that starts with a colon",
    why="A comment every few seconds is how a server keeps an idle connection open.",
    hints={
        "comment-read": "There is nothing before its colon, so it has no name and sets no "
        "field.",
        "comment-changes": "A comment changes nothing: whatever is known of the event stays.",
    },
)
def comments(parser: Parser) -> None:
    expect(
        parser,
        Case(b": ping\ndata: a\n\n", message("a"), 0, "comment-read"),
        Case(b":data: a\ndata: b\n\n", message("b"), 0, "comment-read"),
        Case(b":\n:data\ndata: b\n\n", message("b"), 0, "comment-read"),
        Case(b"data: a\n: ping\ndata: b\n\n", message("a\nb"), 8, "comment-changes"),
    )


# --- TODO 1 again: types, which come by TODO 2 -------------------------------------------


@suite.check(
    "event-type",
    "The event field names the type of the event",
    todo=1,
    after=("one-space", "no-colon"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: process the field; dispatch, steps 5 and 6",
    why="A page listens by type. MCP's first event is of type `endpoint`, and a client that "
    "takes it for a message never learns where to POST.",
    hints={
        "no-type": "`_process_line` passes every field to `_process_field`, not only `data` "
        "(TODO 2). That keeps the type in `_event_type`, and `_dispatch` gives it to the "
        "Event (TODO 1).",
        "empty-type": "An empty `event` field means no type, so the event is a `message`.",
        "last-one-counts": "A second `event` line replaces the type that the first one set.",
    },
)
def event_type(parser: Parser) -> None:
    expect(
        parser,
        Case(b"event: add\ndata: 1\n\n", [("add", "1", "")], 0, "no-type"),
        Case(b"data: 1\nevent: add\n\n", [("add", "1", "")], 8, "no-type"),
        Case(b"event: a\nevent: b\ndata: 1\n\n", [("b", "1", "")], 16, "last-one-counts"),
        Case(b"event: \ndata: 1\n\n", message("1"), 7, "empty-type"),
        Case(b"event: add\nevent: \ndata: 1\n\n", message("1"), 18, "empty-type"),
    )


@suite.check(
    "type-ends",
    "A type lasts until the next blank line",
    todo=1,
    after=("event-type", "no-data"),
    read="Events end with a blank line",
    rule=f"{INTERPRETING}: dispatch, steps 2 and 7",
    why="The next event would get the type of this one, and go to the wrong listeners.",
    hints={
        "type-stays": "After an event is dispatched, the event type buffer is empty again.",
        "type-stays-without-data": "Step 2 empties the event type buffer, too: the type of "
        "a block without data must not wait for the next event.",
    },
)
def type_ends(parser: Parser) -> None:
    one = [("add", "1", ""), ("message", "2", "")]
    expect(
        parser,
        Case(b"event: add\ndata: 1\n\ndata: 2\n\n", one, 20, "type-stays"),
        Case(b"event: add\n\ndata: 1\n\n", message("1"), 11, "type-stays-without-data"),
    )


# --- TODO 3: id and retry ----------------------------------------------------------------


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


# --- TODO 4: line ends -------------------------------------------------------------------


@suite.check(
    "crlf",
    "CRLF ends a line, once",
    todo=4,
    after=("no-data", "data-lines"),
    read="Three line ends",
    rule=PARSING,
    why="Servers on Windows, and many HTTP libraries, write CRLF.",
    hints={
        "cr-in-the-value": "The CR of a CRLF belongs to the line end, not to the value.",
        "two-line-ends": "CRLF is one line end. If it counts as two, a blank line follows "
        "every line.",
        "chunk-without-text": "A chunk may have no text in it. Then there is no last "
        "character to look at.",
    },
)
def crlf(parser: Parser) -> None:
    stream = b"data: a\r\ndata: b\r\n\r\n"
    expect(
        parser,
        Case(b"data: a\r\n\n", message("a"), 7, "cr-in-the-value"),
        Case(stream, message("a\nb"), 8, "two-line-ends"),
        Case(stream, message("a\nb"), 0, "chunk-without-text", (b"", stream, b"")),
        crashes={"IndexError": "chunk-without-text"},
    )


@suite.check(
    "cr",
    "CR alone ends a line",
    todo=4,
    after=("crlf",),
    read="Three line ends",
    rule=PARSING,
    why="The standard has three line ends, and browsers know all of them.",
    hints={"not-a-line-end": "A CR without an LF after it ends a line, just as LF does."},
)
def cr(parser: Parser) -> None:
    expect(parser, Case(b"data: a\rdata: b\r\r:\n", message("a\nb"), 7, "not-a-line-end"))


@suite.check(
    "other-separators",
    "Nothing else ends a line",
    todo=4,
    after=("plain-data",),
    read="Three line ends",
    rule=PARSING,
    why="JSON may contain U+2028 unescaped. One such character would cut a message in two.",
    hints={
        "cut-at-another": "str.splitlines() splits at eight more characters: VT, FF, FS, GS, "
        "RS, NEL, U+2028 and U+2029. Split at LF only, once CR and CRLF have become LF."
    },
)
def other_separators(parser: Parser) -> None:
    for character in "\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        text = f"a{character}b"
        case = Case(f"data: {text}\n\n".encode(), message(text), 7, "cut-at-another")
        (answer,) = parser.ask([case.fed()])
        found = found_in(case, answer, {})
        # Only whether it was cut: how it was decoded is another check's question.
        if len(found) != 1 or not found[0][1].endswith("b"):
            shown = f"{events(case.wanted)}. It returned {events(found)}"
            raise misread(case, answer, "cut-at-another", shown)


@suite.check(
    "lf-kept",
    "An LF at the start of a chunk ends a line",
    todo=4,
    after=("no-data", "crlf"),
    read="Three line ends",
    rule=PARSING,
    why="A blank line would be missed, and two events would become one.",
    hints={
        "lf-dropped": "Leave out an LF at the start of a chunk only if the character before it "
        "was a CR."
    },
)
def lf_kept(parser: Parser) -> None:
    stream = b"data: a\n\n"
    case = Case(stream, message("a"), 8, "lf-dropped", (stream[:8], stream[8:]))
    # If the data is lost when another line comes first, the LF is not to blame.
    other = Case(b"data: a\n:\n\n", message("a"), 8, "", (b"data: a\n", b":\n\n"))
    answers = parser.ask([other.fed()])
    if other.same(found_in(other, answers[0], {})):
        expect(parser, case)


# --- TODO 5: pieces ----------------------------------------------------------------------


@suite.check(
    "pieces",
    "A chunk may end anywhere",
    todo=5,
    after=("data-lines", "buffers-emptied", "event-type", "id-stays", "lf-kept"),
    read="Chunks end anywhere",
    rule=PARSING,
    why="TCP and HTTP cut where they like. It works on your machine, and fails on a slow "
    "network, once a day.",
    hints={
        "held-back": "The first event is complete. Return it now, even if another one begins "
        "in the same chunk.",
        "rest-is-not-a-line": "The chunk ended with the LF of `data: a`. Whatever comes after "
        "the last LF of a text is not a line yet, even if it is empty: here it was taken for a "
        "blank line.",
        "cut-in-a-line": "The chunk ended in the middle of a line. Keep that half, and put "
        "it in front of the next text. Keep only that: an old half must not come back.",
        "cut-between-lines": "The chunk ended where a line ended. Whatever is known of the "
        "event so far belongs to the parser, not to one call of feed.",
    },
)
def pieces(parser: Parser) -> None:
    expect(parser, Case(b"data: a\n\ndata: b", message("a"), 8, "held-back"))
    two_lines = b"data: a\ndata: b\n\n"
    case = Case(two_lines, message("a\nb"), 7, "", (two_lines[:8], two_lines[8:]))
    (answer,) = parser.ask([case.fed()])
    if len(found := found_in(case, answer, {})) == 2:
        shown = f"{events(case.wanted)}. It returned {events(found)}"
        raise misread(case, answer, "rest-is-not-a-line", shown)

    # Lines whose halves are not lines themselves, so that only the cut matters.
    stream = b"id: 7\nevent: add\ndata: hello\ndata: you\n\nevent: end\ndata: two\n\n"
    wanted = [("add", "hello\nyou", "7"), ("end", "two", "7")]
    in_lines, between_lines = [], []
    for case in every_cut(stream, wanted, "cut-in-a-line"):
        if case.chunks[0].endswith(b"\n"):
            between_lines.append(replace(case, hint="cut-between-lines"))
        else:
            in_lines.append(case)
    three = (stream[:20], stream[20:24], stream[24:])
    in_lines.append(Case(stream, wanted, 20, "cut-in-a-line", three))
    expect(parser, *between_lines, *in_lines)
    expect(parser, byte_by_byte(stream, wanted, "cut-in-a-line"))


@suite.check(
    "unfinished",
    "An event that the stream leaves unfinished is dropped",
    todo=5,
    after=("pieces",),
    read="Chunks end anywhere",
    rule=f"{INTERPRETING}: the end of the file",
    why="Half an event looks like a whole one. JSON cut in half at least fails; half a "
    "number does not.",
    hints={"half-an-event": "Only a blank line dispatches. The end of the stream does not."},
)
def unfinished(parser: Parser) -> None:
    for stream in (b"data: a\n\ndata: b\n", b"data: a\n\ndata: b"):
        # b"" is what a connection's read returns at its end.
        case = Case(stream, message("a"), len(stream), "half-an-event", (stream, b""))
        expect(parser, case)


# --- TODO 4 again: line ends in pieces ---------------------------------------------------


@suite.check(
    "cr-at-once",
    "A CR at the end of a chunk ends its line at once",
    todo=4,
    after=("cr", "pieces"),
    read="Three line ends",
    rule=PARSING,
    why="The next chunk may be hours away. The event is complete now.",
    hints={
        "waits": "Don't hold the CR back to see what follows. End the line, remember that it "
        "was a CR, and leave out an LF if the next chunk starts with one."
    },
)
def cr_at_once(parser: Parser) -> None:
    stream = b"data: a\r\r"
    expect(parser, Case(stream, message("a"), len(stream) - 1, "waits"))


@suite.check(
    "crlf-in-two-chunks",
    "A CRLF cut in two is still one line end",
    todo=4,
    after=("cr-at-once", "unfinished"),
    read="Three line ends",
    rule=PARSING,
    why="It happens as often as any other cut, and makes an event out of half of one.",
    hints={
        "lf-counted-again": "The chunk before ended with CR, and this one starts with LF: that "
        "LF is the rest of the line end, not a blank line.",
        "forgot-the-cr": "A chunk without text came between CR and LF, and changes nothing.",
        "remembered-too-long": "There is text between that CR and this LF, so the LF ends "
        "a line too. Only the very last character before the LF matters.",
        "more-than-one-lf": "Only one LF belongs to the CR. The second one is a blank line.",
    },
)
def crlf_in_two_chunks(parser: Parser) -> None:
    stream, wanted = b"data: a\r\ndata: b\r\n\r\n", message("a\nb")
    empty = (stream[:8], b"", stream[8:])
    later = b"data: a\rdata: b\n\n"
    once, twice = (later[:15], later[15:]), (later[:8], later[8:15], later[15:])
    blank = b"data: a\r\n\n"
    expect(
        parser,
        *every_cut(stream, wanted, "lf-counted-again"),
        byte_by_byte(stream, wanted, "lf-counted-again"),
        Case(stream, wanted, 8, "forgot-the-cr", empty),
        Case(later, wanted, 15, "remembered-too-long", once),
        Case(later, wanted, 15, "remembered-too-long", twice),
        Case(blank, message("a"), 9, "more-than-one-lf", (blank[:8], blank[8:])),
    )


# --- TODO 6: characters ------------------------------------------------------------------


@suite.check(
    "characters-in-pieces",
    "A chunk may end in the middle of a character",
    todo=6,
    after=("pieces",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="Every character that is not ASCII takes two to four bytes. Decoding chunk by chunk "
    "breaks names, prices and emoji, now and then.",
    hints={
        "not-utf8": "Decode the stream as UTF-8. Here each character was whole, but misread.",
        "cut-in-a-character": "The first bytes of the character came in one chunk, the rest "
        "in the next. The incremental decoder in `self._decoder` keeps them for you.",
    },
)
def characters_in_pieces(parser: Parser) -> None:
    text = "é 漢 🙂"
    stream, wanted = f"data: {text}\n\n".encode(), message(text)
    expect(
        parser,
        Case(stream, wanted, 6, "not-utf8"),
        *every_cut(stream, wanted, "cut-in-a-character"),
        byte_by_byte(stream, wanted, "cut-in-a-character"),
        crashes={"UnicodeDecodeError": "cut-in-a-character"},
    )


@suite.check(
    "invalid-bytes",
    "A byte that is not UTF-8 becomes U+FFFD",
    todo=6,
    after=("characters-in-pieces",),
    read="Characters end anywhere, too",
    rule=f"{INTERPRETING}: streams are decoded as UTF-8",
    why="One bad byte from a server must not crash its clients, and must not vanish unseen.",
    hints={
        "raised": "Decoding must not raise: bytes that are not UTF-8 are replaced.",
        "vanished": "A bad byte is replaced with U+FFFD. It is not left out, and does not "
        "become anything else.",
    },
)
def invalid_bytes(parser: Parser) -> None:
    stream = b"data: a\xffb\n\n"
    case = Case(stream, message("a\ufffdb"), 7, "vanished")
    expect(parser, case, crashes={"UnicodeDecodeError": "raised"})


@suite.check(
    "byte-order-mark",
    "A byte order mark at the start of the stream is left out",
    todo=6,
    after=("invalid-bytes",),
    read="Characters end anywhere, too",
    rule=f"{PARSING}: stream",
    why="Some editors and servers write it. Left in, it becomes part of the first field's "
    "name, and the first event is lost.",
    hints={
        "mark-kept": "If the first character of the stream is U+FEFF, leave it out. "
        "Its three bytes can come in three chunks.",
        "too-many-removed": "Only the very first character of the stream: not in each chunk, "
        "and not in a value.",
    },
)
def byte_order_mark(parser: Parser) -> None:
    stream = b"\xef\xbb\xbfdata: a\n\n"
    later = b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbfc\n\n"
    kept = message("a", "\ufeffc")
    two_marks = b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n"
    expect(
        parser,
        Case(stream, message("a"), 0, "mark-kept"),
        *every_cut(stream, message("a"), "mark-kept"),
        byte_by_byte(stream, message("a"), "mark-kept"),
        Case(later, kept, 9, "too-many-removed"),
        Case(later, kept, 9, "too-many-removed", (later[:9], later[9:])),
        Case(two_marks, message("b"), 3, "too-many-removed"),
    )
