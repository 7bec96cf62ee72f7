"""A client's session with an HTTP+SSE server under check: open it, send, await the reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from workshop.failed import Failed
from workshop.raw_client import Answer, Server, read_json
from workshop.raw_stream import SOON, ReceivedEvent, Stream
from workshop.running import Program

JSON_HEADERS = {"Content-Type": "application/json"}


class McpServer(Server):
    """A server under check. `url` is the URL of its event stream.

    `exact` says that it promises the course's status and error codes to the number.
    Of anybody else's server the checks want what the specification fixes, no more.
    """

    def __init__(
        self,
        url: str,
        program: Program | None = None,
        *,
        exact: bool,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(url, program, headers=headers)
        self.exact = exact


def as_json(value: object) -> str:
    """One line of JSON, as the checks send it. Equal texts are equal values and types."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_message(event: ReceivedEvent) -> bool:
    """Whether the event carries a message: its type is `message`, named or by default."""
    return event.type == "message"


def is_reply(event: ReceivedEvent) -> bool:
    """Whether it is a message that should be a reply: a server may ask and notify, too."""
    return is_message(event) and "method" not in (parsed(event) or {})


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON-RPC response with what was sent for it and the bytes it came in."""

    sent: str
    raw: bytes
    message: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """Its result; empty when it is an error, or no object."""
        result = self.message.get("result")
        return result if isinstance(result, dict) else {}

    @property
    def error(self) -> dict[str, Any]:
        """Its error; empty when it is a result."""
        error = self.message.get("error")
        return error if isinstance(error, dict) else {}

    def at(self, text: str) -> int | None:
        """Where `text` is in the reply's bytes, for the caret."""
        place = self.raw.find(text.encode())
        return place if place >= 0 else None


class Session:
    """An open stream and the URI that its `endpoint` event named. Use it in a `with`."""

    def __init__(self, stream: Stream, server: McpServer, endpoint: str) -> None:
        self.stream = stream
        self.server = server
        self.endpoint = endpoint
        self._last_id = 0

    @classmethod
    def open(cls, server: McpServer, *, initialize: bool = True) -> Session:
        """Open the stream, await the endpoint, and shake hands unless told not to.

        Raises Failed("no-answer") when the endpoint or the reply does not come.
        """
        stream = server.open("")
        event = stream.event(lambda event: event.type == "endpoint")
        if event is None:
            stream.close()
            raise Failed(
                "no-answer",
                sent=stream.request,
                received=stream.raw,
                wanted="an `endpoint` event",
            )
        session = cls(stream, server, event.data)
        if initialize:
            try:
                session.shake_hands()
            except Failed:
                session.close()
                raise
        return session

    def shake_hands(self) -> None:
        """Send `initialize`, await whatever comes, and say that it is done.

        Whether the reply is right is for the checks that are about it.
        """
        before = len(self.stream.events)
        answer = self.post(request(self.next_id(), "initialize", handshake()))
        if self.stream.event(is_reply, after=before) is None:
            raise Failed(
                "no-answer",
                sent=answer.request,
                received=self.since(before) or answer.body,
                wanted="the reply to initialize, as a `message` event",
            )
        self.post(notification("notifications/initialized"))

    def next_id(self) -> int:
        """An id that this session has not used yet."""
        self._last_id += 1
        return self._last_id

    def post(
        self,
        message: object,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = SOON,
    ) -> Answer:
        """POST a message (bytes as they are, anything else as JSON) to the endpoint."""
        body = message if isinstance(message, bytes) else as_json(message).encode()
        asked = {**JSON_HEADERS, **(headers or {})}
        return self.server.request("POST", self.endpoint, body, asked, seconds=seconds)

    def replies(self, after: int = 0) -> list[ReceivedEvent]:
        """The replies that came, from event `after` on."""
        return [event for event in self.stream.events[after:] if is_reply(event)]

    def reply(
        self, request_id: object, *, after: int = 0, seconds: float = SOON
    ) -> ReceivedEvent | None:
        """Wait for the reply with exactly this id. None when it does not come."""

        def fits(event: ReceivedEvent) -> bool:
            message = parsed(event)
            return (
                message is not None
                and "id" in message
                and as_json(message["id"]) == as_json(request_id)
            )

        return self.stream.event(
            lambda event: is_reply(event) and fits(event), after=after, seconds=seconds
        )

    def ask(
        self, method: str, params: object = None, *, request_id: str | int | None = None
    ) -> Reply:
        """Send a request and await its reply. Raises Failed("no-answer")."""
        chosen = self.next_id() if request_id is None else request_id
        before = len(self.stream.events)
        answer = self.post(request(chosen, method, params))
        event = self.reply(chosen, after=before)
        if event is None:
            raise Failed(
                "no-answer",
                sent=answer.request,
                received=self.since(before) or answer.body,
                wanted=f"a `message` event with the id {as_json(chosen)}",
            )
        return Reply(answer.request, self.bytes_of(event), parsed(event) or {})

    def since(self, event: int) -> bytes:
        """The stream's bytes after its first `event` events."""
        events = self.stream.events
        return self.stream.raw[events[event - 1].end if 0 < event <= len(events) else 0 :]

    def bytes_of(self, event: ReceivedEvent) -> bytes:
        """The bytes that an event came in."""
        return self.stream.raw[event.start : event.end]

    def close(self) -> None:
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(request_id: object, method: str, params: object = None) -> dict[str, Any]:
    """A JSON-RPC request; without `params` when there are none."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else message | {"params": params}


def notification(method: str) -> dict[str, Any]:
    """A JSON-RPC notification: it has no id, so it must not be answered."""
    return {"jsonrpc": "2.0", "method": method}


def handshake(version: str = "2024-11-05") -> dict[str, Any]:
    """The params of `initialize`."""
    return {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "workshop-check", "version": "1.0.0"},
    }


def parsed(event: ReceivedEvent) -> dict[str, Any] | None:
    """The event's data as a JSON object, or None when it is not one."""
    try:
        message = read_json(event.data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
