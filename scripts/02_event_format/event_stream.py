"""The event stream format, both halves: `EventStreamParser` reads it, `encode_event` writes it.

The rules are in the HTML standard, section 9.2, "Server-sent events":
https://html.spec.whatwg.org/multipage/server-sent-events.html
9.2.5 says what a stream consists of, 9.2.6 how to interpret it. The parser does no
I/O: it takes bytes as they arrive, from a file, a socket or a test.

Run as a program, it prints the events of a URL or of standard input as they arrive:

    uv run scripts/02_event_format/event_stream.py http://127.0.0.1:5001/mcp-sse
    printf 'data: hello\\n\\n' | uv run scripts/02_event_format/event_stream.py -
"""

from __future__ import annotations

import argparse
import codecs
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedReader
from typing import cast

LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, init=False)
class Event:
    """One event, as a listener receives it."""

    type: str
    data: str
    last_event_id: str

    def __init__(self, type: str, data: str, last_event_id: str) -> None:
        # A frozen dataclass would do the same by itself, in twice the time. With many
        # small events, a parser spends much of its time here.
        fields = self.__dict__
        fields["type"] = type
        fields["data"] = data
        fields["last_event_id"] = last_event_id


class EventTooLarge(Exception):
    """An event exceeded the parser's limit. The parser can't be used any more."""


class EventStreamParser:
    """Turns the bytes of one event stream into events.

    `last_event_id` is what a client sends as `Last-Event-ID` when it reconnects.
    Each connection needs its own parser; to continue where the last one stopped, as
    browsers do, pass its `last_event_id` to the new one.
    `reconnection_time` is how many milliseconds the stream asks a client to wait
    before it reconnects, or None if it did not say.
    `max_event_size` limits the lines of one event, from one blank line to the next, in
    characters, not counting comments and line ends: without a limit, a stream that
    never ends its event would use up the memory.
    """

    def __init__(self, *, last_event_id: str = "", max_event_size: int = 1_048_576) -> None:
        self.last_event_id = last_event_id
        self.reconnection_time: int | None = None
        self.max_event_size = max_event_size

        # 9.2.6: a stream is decoded as UTF-8, and bytes that are not UTF-8 become U+FFFD.
        # A character can arrive in pieces: this decoder waits for the last of them.
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._at_start = True
        self._after_cr = False  # the last character was CR: an LF now belongs to it
        self._line: list[str] = []  # the current line, which has not ended yet, in pieces
        self._line_size = 0  # of the pieces in `_line`
        self._event_size = 0  # of the lines that ended since the last blank line
        self._error: EventTooLarge | None = None

        # The three buffers of 9.2.6.
        self._data: list[str] = []
        self._event_type = ""
        self._last_event_id = last_event_id

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere; return the events that they complete.

        An event that the stream leaves unfinished is never returned: 9.2.6 discards
        it, so there is no method to call at the end.
        Raises EventTooLarge when the current event exceeds the limit. If the same chunk
        completed events before it, those are returned, and the next call raises.
        """
        if self._error is not None:
            raise self._error
        events: list[Event] = []
        for line in self._end_lines(self._decode(chunk)):
            if not line:  # 9.2.6: a blank line dispatches the event
                self._dispatch(events)
                continue
            # 9.2.6: the name is everything before the first colon, the value everything
            # after it, without one leading space. A line without a colon is a name with an
            # empty value; a line that starts with a colon, so without a name, is a comment.
            name, _, value = line.partition(":")
            if name:
                self._event_size += len(line)
                if self._event_size > self.max_event_size:
                    break
                self._process_field(name, value.removeprefix(" "))
        if self._event_size + self._line_size > self.max_event_size:
            self._over_the_bound(events)
        return events

    def _end_lines(self, text: str) -> list[str]:
        """The lines that `text` ends, without their ends (9.2.5: CRLF, LF or CR)."""
        if not text:
            return []
        if self._at_start:
            text = text.removeprefix("\ufeff")  # 9.2.5: one byte order mark may come first
            self._at_start = False
        # A CR ends its line at once, or the event would have to wait for the next byte,
        # which may be hours away. So if that byte is LF, it is the rest of a CRLF.
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines: list[str] = []
        if "\n" in text:
            lines = text.split("\n")  # splitlines() would split at eight more characters
            text = lines.pop()
            if self._line:
                lines[0] = "".join([*self._line, lines[0]])
                self._line, self._line_size = [], 0
        if text:
            self._line.append(text)
            self._line_size += len(text)
        return lines

    def _process_field(self, name: str, value: str) -> None:
        """9.2.6, "process the field"."""
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event_type = value
        elif name == "id":
            if "\0" not in value:
                self._last_event_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 20:
            # Chromium, too, ignores a number that does not fit into 64 bits. Without a
            # limit, int() would raise a ValueError for more than 4,300 digits.
            self.reconnection_time = int(value)
        # Any other field is ignored, and so are these names in capitals, like `Data`.

    def _dispatch(self, events: list[Event]) -> None:
        """9.2.6, "dispatch the event", if there is one."""
        # Step 1 comes before we ask whether there is an event, so a block that holds
        # nothing but an id also sets the last event id.
        self.last_event_id = self._last_event_id
        if self._data:  # step 2. An empty `data` line counts: it leaves an LF in the buffer
            data = "\n".join(self._data)  # adds no LF at the end, so none to remove (step 3)
            events.append(Event(self._event_type or "message", data, self.last_event_id))
            self._data = []
        self._event_type = ""  # steps 2 and 7; the last event id buffer stays (step 1)
        self._event_size = 0

    def _over_the_bound(self, events: list[Event]) -> None:
        """Not in the standard: raise EventTooLarge, now or after `events` are returned."""
        if self._event_size <= self.max_event_size and self._line[0].startswith(":"):
            self._line, self._line_size = [":"], 0  # a long comment: nobody will miss it
            return
        self._error = EventTooLarge(f"An event is over {self.max_event_size} characters")
        if not events:
            raise self._error


def encode_event(
    data: str | None,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """One block of an event stream: an event, or a block that no listener sees.

    `data` is split at each CRLF, CR and LF, with a `data` line for each part: the listener
    gets it back with LF in their place. "" is an event with empty data; None means no
    event: the block holds only a comment, an id or a retry.
    `retry` is in milliseconds. A comment of several lines becomes several comments.

    Raises ValueError, naming the field, for anything that would end the field's line
    early and let its author add fields (CR or LF in `event` or `id`), and for anything
    that parsers ignore (NUL in `id`, an `event` without data, a `retry` that is not a
    whole number from 0 up with at most 19 digits). Text that UTF-8 can't encode, a lone
    surrogate, raises UnicodeEncodeError, which is a ValueError too.
    """
    lines: list[str] = []
    if comment is not None:
        lines += [f": {line}" for line in LINE_END.split(comment)]
    if event is not None:
        if data is None:
            raise ValueError("event: without data no listener ever gets it")
        if LINE_END.search(event):
            raise ValueError(f"event: {event!r} has a line end in it")
        lines.append(f"event: {event}")
    if id is not None:
        if LINE_END.search(id):
            raise ValueError(f"id: {id!r} has a line end in it")
        if "\0" in id:
            raise ValueError(f"id: {id!r} has a NUL in it")
        lines.append(f"id: {id}")
    if retry is not None:
        if type(retry) is not int or not 0 <= retry < 10**19:  # True is an int, too
            raise ValueError("retry: not a whole number from 0 up, of at most 19 digits")
        lines.append(f"retry: {retry}")
    if data is not None:
        # Not str.splitlines(): it splits at eight more characters, which end no line here.
        lines += [f"data: {line}" for line in LINE_END.split(data)]
    return "".join(f"{line}\n" for line in [*lines, ""]).encode("utf-8")


def read_chunks(source: str) -> Iterator[bytes]:
    """The bytes of standard input (`-`) or of a URL, each piece as soon as it arrives."""
    if source == "-":
        # read1 returns what has arrived; read would wait until its buffer is full.
        while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
            yield chunk
        return
    request = urllib.request.Request(source, headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(request) as response:
        if response.headers.get_content_type() != "text/event-stream":
            raise ValueError(f"it is {response.headers.get_content_type()}")
        if encoding := response.headers["Content-Encoding"]:  # although nobody asked for it
            raise ValueError(f"its bytes are encoded, as {encoding}")
        while chunk := response.read1(65_536):
            yield chunk


def main() -> None:
    options = argparse.ArgumentParser(description="Print a stream's events as they arrive.")
    options.add_argument("source", help="a URL, or - for standard input")
    source: str = options.parse_args().source

    # A shell that starts a program with `&` may make it ignore Ctrl-C. This one doesn't.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    parser = EventStreamParser()
    try:
        for chunk in read_chunks(source):
            for event in parser.feed(chunk):
                print(event, flush=True)
        wait = parser.reconnection_time
        shown = "not set" if wait is None else f"{wait} ms"
        last = parser.last_event_id
        print(f"The stream ended. Last event id: {last!r}, retry: {shown}", flush=True)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # our output has no reader: Python would try again as it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, HTTPException, ValueError, EventTooLarge) as error:
        sys.exit(f"Can't read an event stream from {source}: {error}")


if __name__ == "__main__":
    main()
