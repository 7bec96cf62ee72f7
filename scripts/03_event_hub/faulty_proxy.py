"""A bad network on demand: it sits between a client and the hub, and spoils the streams.

    uv run scripts/03_event_hub/faulty_proxy.py --cut-after 3
    uv run scripts/03_event_hub/sse_client.py orders --url http://127.0.0.1:3001

Only streams (`GET /events…`) are spoiled. Everything else passes unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LAST_EVENT_ID = re.compile(rb"\r\nlast-event-id:[ \t]*([^\r\n]*)", re.IGNORECASE)
CONNECTION = re.compile(rb"\r\nconnection:[^\r\n]*", re.IGNORECASE)
MOST_SPLIT_BYTES = 20


@dataclass(frozen=True)
class Faults:
    """What to do to each stream. Only the first `times` streams suffer; None: all of them."""

    cut_after: int | None = None
    """Close the connection after this many events."""
    cut_within: int | None = None
    """Close the connection at a random place within this many bytes."""
    stall_after: int | None = None
    """After this many events, pass nothing more on, but keep the connection open."""
    status: int | None = None
    """Answer with this status instead of asking the hub."""
    split: bool = False
    """Pass the bytes on in pieces of random sizes."""
    delay: float = 0.0
    """Seconds to hold back each piece."""
    buffer: int = 0
    """Hold this many bytes before passing anything on, as a buffering proxy does."""
    times: int | None = None


@dataclass(frozen=True)
class Request:
    """A request for a stream. `time` is that of time.monotonic(), in seconds."""

    path: str
    last_event_id: str
    time: float = field(default_factory=time.monotonic)


class Cut(Exception):
    """The fault that ends a connection."""


class EventEnds:
    """Finds where events end in passing bytes, which may be cut anywhere."""

    def __init__(self) -> None:
        self._block = b""

    def find(self, chunk: bytes) -> Iterator[int]:
        """The indexes in `chunk` right after each event that ends in it.

        Comments, and blocks with only a `retry` or an `id`, are not events.
        """
        before = len(self._block)
        text = self._block + chunk
        begin = 0
        while (end := text.find(b"\n\n", begin)) >= 0:
            if b"data:" in text[begin:end]:
                yield end + 2 - before
            begin = end + 2
        self._block = text[begin:]


class FaultyProxy:
    """Relays connections to `target` (host, port) with faults. `requests`: the streams."""

    def __init__(
        self,
        target: tuple[str, int],
        faults: Faults,
        *,
        seed: int | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.target = target
        self.faults = faults
        self.requests: list[Request] = []
        self._random = random.Random(seed)
        self._log = log
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._relay, host, port, backlog=1_024)
        return self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every open connection, now."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            faults = Faults()
            if method == "GET" and urlsplit(path).path.startswith("/events"):
                faults = self._take_note(path, head)
            if faults.status is not None:
                writer.write(
                    f"HTTP/1.1 {faults.status} Fault\r\nContent-Length: 0\r\n"
                    "Connection: close\r\n\r\n".encode()
                )
            else:
                # One request per connection, so that every request is seen here.
                head = CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"
                await self._pass_on(head, reader, writer, faults)
        except (OSError, asyncio.IncompleteReadError, ValueError, Cut, asyncio.CancelledError):
            pass  # one side has gone, or a fault says so, or the program ends
        finally:
            self._open.discard(writer)
            writer.close()

    def _take_note(self, path: str, head: bytes) -> Faults:
        found = LAST_EVENT_ID.search(head)
        last_event_id = found.group(1).decode("latin-1") if found else ""
        self.requests.append(Request(path, last_event_id))
        number = len(self.requests)
        spoiled = self.faults.times is None or number <= self.faults.times
        said = "spoiled" if spoiled else "passed on"
        self._log(f"#{number} GET {path} Last-Event-ID: {last_event_id or 'none'} ({said})")
        return self.faults if spoiled else Faults()

    async def _pass_on(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: Faults,
    ) -> None:
        hub_reader, hub_writer = await asyncio.open_connection(*self.target)
        hub_writer.write(head)
        upwards = asyncio.create_task(copy(reader, hub_writer))
        downwards = asyncio.create_task(self._spoil(hub_reader, writer, faults))
        try:
            # When the client has gone or the answer is over, the other side ends as well.
            await asyncio.wait({upwards, downwards}, return_when=asyncio.FIRST_COMPLETED)
            if upwards.done() and not downwards.done():
                return
            await downwards
        finally:
            upwards.cancel()
            downwards.cancel()
            hub_writer.close()

    async def _spoil(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults
    ) -> None:
        """The answer's bytes, from the hub to the client, through all faults."""
        pieces = self._cut(chunks(reader), faults)
        if faults.buffer:
            pieces = collect(pieces, faults.buffer)
        async for piece in self._split(pieces) if faults.split else pieces:
            await asyncio.sleep(faults.delay)
            writer.write(piece)
            await writer.drain()

    async def _cut(self, pieces: AsyncIterator[bytes], faults: Faults) -> AsyncIterator[bytes]:
        left = None
        if faults.cut_within is not None:
            left = self._random.randint(1, faults.cut_within)
        ends = EventEnds()
        events = 0
        async for piece in pieces:
            for end in ends.find(piece):
                events += 1
                if events == faults.cut_after:
                    yield piece[:end]
                    raise Cut
                if events == faults.stall_after:
                    yield piece[:end]
                    await asyncio.Event().wait()
            if left is not None and len(piece) >= left:
                yield piece[:left]
                raise Cut
            if left is not None:
                left -= len(piece)
            yield piece

    async def _split(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            while piece:
                size = self._random.randint(1, MOST_SPLIT_BYTES)
                yield piece[:size]
                piece = piece[size:]


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The bytes as they come."""
    while chunk := await reader.read(65_536):
        yield chunk


async def collect(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes, but none until there are `size` of them."""
    held = b""
    async for piece in pieces:
        held += piece
        if len(held) >= size:
            yield held
            held = b""
    yield held


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on everything until the other side ends."""
    async for chunk in chunks(reader):
        writer.write(chunk)
        await writer.drain()


async def run(proxy: FaultyProxy, host: str, port: int) -> None:
    """Relay until the program is stopped."""
    try:
        await proxy.start(host, port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"Can't listen on {host}:{port}: {why}. Choose another port: --port 3011")
    target = "http://{}:{}".format(*proxy.target)
    print(f"Faulty proxy on http://{host}:{port}, in front of {target}")
    print(f"Listen through it: curl -N http://{host}:{port}/events/orders", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Spoil the streams between client and hub.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3001)
    parser.add_argument("--target", default="http://127.0.0.1:3000", help="the hub's URL")
    parser.add_argument("--cut-after", type=int, metavar="EVENTS")
    parser.add_argument("--cut-within", type=int, metavar="BYTES", help="at a random place")
    parser.add_argument("--stall-after", type=int, metavar="EVENTS")
    parser.add_argument("--status", type=int, help="answer this instead of the hub")
    parser.add_argument("--split", action="store_true", help="pieces of random size")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--buffer", type=int, default=0, metavar="BYTES")
    parser.add_argument("--times", type=int, help="spoil only the first N streams")
    parser.add_argument("--seed", type=int, help="make the random parts repeatable")
    options = vars(parser.parse_args())

    host, port, seed = options.pop("host"), options.pop("port"), options.pop("seed")
    target = urlsplit(options.pop("target"))
    if target.hostname is None:
        parser.error("--target must be a URL, such as http://127.0.0.1:3000")
    proxy = FaultyProxy(
        (target.hostname, target.port or 80),
        Faults(**options),
        seed=seed,
        log=lambda line: print(line, flush=True),
    )
    # SIGTERM ends it as Ctrl-C does. A program started with `&` in a script ignores Ctrl-C
    # unless it says otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(proxy, host, port))


if __name__ == "__main__":
    main()
