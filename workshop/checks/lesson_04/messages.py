"""Messages to send, and the lines that come back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from workshop.failed import Failed

Json = dict[str, Any]

INITIALIZED: Json = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of stdout: its bytes, and the JSON object in it or None."""

    raw: bytes
    message: Json | None


def as_line(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


def json_object(raw: bytes) -> Json | None:
    """The JSON object in these bytes, or None."""
    try:
        value = json.loads(raw.decode("utf-8"))  # bytes would be taken in UTF-16 too
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except ValueError:
        return False
    return True


def ping(id: int | str) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": "ping"}


def request(method: str, params: Json) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def initialize_request(version: str) -> Json:
    client = {"name": "workshop", "version": "1.0.0"}
    return request(
        "initialize",
        {"protocolVersion": version, "capabilities": {}, "clientInfo": client},
    )


def place_of(raw: bytes, key: str) -> int | None:
    """Where the value of a key begins in a line of JSON; None when the key is not there."""
    found = re.search(rb'"%s"\s*:\s*' % key.encode(), raw)
    return found.end() if found else None


def result_in(line: Line) -> Any:
    return None if line.message is None else line.message.get("result")


def error_code(line: Line) -> Any:
    """The code of the error in a reply, or None when there is no error in it."""
    error = None if line.message is None else line.message.get("error")
    return error.get("code") if isinstance(error, dict) else None


def check_code(line: Line, wanted: int, sent: bytes, *, hint: str = "wrong-code") -> None:
    """Raises Failed when the line is not an error with this code."""
    if error_code(line) != wanted:
        at = place_of(line.raw, "code")
        raise Failed(hint, sent=sent, received=line.raw, at=at, wanted=f'"code": {wanted}')
