"""A connection by hand: it sends what no HTTP library would send, and as slowly as it likes."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from attacks.target import SOON, Refused, Server

MIB = 1024 * 1024
BYTE_SECONDS = 0.1  # from one byte to the next, for what comes slowly


class Wire:
    """A connection to a server. `answer` reads the answer to a whole request."""

    def __init__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError if the server has closed the connection."""
        self.writer.write(data)
        await self.writer.drain()

    def head(self, method: str, path: str, *lines: str, token: str = "") -> bytes:
        """The head of a request, without the empty line that ends it."""
        host = urlsplit(self.server.url).netloc
        bearer = [f"Authorization: Bearer {token}"] if token else []
        return "\r\n".join(
            [f"{method} {path} HTTP/1.1", f"Host: {host}", *bearer, *lines, ""]
        ).encode()

    async def answer(self) -> tuple[int, dict[str, str]]:
        """Status and headers, names in lower case. A body is read if its length is given."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(status.split()[1]), headers

    def message(self, session_id: str, message: object, token: str) -> bytes:
        """A whole POST."""
        body = json.dumps(message).encode()
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        path = f"{self.server.post_path}?session_id={quote(session_id)}"
        return self.head("POST", path, *lines, token=token) + b"\r\n" + body

    async def post(
        self, session_id: str, message: object, token: str
    ) -> tuple[int, dict[str, str]]:
        await self.send(self.message(session_id, message, token))
        return await self.answer()

    async def open_stream(self, token: str) -> str:
        """GET /sse. Returns the session's id, and reads no further. Raises Refused."""
        await self.send(
            self.head("GET", urlsplit(f"{self.server.url}/sse").path, token=token) + b"\r\n"
        )
        status, _ = await self.answer()
        if status != 200:
            raise Refused(f"GET /sse: {status}")
        endpoint = await self.reader.readuntil(b"session_id=")
        endpoint = await self.reader.readuntil(b"\n")
        found = re.match(rb"[\w-]+", endpoint)
        assert found
        return found[0].decode()

    async def trickle(self, seconds: float, piece: bytes = b"a") -> str | None:
        """Send a piece now and then. Returns the server's answer, or None if it still waits.

        If it closed the connection without an answer, the result is "closed".
        """
        line = asyncio.create_task(self.reader.readline())
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while not line.done():
                    await self.send(piece)
                    await asyncio.wait((line,), timeout=BYTE_SECONDS)
        if not line.done():
            line.cancel()
            return None
        with suppress(ConnectionError):
            return line.result().decode("latin-1").strip() or "closed"
        return "closed"

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(MIB):
                pass


@asynccontextmanager
async def connected(server: Server, receive_buffer: int = 0) -> AsyncIterator[Wire]:
    """A new connection. With a small `receive_buffer`, little is buffered unread."""
    url = urlsplit(server.url)
    assert url.hostname
    own = socket.socket()
    own.setblocking(False)
    if receive_buffer:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        async with asyncio.timeout(SOON):
            port = url.port or {"http": 80, "https": 443}[url.scheme]
            await asyncio.get_running_loop().sock_connect(own, (url.hostname, port))
            https = url.scheme == "https"
            reader, writer = await asyncio.open_connection(
                sock=own, ssl=https or None, server_hostname=url.hostname if https else None
            )
    except BaseException:
        own.close()
        raise
    try:
        yield Wire(server, reader, writer)
    finally:
        writer.transport.abort()


def memory(pid: int | None) -> int | None:
    """The bytes that a process has in memory, if the system reports it."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    import resource  # not on Windows, and neither is /proc

    return int(pages) * resource.getpagesize()


async def grown(pid: int | None, before: int | None, expected: int) -> int:
    """How many MiB its memory has grown. Waits a moment for the expected growth."""
    if before is None:
        return 0
    now = before
    with suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            while True:
                now = memory(pid) or before
                if now - before >= expected:
                    break
                await asyncio.sleep(0.02)  # nothing reports when a process has grown
    return (now - before) // MIB
