"""The server of the checks that makes no mistakes, and its streams."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from workshop.raw_client import read_json
from workshop.running import HOST

if TYPE_CHECKING:
    from workshop.checks.lesson_07.lab import Lab

Json = dict[str, Any]

TOOLS = {
    "look": {"readOnlyHint": True},
    "store": {"readOnlyHint": False, "idempotentHint": True},
    "pay": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False},
    "send": {},
}
SESSIONS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Stream:
    """An answer to GET /sse. Its session is over when it is."""

    def __init__(self, site: Site, number: int, writer: asyncio.StreamWriter) -> None:
        self.site = site
        self.session = SESSIONS[min(number, 9)]
        self.writer = writer
        self.initialized = False
        self.open = True
        self.done = asyncio.Event()

    def write(self, text: str) -> None:
        piece = text.encode()
        with suppress(OSError):
            self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def event(self, kind: str, data: str) -> None:
        self.write(f"event: {kind}\ndata: {data}\n\n")

    def endpoint(self, uri: str = "/message") -> None:
        """The first event."""
        uri = f"{uri}?session_id={self.session}"
        self.site.saw(f"<- event: endpoint, data: {uri}")
        self.event("endpoint", uri)

    def reply(self, request_id: object, result: Json) -> None:
        self.event(
            "message", json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})
        )

    def result_of(self, call: Json) -> None:
        """Reply to a call: its text is the session it ran in."""
        self.site.saw(f"<- the result of {name_of(call)}")
        self.reply(call["id"], {"content": [{"type": "text", "text": self.session}]})

    def end(self) -> None:
        """End cleanly."""
        self.open = False
        self.site.saw(f"<- the stream of session {self.session} ends")
        with suppress(OSError):
            self.writer.write(b"0\r\n\r\n")
        self.done.set()

    def reply_and_end(self, request_id: object) -> None:
        """Reply and end in one piece, so that the client reads both at once."""
        self.open = False
        result = {"content": [{"type": "text", "text": self.session}]}
        reply = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})
        piece = f"event: message\ndata: {reply}\n\n".encode()
        self.site.saw(f"<- the result, and the stream of session {self.session} ends")
        with suppress(OSError):
            self.writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece))
        self.done.set()

    def cut(self) -> None:
        """Break off in the middle of an event."""
        self.open = False
        self.site.saw(f"<- the stream of session {self.session} is cut")
        with suppress(OSError):
            self.writer.write(b'40\r\nevent: message\ndata: {"json')
        self.done.set()


def name_of(message: Json) -> str:
    """What a message is, in a word or two: `initialize`, `tools/call pay`."""
    method = str(message.get("method", "a response"))
    params = message.get("params")
    tool = params.get("name") if isinstance(params, dict) else None
    return f"{method} {tool}" if method == "tools/call" else method


class Site:
    """One server of the checks. This one makes no mistakes."""

    turns: ClassVar[list[list[str]]] = [["look"]]
    settings: ClassVar[Json] = {}

    def __init__(self, name: str, lab: Lab) -> None:
        self.name = name
        self.lab = lab
        self.port = 0
        self.streams: dict[str, Stream] = {}
        self.gets: list[float] = []
        self.posts: list[tuple[str, Json]] = []  # (session, message) in order
        self.log: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/sse"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=128)
        self.port = self._server.sockets[0].getsockname()[1]

    def go_away(self) -> None:
        """Like a server that is stopped: nothing listens, all connections break."""
        self.saw("<- the server is stopped: nothing listens")
        if self._server is not None:
            self._server.close()
        for stream in self.streams.values():
            stream.open = False
        for writer in self._writers:
            writer.transport.abort()

    def saw(self, line: str) -> None:
        self.log.append(line)
        self.lab.something_happened()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the checks are over
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target = head.split(" ", 2)[:2]
        if method == "GET" and target.partition("?")[0] != "/sse":
            # Another client, looking for a server that had this port before.
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if method == "GET":
            self.gets.append(time.monotonic())
            number = len(self.gets)
            self.saw(f"-> GET {target}")
            if self.refuses(number):
                self.saw("<- 503")
                writer.write(
                    b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            )
            stream = Stream(self, number, writer)
            self.streams[stream.session] = stream
            await self.opened(stream, number)
            await stream.done.wait()
            await writer.drain()
            return
        found = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(found[1])) if found else b""
        session = target.partition("session_id=")[2]
        try:
            message = read_json(body)
        except ValueError:
            message = {}
        message = message if isinstance(message, dict) else {}
        self.posts.append((session, message))
        self.saw(f"-> POST {target} {name_of(message)}")
        stream = self.streams.get(session)
        taken = stream is not None and stream.open and await self.takes(stream, message)
        status = "202 Accepted" if taken else "404 Not Found"
        if not taken:
            self.saw("<- 404: no such session")
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        if taken and stream is not None:
            await self._handle(stream, message)

    async def _handle(self, stream: Stream, message: Json) -> None:
        method, request_id = message.get("method"), message.get("id")
        if method == "initialize":
            stream.initialized = True
            stream.reply(
                request_id,
                {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": f"the checks' server {self.name}", "version": "1"},
                },
            )
        elif request_id is None:
            pass
        elif not stream.initialized:
            self.saw("<- error: the first request of a session is initialize")
            error = {"code": -32600, "message": "The first request of a session is initialize"}
            stream.event(
                "message", json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})
            )
        elif method == "tools/list":
            listed = [
                {"name": name, "inputSchema": {"type": "object"}, "annotations": annotations}
                for name, annotations in TOOLS.items()
            ]
            stream.reply(request_id, {"tools": listed})
        elif method == "tools/call":
            await self.called(stream, message)

    # --- What a bad server does differently ---

    def refuses(self, number: int) -> bool:
        """Whether the GET of this number, from 1, is answered with 503."""
        return False

    async def opened(self, stream: Stream, number: int) -> None:
        if number == 1:
            self.lab.go(self.name)
        stream.endpoint()

    async def takes(self, stream: Stream, message: Json) -> bool:
        """Whether a POST to an open session is taken, or answered with 404."""
        return True

    async def called(self, stream: Stream, call: Json) -> None:
        stream.result_of(call)
