"""Record what an MCP client and its server say to each other over SSE, message by message."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from event_stream import EventStreamParser

PARTICIPANTS = ("you", "agent", "model", "client", "server")
ACCEPTED = "202 Accepted"
WIDEST = 48  # characters of a message that are shown: a line fits into a terminal


@dataclass(frozen=True)
class Said:
    """One message: when (in seconds since the first), by whom, to whom, and what."""

    seconds: float
    sender: str
    receiver: str
    text: str


@dataclass
class Capture:
    """All messages, in the order in which they were said."""

    said: list[Said] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    listings: list[float] = field(default_factory=list)
    """How long each listing of the tools took, in seconds."""
    _asked: dict[Any, float] = field(default_factory=dict)  # when, by the id of the request

    def add(self, sender: str, receiver: str, text: str) -> None:
        """Record a message now. Only its first line is kept."""
        short = " ".join(text.split())
        short = short if len(short) <= WIDEST else short[: WIDEST - 1] + "…"
        self.said.append(Said(time.monotonic() - self.began, sender, receiver, short))

    def add_message(self, sender: str, receiver: str, how: str, message: bytes | str) -> None:
        """Record a JSON-RPC message, and `how` it goes: `POST`, or an event's type."""
        try:
            said: Any = json.loads(message)
        except ValueError:
            self.add(sender, receiver, f"{how} not JSON")
            return
        self.add(sender, receiver, f"{how} {described(said)}")
        now = time.monotonic()
        if said.get("method") == "tools/list":
            self._asked[said["id"]] = now
        elif "method" not in said and said.get("id") in self._asked:
            self.listings.append(now - self._asked.pop(said["id"]))

    def as_transcript(self) -> str:
        return "\n".join(
            f"{number:>2} {one.seconds:6.3f} s  {one.sender:>6} -> {one.receiver:6}  {one.text}"
            for number, one in enumerate(self.said, start=1)
        )

    def as_mermaid(self) -> str:
        """A sequence diagram, without the 202s, which say only that a message has arrived.

        What would mean something to Mermaid is written as a code.
        """
        lines = ["sequenceDiagram"]
        lines += [f"    participant {name}" for name in PARTICIPANTS]
        for one in self.said:
            if one.text == ACCEPTED:
                continue
            arrow = (
                "-->>"
                if PARTICIPANTS.index(one.receiver) < PARTICIPANTS.index(one.sender)
                else "->>"
            )
            text = one.text.replace("#", "#35;").replace(";", "#59;")
            lines.append(f"    {one.sender}{arrow}{one.receiver}: {text}")
        return "\n".join(lines)


def client_factory(capture: Capture) -> Callable[..., httpx2.AsyncClient]:
    """What MCPServerSse calls for its HTTP client: here one whose messages are recorded."""

    def make(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=headers,
            timeout=timeout,
            auth=auth,
            transport=RecordingTransport(capture, httpx2.AsyncHTTPTransport()),
        )

    return make


class RecordingTransport(httpx2.AsyncBaseTransport):
    """Passes everything on, and records it."""

    def __init__(self, capture: Capture, inner: httpx2.AsyncBaseTransport) -> None:
        self.capture = capture
        self.inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            self.capture.add_message("client", "server", "POST", request.content)
        else:
            self.capture.add("client", "server", f"{request.method} {request.url.path}")
        response = await self.inner.handle_async_request(request)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = RecordedStream(self.capture, response.stream)
        else:
            self.capture.add(
                "server", "client", f"{response.status_code} {response.reason_phrase}"
            )
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


class RecordedStream(httpx2.AsyncByteStream):
    """Reads a stream with lesson 02's parser while it passes the bytes on."""

    def __init__(self, capture: Capture, inner: httpx2.AsyncByteStream) -> None:
        self.capture = capture
        self.inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parser = EventStreamParser()
        async for piece in self.inner:
            for event in parser.feed(piece):
                if event.type == "endpoint":  # whoever reads the session's id could use it
                    uri = event.data.partition("=")[0] + "=…"
                    self.capture.add("server", "client", f"event endpoint: {uri}")
                else:
                    how = f"event {event.type}:"
                    self.capture.add_message("server", "client", how, event.data)
            yield piece

    async def aclose(self) -> None:
        await self.inner.aclose()


def described(said: dict[str, Any]) -> str:
    """A JSON-RPC message in a few words."""
    if "method" in said:
        name = said.get("params", {}).get("name", "")
        number = f" (id {said['id']})" if "id" in said else ""
        return f"{said['method']} {name}".rstrip() + number
    if "error" in said:
        return f"error {said['error'].get('code')} (id {said.get('id')})"
    return f"result (id {said.get('id')}): {contents(said.get('result') or {})}"


def contents(result: dict[str, Any]) -> str:
    """What is in a result: the text of a call's, or the number of tools, or its keys."""
    if "tools" in result:
        return f"{len(result['tools'])} tools"
    if result.get("content"):
        return str(result["content"][0].get("text"))
    return ", ".join(result)
