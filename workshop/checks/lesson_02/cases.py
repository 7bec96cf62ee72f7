"""Streams with the events that are in them, and how a parser is compared with that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from workshop.checks.lesson_02.processes import Parser, calls
from workshop.failed import Failed

Found = tuple[str, str, str]  # type, data, last event id

HELLO = b"data: hello\n\n"


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
