"""How fast are event_stream.py, httpx-sse and httpx2 on the same bytes?

    uv run scripts/02_event_format/benchmark.py

Each row is one kind of stream, cut into chunks as a connection might cut it. The three
parsers take turns on it. A row shows the median CPU time of each, and how many times
as long as ours the others take.
"""

from __future__ import annotations

import argparse
import codecs
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import httpx2
import httpx_sse
from event_stream import EventStreamParser, encode_event

Parse = Callable[[list[bytes]], int]


def ours(chunks: list[bytes]) -> int:
    parser = EventStreamParser()
    return sum(len(parser.feed(chunk)) for chunk in chunks)


class Response:
    """Stands in for a response of httpx or httpx2; the bytes are already here."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.headers = {"content-type": "text/event-stream"}
        self.request = SimpleNamespace()

    def iter_text(self) -> Iterable[str]:
        return codecs.iterdecode(self.chunks, "utf-8", "replace")


def with_httpx_sse(chunks: list[bytes]) -> int:
    response: Any = Response(chunks)
    return sum(1 for _ in httpx_sse.EventSource(response).iter_sse())


def with_httpx2(chunks: list[bytes]) -> int:
    response: Any = Response(chunks)
    return sum(1 for _ in httpx2.EventSource(response))


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def workloads(scale: int) -> dict[str, list[bytes]]:
    """Typical streams, by name, in chunks."""
    small = [encode_event(str(number)) for number in range(20 * scale)]
    tokens = [
        encode_event(json.dumps({"index": 0, "delta": {"content": f" word{number}"}}))
        for number in range(20 * scale)
    ]
    results = b"".join(
        encode_event(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": number,
                    "result": {"content": [{"type": "text", "text": "some words " * 20}]},
                }
            ),
            event="message",
            id=str(number),
        )
        for number in range(10 * scale)
    )
    text = b"".join(encode_event("naïve 漢字 🙂 " * 30) for _ in range(5 * scale))
    lines = b"".join(encode_event("one line of a file\n" * 200) for _ in range(scale // 4))
    large = encode_event("x" * 1_000_000) * max(1, scale // 50)
    return {
        "small events, many in a chunk": cut(b"".join(small), 65_536),
        "tokens, one event per chunk": tokens,
        "MCP results, 1,400 bytes per chunk": cut(results, 1_400),
        "MCP results, CRLF": cut(results.replace(b"\n", b"\r\n"), 16_384),
        "text that is not ASCII": cut(text, 16_384),
        "events of 200 lines": cut(lines, 16_384),
        "events of 1 MB": cut(large, 65_536),
        "MCP results, 16 bytes per chunk": cut(results[: 600 * scale], 16),
    }


def measure(parsers: list[Parse], chunks: list[bytes], rounds: int) -> list[list[float]]:
    """Each parser's seconds for `chunks`, one number per round; they take turns in a round."""
    seconds: list[list[float]] = [[] for _ in parsers]
    for _ in range(rounds):
        for parse, taken in zip(parsers, seconds, strict=True):
            began = time.process_time()
            parse(chunks)
            taken.append(time.process_time() - began)
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description="Compare three event stream parsers.")
    options.add_argument("--rounds", type=int, default=15, help="rounds for each stream (15)")
    options.add_argument("--scale", type=int, default=200, help="size of the streams (200)")
    chosen = options.parse_args()

    parsers: list[Parse] = [ours, with_httpx_sse, with_httpx2]
    print(f"{'':34}{'ours':>9}{'httpx-sse':>18}{'httpx2':>18}")
    for name, chunks in workloads(chosen.scale).items():
        if len({parse(chunks) for parse in parsers}) != 1:
            raise SystemExit(f"{name}: the parsers disagree on the number of events")
        first, *others = measure(parsers, chunks, chosen.rounds)
        row = f"{name:34}{statistics.median(first) * 1e3:6.2f} ms"
        for other in others:
            # Round by round, so that a slow moment of the machine affects both sides.
            times = statistics.median(b / a for a, b in zip(first, other, strict=True))
            row += f"{statistics.median(other) * 1e3:8.2f} ms {times:4.2f} x"
        print(row)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
