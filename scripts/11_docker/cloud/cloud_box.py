"""A cloud in a box: what a platform's published limits do to a stream, but faster.

    uv run scripts/05_sse_server/sse_server.py --allow-host 127.0.0.1:8111 --heartbeat 3600
    uv run scripts/11_docker/cloud/cloud_box.py --profile alb --target http://127.0.0.1:8000
    curl -N http://127.0.0.1:8111/sse

A reverse proxy that passes every byte on at once, and cuts where `profiles.json` says that the
platform does. With `--speed 60`, its minute takes a second. With `--target` given twice, there
are two instances, and each request goes to the next one. `Host` passes unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from cloud_limits import Clocks, Cut, Profile, load_profiles

CONNECTION = re.compile(rb"\r\nconnection:[^\r\n]*", re.IGNORECASE)
CONNECT_SECONDS = 5.0  # on this machine's clock


class CloudBox:
    """Relays requests to `targets` (host, port) in turn, within a platform's limits."""

    def __init__(
        self,
        profile: Profile,
        targets: list[tuple[str, int]],
        speed: float,
        report: Callable[[Cut], None] = lambda cut: print(cut, flush=True),
    ) -> None:
        self.profile = profile
        self.speed = speed
        self._targets = itertools.cycle(targets)
        self._report = report

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port. Raises OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=1_024)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is one request: the next may go to another instance."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            # Without the query: no line that is printed may show a session's id.
            request = f"{method} {path.partition('?')[0]}"
            head = CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"
            await self._relay(request, head, reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client left before it had sent its request, or the program ends
        except asyncio.LimitOverrunError:
            refuse(writer, 431, "The head of this request is too long")
        except ValueError:
            refuse(writer, 400, "This is not an HTTP request")
        finally:
            writer.close()

    async def _relay(
        self,
        request: str,
        head: bytes,
        from_client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
    ) -> None:
        host, port = next(self._targets)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                from_server, to_server = await asyncio.open_connection(host, port)
        except OSError:  # TimeoutError is one
            refuse(to_client, 502, f"Nothing answers at http://{host}:{port}")
            return
        to_server.write(head)
        clocks = Clocks()
        up = asyncio.create_task(pass_on(from_client, to_server, clocks.client_sent))
        down = asyncio.create_task(pass_on(from_server, to_client, clocks.server_sent))
        cut = asyncio.create_task(clocks.run_out(self.profile.limits, self.speed))
        try:
            # `up` ends when the client leaves. False: the server accepts no more of a body,
            # and its answer may still be coming.
            await asyncio.wait({up, down, cut}, return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not up.result():
                await asyncio.wait({down, cut}, return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                if not clocks.answered:
                    refuse(to_client, 502, f"http://{host}:{port} hung up without an answer")
            elif cut.done():
                limit, seconds = cut.result(), time.monotonic() - clocks.began
                self._report(Cut(request, limit, seconds, self.speed, clocks.answered))
                if clocks.answered:
                    end(to_client, limit.end)
                else:
                    refuse(to_client, limit.status, f"{self.profile.title} waited too long")
        finally:
            for task in (up, down, cut):
                task.cancel()
            to_server.transport.abort()


async def pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Callable[[], None]
) -> bool:
    """Pass bytes on as they come, until the sender ends. False: the receiver ended first."""
    while True:
        try:
            chunk = await reader.read(65_536)
        except OSError:
            return True
        if not chunk:
            return True
        sent()
        try:
            writer.write(chunk)
            await writer.drain()
        except OSError:
            return False


def refuse(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """Answer in the server's place."""
    head = f"HTTP/1.1 {status} {text}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += f"Content-Length: {len(text) + 1}\r\nConnection: close\r\n\r\n"
    writer.write(f"{head}{text}\n".encode())


def end(writer: asyncio.StreamWriter, how: str) -> None:
    """End an answer in the middle. Its last chunk never comes: a client can tell."""
    if how == "reset":
        # Zero seconds to send what is left: the kernel sends a reset at once.
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()  # `close` would wait for a client that reads nothing


async def run(box: CloudBox, host: str, port: int) -> None:
    """Relay until the program is stopped."""
    try:
        await box.start(host, port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"Can't listen on {host}:{port}: {why}. Choose another port: --port 8112")
    print(f"{box.profile.title} in a box on http://{host}:{port}, {box.speed:g} times faster")
    print(f"Listen through it: curl -N http://{host}:{port}/sse", flush=True)
    await asyncio.Event().wait()


def address(url: str) -> tuple[str, int]:
    """Host and port of an http URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(url)
    return parts.hostname, parts.port or 80


def main() -> None:
    profiles = load_profiles()
    parser = argparse.ArgumentParser(description="A cloud platform's limits, on this machine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8111)
    parser.add_argument("--profile", required=True, metavar="NAME", help=", ".join(profiles))
    parser.add_argument("--speed", type=float, default=60.0, help="how much faster; default 60")
    parser.add_argument("--target", action="append", required=True, metavar="URL")
    options = parser.parse_args()
    if options.profile not in profiles:
        parser.error(f"no profile {options.profile!r}. There are: {', '.join(profiles)}")
    if not 0 < options.speed < math.inf:
        parser.error("--speed must be a number above 0")
    try:
        targets = [address(url) for url in options.target]
    except ValueError:
        parser.error("--target must be a URL, such as http://127.0.0.1:8000")
    # SIGTERM ends it as Ctrl-C does. A program started with `&` in a script ignores Ctrl-C
    # unless it says otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    box = CloudBox(profiles[options.profile], targets, options.speed)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(box, options.host, options.port))


if __name__ == "__main__":
    main()
