"""Exercise 02: a parser for event streams. `feed` takes bytes and returns events.

The rules are those of the HTML standard, section 9.2, in the words of this lesson.
Try it on a stream of your own:

    printf 'data: hello\\n\\n' | uv run work/02_event_format/exercise.py
"""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from io import BufferedReader
from typing import cast


@dataclass(frozen=True)
class Event:
    """One event, as a listener gets it."""

    type: str
    data: str
    last_event_id: str


class EventStreamParser:
    """Turns the bytes of one event stream into events."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.reconnection_time: int | None = None  # milliseconds

        # What the standard calls buffers: what is known of the event that has begun.
        self._data: list[str] = []  # the values of its data lines
        self._event_type = ""
        self._last_event_id = ""

        # What is known of the bytes so far.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True  # no text has come yet
        self._line = ""  # the line that has begun and not ended
        self._after_cr = False  # the last character was CR

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they complete."""
        events: list[Event] = []
        for line in self._end_lines(self._decode(chunk)):
            if line == "":
                self._dispatch(events)
            else:
                self._process_line(line)
        return events

    def _dispatch(self, events: list[Event]) -> None:
        """A blank line: append the event to `events`, if there is one."""
        # TODO 1: Follow the standard, step by step. The last event id becomes what its
        # buffer holds, event or no event. Without a data line there is no event. An
        # event without a type is a "message". Then forget the data and the type, also
        # when there was no event: they must not leak into the next one.
        events.append(Event("message", "\n".join(self._data), ""))
        self._data = []

    def _process_line(self, line: str) -> None:
        """Any other line: a comment, or a field with a name and a value."""
        # TODO 2: Take the line apart. The name is what stands before the first colon, the
        # value what stands after it, less one space, if there is one. No colon: all of
        # it is the name, and the value is empty. Keep the values of `data` and `event`.
        if line.startswith("data: "):
            self._data.append(line[6:])

        # TODO 3: An `id` goes into its buffer, an empty one too, but not one with a NUL
        # ("\0") in it. A `retry` of nothing but the digits 0 to 9 sets the
        # reconnection time; any other is ignored.

    def _end_lines(self, text: str) -> list[str]:
        """The lines that end in `text`, without their line ends."""
        # TODO 4: A line ends with LF, with CR, or with CRLF, and with nothing else. A CR
        # ends its line at once. If an LF comes next, it belongs to that CR, also when
        # it comes in another chunk.

        # TODO 5: A chunk may end in the middle of a line. Keep what has begun and not
        # ended, and put it before what comes next.
        lines = text.split("\n")
        lines.pop()
        return lines

    def _decode(self, chunk: bytes) -> str:
        """The text in `chunk`."""
        # TODO 6: A chunk may also end in the middle of a character. Bytes that are not
        # UTF-8 become U+FFFD, they never raise. One byte order mark, U+FEFF, may stand
        # at the very start of the stream and is no part of it.
        return chunk.decode("utf-8")


def main() -> None:
    parser = EventStreamParser()
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        for event in parser.feed(chunk):
            print(event, flush=True)


if __name__ == "__main__":
    main()
