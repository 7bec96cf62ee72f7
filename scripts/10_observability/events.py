"""What goes out on an event stream, as bytes."""

import json
from datetime import UTC, datetime

from json_rpc import Json


def encode_event(kind: str, data: bytes) -> bytes:
    """One event (WHATWG HTML, server-sent events). Its data must be one line."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def write_message(message: Json) -> bytes:
    """JSON in one line of UTF-8, so that it fits into one `data:` field."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A string may hold half of a surrogate pair, which UTF-8 cannot encode. JSON can: \\ud800
    # is what backslashreplace makes of it, and what the client sent.
    return text.encode("utf-8", "backslashreplace")


def now() -> str:
    """The time as the events `connected` and `heartbeat` give it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
