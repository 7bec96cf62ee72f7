"""Exercise 02: a parser for event streams. `feed` takes bytes and returns events.

The rules are in section 9.2 of the HTML standard; the lesson puts them in plain words.
Try the parser on a stream of your own:

    printf 'data: hello\\n\\n' | uv run work/02_event_format/exercise.py
"""

from __future__ import annotations

import codecs
import signal
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

        # What the standard calls buffers: what we know so far about the current event.
        self._data: list[str] = []  # the values of its data lines
        self._event_type = ""
        self._last_event_id = ""

        # What we know so far about the bytes.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True  # no text has arrived yet
        self._after_cr = False  # the last character was CR
        self._line = ""  # the current line, which has not ended yet

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they complete."""
        events: list[Event] = []
        text = self._with_lf_only(self._decode(chunk))
        for line in self._take_lines(text):
            if line == "":
                self._dispatch(events)
            else:
                self._process_line(line)
        return events

    def _dispatch(self, events: list[Event]) -> None:
        """A blank line: append the event to `events`, if there is one."""
        # TODO 1: Dispatch, as the flowchart in the lesson shows it. First `last_event_id`
        # takes what its buffer holds. Then, only if there were data lines, append the
        # Event; its type is "message" unless the buffer holds another. In either case,
        # forget the data and the type: they must not leak into the next event.
        events.append(Event("message", "\n".join(self._data), ""))
        self._data = []

    def _process_line(self, line: str) -> None:
        """Any other line: a comment, or a field with a name and a value."""
        # TODO 2: Take the line apart. The name is everything before the first colon. The
        # value is everything after it, without one leading space if there is one. A line
        # without a colon is all name, and its value is empty.
        if line.startswith("data: "):
            self._process_field("data", line[6:])

    def _process_field(self, name: str, value: str) -> None:
        """Keep what the field says. A field with any other name is ignored."""
        if name == "data":
            self._data.append(value)
        if name == "event":
            self._event_type = value
        # TODO 3: An `id` goes into its buffer, even an empty one, unless it contains NUL
        # ("\0"). A `retry` sets the reconnection time if it consists of the digits 0 to 9
        # and nothing else; otherwise it is ignored.

    def _with_lf_only(self, text: str) -> str:
        """The same text, with LF for every line end in it."""
        # TODO 4: A line ends with LF, CR or CRLF, and nothing else. A CR ends its line at
        # once. If the next character is LF, it belongs to that CR, even when it arrives in
        # the next chunk.
        return text

    def _take_lines(self, text: str) -> list[str]:
        """The lines that end in `text`, without their LF."""
        # TODO 5: A chunk may end in the middle of a line. Keep what comes after the last
        # LF, and put it in front of the next text.
        lines = text.split("\n")
        lines.pop()
        return lines

    def _decode(self, chunk: bytes) -> str:
        """The text in `chunk`."""
        # TODO 6: A chunk may also end in the middle of a character. Bytes that are not
        # UTF-8 become U+FFFD and never raise an exception. If the very first character of
        # the stream is a byte order mark, U+FEFF, leave it out.
        return chunk.decode("utf-8")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    parser = EventStreamParser()
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        for event in parser.feed(chunk):
            print(event, flush=True)


if __name__ == "__main__":
    main()
