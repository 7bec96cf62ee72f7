"""The server of time_limits.py. It has three streams: `/active/sse` with events, `/idle/sse`
with nothing, and `/heartbeats/sse` with nothing but heartbeats.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Literal, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

Kind = Literal["active", "idle", "heartbeats"]
KINDS: tuple[Kind, ...] = get_args(Kind)

TICK = 0.1  # seconds from one event to the next, or from one heartbeat to the next
NEWS = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def event(message: object) -> bytes:
    return b"event: message\ndata: %s\n\n" % json.dumps(message).encode()


class Site:
    """The app with its limits, uvicorn's options, and what it knows about its streams."""

    def __init__(
        self,
        *,
        max_age: float = float("inf"),  # of a stream, in seconds
        send_seconds: float | None = None,  # for a chunk, until the socket has taken it
        tcp_user_timeout: float = 0,
        large: int = 0,  # bytes to make each event longer
        leaves: bool = False,  # it gets SIGTERM as soon as all streams are open
        **options: Any,
    ) -> None:
        self.max_age = max_age
        self.send_seconds = send_seconds
        self.tcp_user_timeout = tcp_user_timeout
        self.padding = b":" + bytes(large) + b"\n" if large else b""
        self.leaves = leaves
        self.options = options
        self.base = ""  # of its URLs
        self.server: uvicorn.Server | None = None
        self.over = False
        self.opened = 0
        self.ended: dict[Kind, Future[None]] = {kind: Future() for kind in KINDS}
        self.replies: dict[Kind, asyncio.Queue[bytes]] = {
            kind: asyncio.Queue() for kind in KINDS
        }
        self.silent: set[Kind] = set()
        self.app = Starlette(
            routes=[
                Route("/{kind}/sse", self.open_stream),
                Route("/{kind}/message", self.post_message, methods=["POST"]),
            ]
        )

    async def events(self, kind: Kind) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.max_age
        yield b"event: endpoint\ndata: /%s/message\n\n" % kind.encode()
        while not self.over and loop.time() < ends:
            await asyncio.sleep(TICK)
            while not self.replies[kind].empty():
                yield self.replies[kind].get_nowait()
            if kind == "active" and kind not in self.silent:
                yield self.padding + event(NEWS)
            elif kind == "heartbeats":
                yield b": heartbeat\n\n"

    async def open_stream(self, request: Request) -> Response:
        self.opened += 1
        if self.leaves and self.opened == len(KINDS):
            assert self.server
            self.server.should_exit = True  # which is what SIGTERM does
        return Streaming(self, request.path_params["kind"])

    async def post_message(self, request: Request) -> Response:
        """Answer every request except a tool call, which lasts for ever."""
        message = await request.json()
        result: dict[str, Any] = {"tools": []}
        if message["method"] == "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "time-limits", "version": "1.0.0"},
            }
        if "id" in message and message["method"] != "tools/call":
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            self.replies[request.path_params["kind"]].put_nowait(event(reply))
        return Response(status_code=202)


class Streaming(StreamingResponse):
    """The stream. It tells its site when it ends."""

    def __init__(self, site: Site, kind: Kind) -> None:
        super().__init__(site.events(kind), media_type="text/event-stream")
        self.site = site
        self.kind: Kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self.site.send_seconds):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self.site.ended[self.kind].set_result(None)


@contextmanager
def serving(site: Site) -> Iterator[None]:
    """Serve it with uvicorn, in a thread, until the block ends."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if site.tcp_user_timeout:
        milliseconds = int(1000 * site.tcp_user_timeout)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # clients that connect before uvicorn is ready wait
    site.base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        site.app, log_config=None, lifespan="off", ws="none", **site.options
    )
    site.server = uvicorn.Server(config)
    thread = threading.Thread(target=site.server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        site.over = True
        site.server.should_exit = site.server.force_exit = True
        thread.join(2)
        listener.close()
