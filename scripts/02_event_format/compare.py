"""What three parsers make of the same bytes. Reads a stream from standard input.

printf 'id: 7\\n\\n' | uv run scripts/02_event_format/compare.py
"""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace
from typing import Any

import httpx2
import httpx_sse
from event_stream import EventStreamParser

Found = list[tuple[str, str, str]]  # type, data, last event id


def main() -> None:
    stream = sys.stdin.buffer.read()
    # Both libraries parse the text of a response. This stand-in has nothing but text.
    response: Any = SimpleNamespace(
        headers={"content-type": "text/event-stream"},
        request=None,
        iter_text=lambda: iter([stream.decode("utf-8", "replace")]),
    )
    ours = EventStreamParser().feed(stream)
    found: dict[str, Found] = {
        "ours": [(event.type, event.data, event.last_event_id) for event in ours],
        "httpx-sse": [
            (event.event, event.data, event.id)
            for event in httpx_sse.EventSource(response).iter_sse()
        ],
        "httpx2": [
            (event.event, event.data, event.id) for event in httpx2.EventSource(response)
        ],
    }
    for name, events in found.items():
        print(f"{name:10}", *events or ["no event"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
