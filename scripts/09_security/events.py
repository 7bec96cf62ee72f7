"""What goes out on an event stream, as bytes."""

import json
import re
from datetime import UTC, datetime

from json_rpc import Json

LINE_END = re.compile("\r\n|\r|\n")


def encode_event(kind: str, data: str, event_id: str | None = None) -> bytes:
    """One event (WHATWG HTML, server-sent events). Raises ValueError.

    Data may have several lines: each gets its own field. A type or an id must be one line: a
    line end in it would end the field, and what follows would be read as the next one.
    """
    if LINE_END.search(kind):
        raise ValueError("an event's type is one line")
    lines = [f"event: {kind}", *(f"data: {line}" for line in LINE_END.split(data))]
    if event_id is not None:
        if LINE_END.search(event_id) or "\0" in event_id:
            raise ValueError("an event's id is one line without NUL")
        lines.insert(0, f"id: {event_id}")
    return "\n".join([*lines, "\n"]).encode("utf-8", "backslashreplace")


def write_message(message: Json) -> str:
    """JSON in one line, so that it fits into one `data:` field."""
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def now() -> str:
    """The time as the event `connected` gives it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
