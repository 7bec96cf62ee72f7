"""The server behind nginx in the lab: it holds an event until the client has the one before it.

It runs in the lab's own process, so the client can tell it what has arrived.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from plain_stream import idle, open_stream, take

EVENTS = 10


@dataclass
class Watch:
    """What one client does, seen from both ends: the server's and the client's."""

    got: int = 0
    """Events that the client has."""
    live: int = 0
    """Events that it had before the stream ended."""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ports: set[int] = field(default_factory=set[int])
    """The ports that the connections with its POSTs came from."""

    def client_has(self, events: int) -> None:
        self.got = events
        self.more.set()

    async def wait(self, events: int, seconds: float) -> None:
        """Wait until the client has that many events, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self.got < events:
                    self.more.clear()
                    await self.more.wait()
        except TimeoutError:
            pass


class Upstream:
    """plain_stream.py's server, but it holds an event until the client has the one before it.

    A client behind a buffer does not get it: then the next is sent after a while anyway.
    """

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self._names = map(str, itertools.count(1))

    def watch(self) -> tuple[str, Watch]:
        """A name for the next requests, and what will be seen of them."""
        name = next(self._names)
        self.watches[name] = Watch()
        return name, self.watches[name]

    async def sse(self, request: web.Request) -> web.StreamResponse:
        watch = self.watches[request.query["watch"]]
        stream = await open_stream(request)
        for number in range(1, EVENTS + 1):
            await stream.write(f"data: {number}\n\n".encode())
            await watch.wait(number, seconds=1.0 if number in (1, EVENTS) else 0.02)
        watch.live = watch.got
        return stream

    async def take(self, request: web.Request) -> web.Response:
        if (name := request.query.get("watch")) is not None:
            assert request.transport is not None
            self.watches[name].ports.add(request.transport.get_extra_info("peername")[1])
        return await take(request)

    async def show_head(self, request: web.Request) -> web.Response:
        """Answer with the request's own headers."""
        lines = (f"{name.decode()}: {value.decode()}" for name, value in request.raw_headers)
        return web.Response(text="\n".join(lines))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port; yields host:port."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/sse", self.sse),
                web.get("/idle", idle),
                web.get("/head", self.show_head),
                web.post("/", self.take),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0]
            yield f"{host}:{port}"
        finally:
            await runner.cleanup()
