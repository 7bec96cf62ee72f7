"""What the checks of several lessons ask of an answer, and how they say that it is wrong."""

from __future__ import annotations

from workshop.checks.mcp_session import McpServer, Reply
from workshop.failed import Failed
from workshop.raw_client import Answer
from workshop.raw_stream import Stream


def head_and_body(answer: Answer) -> bytes:
    """Status, content type and body: the visible parts of an answer."""
    kind = answer.headers.get("Content-Type", "none")
    return f"HTTP status {answer.status}\nContent-Type: {kind}\n\n".encode() + answer.body


def wrong_status(
    hint: str, answer: Answer, wanted: str, *, sent: str = "", todo: int | None = None
) -> Failed:
    """What to raise where the status of an answer is not the one that is wanted.

    `sent` is for what can't be shown as it was: a large request, or one of many.
    """
    return Failed(
        hint,
        sent=sent or answer.request,
        received=head_and_body(answer),
        at=len("HTTP status "),
        wanted=wanted,
        todo=todo,
    )


def wrong_stream(hint: str, stream: Stream, wanted: str, *, sent: str = "") -> Failed:
    """What to raise where the status of a stream is not the one that is wanted."""
    return Failed(
        hint,
        sent=sent or stream.request,
        received=f"HTTP status {stream.status}",
        at=len("HTTP status "),
        wanted=wanted,
    )


def refuses(status: int, server: McpServer, exact: int) -> bool:
    """Whether this status refuses a request, with the course's own number where promised."""
    return status == exact if server.exact else 400 <= status < 500


def want_refusal(server: McpServer, exact: int, why: str) -> str:
    """What to show as expected where `refuses` decides."""
    return f"HTTP status {exact}, {why}" if server.exact else f"HTTP status 4xx, {why}"


ERROR = '"error": {"code": %d, "message": "…"}'
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602


def error_code(answer: Answer) -> object:
    """The code of the JSON-RPC error in the body of an HTTP answer; None without one."""
    try:
        return answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None


def expect_error(reply: Reply, code: int) -> None:
    """Raise Failed("not-the-error") unless the reply is this error."""
    if not reply.error or reply.error.get("code") != code:
        found = reply.at('"code"') if reply.error else reply.at('"result"')
        if reply.error and found is not None:
            found = reply.raw.find(b":", found) + 1
            found += reply.raw[found : found + 1] == b" "
        raise Failed(
            "not-the-error",
            sent=reply.sent,
            received=reply.raw,
            at=found,
            wanted=ERROR % code,
        )
