"""`listen`, `show_stream` and `post`: what they send and receive is shown as it happens."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workshop.listening import Listener, path_of
from workshop.notebook.pictures import Row, parsed
from workshop.notebook.shown import Conversation, Picture, Quiet, close_on_interrupt, picture

FEW = 5  # heartbeats that had come before a cell ran: of more, only the first is shown

# By host and path: where a session's messages are POSTed.
_sessions: dict[str, tuple[Conversation, float]] = {}


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    type: str
    data: str
    id: str


class Stream(Listener, Quiet):
    """A stream that is read in the background. `show` shows what has come."""

    def __init__(self, url: str, headers: Mapping[str, str] | None, name: str) -> None:
        super().__init__(url, headers)
        close_on_interrupt(self.close)
        self._name = name
        self.events: list[Event] = []  # those that were shown
        self._talk = Conversation()
        self._session = ""
        self._unfinished = ""
        self._asked = 0.0  # when the newest `show` began
        self._unseen: list[Row] = []  # heartbeats that came before that
        self._is_stream = "event-stream" in self.headers.get("Content-Type", "")
        kind = self.headers.get("Content-Type", "no Content-Type")
        title = f"GET {self.path} → {self.status}, {kind}"
        row = Row("answer", self.answered, title, status=self.status, who=name)
        picture(self.began).add(row)

    @property
    def last(self) -> Event:
        """The event that was shown last. IndexError if there was none."""
        return self.events[-1]

    def show(self, events: int | None = 1, *, seconds: float = 30.0) -> None:
        """Show what arrives until this many blank lines; each ends an event.

        It begins where the last `show` stopped. None: whatever comes within `seconds`.
        An interrupt closes the stream.
        """
        close_on_interrupt(self.close)
        self._asked = time.monotonic()
        deadline = self._asked + seconds
        shown = picture(self.began)
        seen = 0
        try:
            while events is None or seen < events:
                if (came := self.take(deadline)) is None:
                    self._show_end(shown, None if events is None else seconds)
                    return
                at, piece = came
                self._unfinished += piece
                if not self._is_stream:
                    continue
                self._unfinished = self._unfinished.replace("\r\n", "\n")
                first = True
                while "\n\n" in self._unfinished:
                    block, _, self._unfinished = self._unfinished.partition("\n\n")
                    self._show_block(shown, at, block, together=not first)
                    first = False
                    seen += 1
        except KeyboardInterrupt:
            self.close()
            shown.add(Row("note", time.monotonic(), "Interrupted. The stream is closed."))
            raise
        finally:
            self._show_unseen(shown)

    def _show_unseen(self, shown: Picture) -> None:
        """While its reader thinks, a server may send thousands of heartbeats: count them."""
        unseen, self._unseen = self._unseen, []
        if len(unseen) > FEW:
            said = f"{len(unseen) - 1:,} more heartbeats are not shown."
            unseen[1:] = [Row("note", unseen[1].at, said, who=self._name)]
        for row in unseen:
            shown.add(row)

    def _show_block(self, shown: Picture, at: float, block: str, *, together: bool) -> None:
        """What a blank line has ended: an event, a comment, or an id alone."""
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        has_data = "data" in fields
        data = "\n".join(fields.get("data", []))
        type = (fields.get("event") or ["message"])[-1] or "message"
        if not has_data or type in ("heartbeat", "ping"):
            title = type if has_data else "no data: no event"
            only_comments = set(fields) == {""}
            kind = "heartbeat" if only_comments or has_data else "event"
            row = Row(kind, at, title, wire=block, who=self._name, together=together)
            if kind == "heartbeat" and at < self._asked:
                self._unseen.append(row)
                return
            self._show_unseen(shown)
            shown.add(row)
            return
        self._show_unseen(shown)
        self.events.append(Event(type, data, (fields.get("id") or [""])[-1]))
        if type == "endpoint":
            self._session = f"{self.host} {data}"
            _sessions[self._session] = (self._talk, self.began)
        value = data if parsed(data) is not None else ""
        row = Row("event", at, type, block, value, who=self._name, together=together)
        shown.message(row, self._talk, self._session)

    def _show_end(self, shown: Picture, waited: float | None) -> None:
        """Show what did not get its blank line, and that the stream has ended."""
        rest, self._unfinished = self._unfinished, ""
        now = self.ended or time.monotonic()
        if rest and not self._is_stream:
            data = rest if parsed(rest) is not None else ""
            shown.add(Row("event", now, "response", wire=rest, data=data))
            return
        if rest.strip():
            shown.add(Row("event", now, "no blank line yet: no event", wire=rest))
        if self.ended is not None:
            shown.add(Row("note", now, "The stream has ended."))
        elif waited is not None:
            shown.add(Row("note", now, f"Nothing more came within {waited:g} s."))


def listen(url: str, headers: Mapping[str, str] | None = None, *, name: str = "") -> Stream:
    """Open a stream and keep reading it in the background, while other cells run.

    With more than one in a cell, `name` says in the picture whose event it is.
    """
    return Stream(url, headers, name)


def show_stream(url: str, events: int | None = None, *, seconds: float = 30.0) -> None:
    """Open a stream, show what arrives as it arrives, and hang up.

    It stops after this many events, at the stream's end, or after `seconds`.
    """
    with listen(url) as stream:
        stream.show(events, seconds=seconds)


class Answer(Quiet):
    """What came back from a POST."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        self.body = body

    def json(self) -> Any:
        """The body as a Python value. Raises ValueError."""
        return json.loads(self.body)


def post(url: str, message: object, headers: Mapping[str, str] | None = None) -> Answer:
    """POST a JSON value, or a string as it is; show the request and its answer.

    Where none comes, that is shown, and the status is 0.
    """
    parts = urlsplit(url)
    path = path_of(parts)
    body = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    session = f"{parts.netloc} {path}"
    now = time.monotonic()
    talk, began = _sessions.get(session, (Conversation(), now))
    shown = picture(began)
    data = body if parsed(body) is not None else ""
    # The whole path is long: of the session's id, the beginning is enough to recognise it.
    row = Row("sent", now, f"POST {_short(path)}", wire=body, data=data)
    shown.message(row, talk, session)
    try:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request("POST", path, body.encode(), sent)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        # A server that is not done yet may give a wrong address, or close the connection.
        why = f"{url} is not a URL." if isinstance(error, http.client.InvalidURL) else error
        shown.add(Row("note", time.monotonic(), f"No answer: {why}", status=599))
        return Answer(0, "")
    kind = answer.getheader("Content-Type")
    row.status, row.answer_body = answer.status, text
    row.answer = f"{answer.status} {answer.reason}" + (f", {kind}" if kind and text else "")
    shown.answered(row)
    return Answer(answer.status, text)


def _short(path: str) -> str:
    head, equals, id = path.partition("session_id=")
    return f"{head}{equals}{id[:6]}…" if len(id) > 12 else path
