"""What an answer shows, and where it is wrong."""

from __future__ import annotations

from email.message import Message

from workshop.checks.answers import wrong_stream
from workshop.checks.mcp_session import McpServer


def head_and_body(status: int, headers: Message, body: bytes) -> bytes:
    """The parts of an answer that matter here: status, Location, Content-Type and body."""
    head = f"HTTP status {status}\n"
    for name in ("Location", "Content-Type"):
        if name in headers:
            head += f"{name}: {headers[name]}\n"
    return head.encode() + b"\n" + body


def wrong_place(received: bytes) -> int:
    """Where to draw the caret: where a redirect leads, else at the body, else at the status."""
    for mark in (b"\nLocation: ", b"\n\n"):
        place = received.find(mark)
        if 0 <= place < len(received) - len(mark):
            return place + len(mark)
    return len("HTTP status ")


def want_let_in(server: McpServer, headers: dict[str, str], hint: str) -> None:
    """Raise Failed with this hint unless GET opens the stream with these headers."""
    with server.open("", headers) as stream:
        if stream.status != 200:
            raise wrong_stream(hint, stream, "HTTP status 200")
