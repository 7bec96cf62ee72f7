"""An evil server, and Alice's client that has been talked into connecting to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attacks.target import Refused

TOKEN = "alices-token-for-another-server"
SECONDS = 20.0  # for everything that a client does: it has to start first

Request = tuple[str, dict[str, str]]  # its first line; its headers, names in lower case
Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@asynccontextmanager
async def evil_server(handle: Handler) -> AsyncIterator[str]:
    """Yields its URL. `handle` answers a request as it likes; then the connection ends."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            fields = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in fields}
            await reader.readexactly(int(headers.get("content-length", "0")))
            await handle((first, headers), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()


class Victim:
    """Alice's client, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.left = asyncio.create_task(process.communicate())

    async def refusal(self, fell: asyncio.Event) -> str:
        """Wait until it has fallen for the attack: returns "". Else returns its last line.

        Raises Refused if it left without such a line, and TimeoutError if neither happens.
        """
        falls = asyncio.create_task(fell.wait())
        done, _ = await asyncio.wait(
            (self.left, falls), timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        falls.cancel()
        if fell.is_set():
            return ""
        if not done:
            raise TimeoutError
        printed = self.left.result()[0].decode("utf-8", "replace").strip()
        if self.process.returncode != 1 or not printed.startswith("Refused: "):
            raise Refused(f"the client left with {printed[-200:]!r}")
        return printed


@asynccontextmanager
async def client_of(url: str, client: Path) -> AsyncIterator[Victim]:
    """Start Alice's client. It is stopped at the end, if it is still running."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(client), f"{url}/sse", "--token", TOKEN),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    victim = Victim(process)
    try:
        yield victim
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await victim.left
