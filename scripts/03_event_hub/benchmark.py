"""How many events per second reach 1, 100 and 1,000 subscribers, beside two libraries.

    uv run scripts/03_event_hub/benchmark.py

The same endpoint three times: the hub of this lesson, the library sse-starlette, and
FastAPI's own `fastapi.sse`. All three run on the same uvicorn in a process each. The
rounds take turns, so that a busy moment of the machine hits all three; the median of
the rounds counts. A round publishes events one after another, each in its own turn of the
event loop, as requests would, and ends when the last subscriber has the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.sse import EventSourceResponse as NativeResponse
from fastapi.sse import ServerSentEvent as NativeEvent
from hub import Hub
from hub_server import EventStream
from sse_starlette import EventSourceResponse, ServerSentEvent

SUBSCRIBERS = (1, 100, 1_000)
DELIVERIES = 20_000  # events times subscribers, in one round
OPEN_FILES = 8_192

Data = dict[str, Any]
Queue = asyncio.Queue[tuple[int, Data]]


def our_app() -> tuple[FastAPI, Callable[[Data], None]]:
    """The hub: each event encoded once, its bytes shared by all subscribers."""
    app = FastAPI()
    hub = Hub(queue=DELIVERIES)

    @app.get("/events")
    async def events() -> Response:
        return EventStream(hub, hub.subscribe(["orders"]))

    return app, lambda data: (hub.publish("orders", data), None)[1]


def queues() -> tuple[set[Queue], Callable[[Data], None]]:
    """What both libraries leave to you: a queue for each subscriber, and how to fill it."""
    subscribers: set[Queue] = set()
    ids = iter(range(1, sys.maxsize))

    def publish(data: Data) -> None:
        id = next(ids)
        for queue in subscribers:
            queue.put_nowait((id, data))

    return subscribers, publish


def sse_starlette_app() -> tuple[FastAPI, Callable[[Data], None]]:
    """The same with sse-starlette's EventSourceResponse."""
    app = FastAPI()
    subscribers, publish = queues()

    @app.get("/events")
    async def events() -> Response:
        queue: Queue = asyncio.Queue()
        subscribers.add(queue)

        async def follow() -> AsyncIterator[ServerSentEvent]:
            while True:
                id, data = await queue.get()
                yield ServerSentEvent(json.dumps(data), event="orders", id=str(id))

        return EventSourceResponse(follow())

    return app, publish


def fastapi_sse_app() -> tuple[FastAPI, Callable[[Data], None]]:
    """The same with FastAPI's own EventSourceResponse."""
    app = FastAPI()
    subscribers, publish = queues()

    @app.get("/events", response_class=NativeResponse)
    async def events() -> AsyncIterator[NativeEvent]:
        queue: Queue = asyncio.Queue()
        subscribers.add(queue)
        yield NativeEvent(comment="open")
        while True:
            id, data = await queue.get()
            yield NativeEvent(data=data, event="orders", id=str(id))

    return app, publish


APPS = {
    "this hub": our_app,
    "sse-starlette": sse_starlette_app,
    "fastapi.sse": fastapi_sse_app,
}


def serve(name: str, listener: socket.socket) -> None:
    """Serve one of the apps until killed. `POST /burst?events=N` publishes N events."""
    app, publish = APPS[name]()

    @app.post("/burst")
    async def burst(events: int, last: str) -> None:
        for number in range(1, events + 1):
            publish({"n": number, "user": "ada", "last": last if number == events else ""})
            await asyncio.sleep(0)

    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


class Reader(asyncio.Protocol):
    """One subscriber: keeps what arrives, and waits for a certain text."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._wanted = b""
        self._found: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self.received += data
        # The end is enough: what is looked for comes last.
        if self._found and not self._found.done() and self._wanted in self.received[-400:]:
            self._found.set_result(None)

    def expect(self, wanted: bytes) -> asyncio.Future[None]:
        """Forget what has arrived; the future is done once `wanted` arrives."""
        self.received.clear()
        self._wanted = wanted
        self._found = asyncio.get_running_loop().create_future()
        return self._found


class Contender:
    """One server, in another process, and its subscribers."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, port: int) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.rates: list[float] = []
        self.readers: list[Reader] = []
        self._transports: list[asyncio.Transport] = []

    async def connect(self, subscribers: int) -> None:
        """Bring the number of subscribers up to `subscribers`."""
        loop = asyncio.get_running_loop()
        while len(self.readers) < subscribers:
            transport, reader = await loop.create_connection(Reader, "127.0.0.1", self.port)
            self._transports.append(transport)
            self.readers.append(reader)
        # Events reach all of them once all have subscribed: ask until that is so.
        for attempt in range(50):
            ready = [reader.expect(b'"probe-%d"' % attempt) for reader in self.readers]
            await self.burst(1, f"probe-{attempt}")
            _, missing = await asyncio.wait(ready, timeout=1)
            if not missing:
                return
        raise RuntimeError(f"{self.name}: not all of {subscribers} subscribers get events")

    async def burst(self, events: int, last: str) -> None:
        """Have the server publish `events` events; the last one says `last`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            f"POST /burst?events={events}&last={last} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await reader.read()
        writer.close()

    async def round(self, events: int, number: int) -> None:
        """Publish, wait until every subscriber has everything, note the rate."""
        last = f"round-{number}"
        done = [reader.expect(f'"{last}"'.encode()) for reader in self.readers]
        began = time.perf_counter()
        await self.burst(events, last)
        await asyncio.wait_for(asyncio.gather(*done), 120)
        seconds = time.perf_counter() - began
        for reader in self.readers:
            if reader.received.count(b"data: ") != events:
                raise RuntimeError(f"{self.name} lost events")
        self.rates.append(events * len(self.readers) / seconds)

    def close(self) -> None:
        for transport in self._transports:
            transport.abort()
        self.process.kill()


async def start(name: str) -> Contender:
    """Start the server `name` on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        listener.set_inheritable(True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--serve", name, "--listener", str(listener.fileno())),
            pass_fds=[listener.fileno()],
        )
        return Contender(name, process, listener.getsockname()[1])


async def compare(subscribers: int, rounds: int, deliveries: int) -> dict[str, float]:
    """Median events a second, for each contender."""
    contenders: list[Contender] = []
    try:
        for name in APPS:
            contenders.append(await start(name))
        for contender in contenders:
            await contender.connect(subscribers)
        for number in range(rounds):
            for contender in contenders:
                await contender.round(max(1, deliveries // subscribers), number)
        return {each.name: statistics.median(each.rates) for each in contenders}
    finally:
        for contender in contenders:
            contender.close()
            await contender.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the fan-out beside two libraries.")
    parser.add_argument("--subscribers", type=int, nargs="+", default=SUBSCRIBERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deliveries", type=int, default=DELIVERIES)
    parser.add_argument("--serve", choices=APPS, help=argparse.SUPPRESS)
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.serve:
        serve(options.serve, socket.socket(fileno=options.listener))
        return
    # A connection is an open file, and three servers have a thousand each.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    # SIGTERM ends it as Ctrl-C does, and its servers with it, also where a script's `&` has
    # it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    print(f"Events per second, median of {options.rounds} rounds, and this hub as a multiple\n")
    print(f"{'subscribers':>11}  {'this hub':>9}  {'sse-starlette':>17}  {'fastapi.sse':>17}")
    with contextlib.suppress(KeyboardInterrupt):
        for subscribers in options.subscribers:
            rates = asyncio.run(compare(subscribers, options.rounds, options.deliveries))
            ours, *others = rates.values()
            columns = "".join(f"  {rate:>9,.0f} ({ours / rate:4.1f}x)" for rate in others)
            print(f"{subscribers:>11,}  {ours:>9,.0f}{columns}", flush=True)


if __name__ == "__main__":
    main()
