"""Compare secure_server.py with itself without its checks: calls per second.

Without checks: no door in front, no token checked, nothing counted. The code that sends the
events, answers the messages and keeps the sessions is the same, and so is uvicorn's protocol.
Both run at the same time, in separate processes. The same client calls each in turn over raw
sockets. The turns are so short that other work on the machine slows both down.

    uv run scripts/09_security/benchmark.py
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
HOST = "127.0.0.1"
PROMISED = 0.8  # at least this fraction of the calls per second that it has without checks
SESSIONS = 10
TOKEN = secrets.token_urlsafe(32)
PROGRAMS = ("secure_server.py", "benchmark.py")  # the second one with --without-checks
NO_LIMIT = {
    "MCP_TOKENS": f"benchmark:{TOKEN}",
    "RATE_OPENS": "1000000/second",
    "RATE_MESSAGES": "1000000/second",
    "MAX_STREAMS": "1000",
}
INITIALIZE = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
ECHO = {"name": "echo", "arguments": {"message": "hello SSE"}}


class Client:
    """One session: a connection for the stream and one for the POSTs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.calls = 0

    async def open(self) -> None:
        self.stream, self.stream_writer = await asyncio.open_connection(HOST, self.port)
        self.posts, self.posts_writer = await asyncio.open_connection(HOST, self.port)
        self.stream_writer.write(self.head("GET /sse"))
        await self.stream.readuntil(b"event: endpoint\ndata: ")
        self.endpoint = (await self.stream.readline()).decode().strip()
        await self.send(
            self.message({"id": "first", "method": "initialize", "params": INITIALIZE})
        )
        await self.stream.readuntil(b'"serverInfo"')
        # The bytes of a call are built only once, because the client should cost little.
        self.call_bytes = self.message({"id": "%08d", "method": "tools/call", "params": ECHO})

    def head(self, what: str, *more: str) -> bytes:
        lines = (f"{what} HTTP/1.1", f"Host: {HOST}:{self.port}")
        return "\r\n".join((*lines, f"Authorization: Bearer {TOKEN}", *more, "", "")).encode()

    def message(self, message: dict[str, object]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message})
        length = len(body.replace("%08d", "12345678"))
        kind = "Content-Type: application/json"
        head = self.head(f"POST {self.endpoint}", kind, f"Content-Length: {length}")
        return head + body.encode()

    async def send(self, request: bytes) -> None:
        self.posts_writer.write(request)
        answer = await self.posts.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202 "):
            raise RuntimeError(f"The server did not accept: {answer!r}")

    async def call(self) -> None:
        self.calls += 1
        await self.send(self.call_bytes % self.calls)
        reply = await self.stream.readuntil(b'"isError":false')
        if b'"%08d"' % self.calls not in reply or b"hello SSE" not in reply:
            raise RuntimeError(f"Not the reply: {reply!r}")

    def close(self) -> None:
        self.stream_writer.close()
        self.posts_writer.close()


def serve_without_checks(port: int) -> None:
    """The same app, without what `put_in_front` puts there, and with nothing counted."""
    sys.argv = ["secure_server.py", "--port", str(port)]

    import secure_server
    from limiting import Limits
    from starlette.types import ASGIApp, Receive, Scope, Send

    class Anybody:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope["principal"] = "anybody"
            await self.app(scope, receive, send)

    class NoLimits(Limits):
        async def may_send(self, principal: str) -> bool:
            return True

    secure_server.put_in_front = lambda app, settings, principals, tickets: app.add_middleware(
        Anybody
    )
    secure_server.Limits = NoLimits
    app = secure_server.create_app(secure_server.Settings.from_environment())
    secure_server.serve(app, secure_server.Connection)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def running(program: str) -> Iterator[tuple[int, int]]:
    """Start a server. Yields its port and the id of its process."""
    port = free_port()
    option = "--port" if program == "secure_server.py" else "--without-checks"
    process = subprocess.Popen(
        [sys.executable, str(HERE / program), option, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **NO_LIMIT},
    )
    try:
        while True:
            try:
                socket.create_connection((HOST, port)).close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit(f"{program} did not start. Run it by itself to see why.")
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process_id: int) -> float:
    """The CPU time that the process has used so far. Linux only."""
    stat = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def call_for(clients: list[Client], seconds: float) -> float:
    """Each client calls, waits for its reply, and calls again. Returns calls per second."""
    calls = 0
    began = time.perf_counter()

    async def call_again_and_again(client: Client) -> None:
        nonlocal calls
        while time.perf_counter() - began < seconds:
            await client.call()
            calls += 1

    await asyncio.gather(*(call_again_and_again(client) for client in clients))
    return calls / (time.perf_counter() - began)


async def compare(servers: list[tuple[int, int]], rounds: int, seconds: float) -> bool:
    """Measure both in turn, after a first round to warm up. Prints the table."""
    clients = [[Client(port) for _ in range(SESSIONS)] for port, _ in servers]
    for of_one in clients:
        for client in of_one:
            await client.open()
        await call_for(of_one, seconds)
    rates: list[list[float]] = [[], []]
    processor = [0.0, 0.0]
    for _ in range(rounds):
        for one, (_, process_id) in enumerate(servers):
            before = processor_seconds(process_id)
            rates[one].append(await call_for(clients[one], seconds))
            processor[one] += processor_seconds(process_id) - before
    for client in clients[0] + clients[1]:
        client.close()
    print(f"{'':<28}{'with':>9}{'without':>9}{'ratio':>8}     target")
    kept = True
    for what, (secured, plain) in (
        ("calls per second", [statistics.median(each) for each in rates]),
        (
            "  per second of CPU time",
            [sum(rates[one]) * seconds / processor[one] for one in (0, 1)],
        ),
    ):
        ratio = secured / plain
        kept = kept and ratio >= PROMISED
        print(f"{what:<28}{secured:>9,.0f}{plain:>9,.0f}{ratio:>8.2f}   at least {PROMISED}")
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description="What do the checks cost?")
    parser.add_argument("--rounds", type=int, default=15, help="the median of these counts")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a round lasts")
    parser.add_argument(
        "--assert", action="store_true", dest="insist", help="fail if the target is missed"
    )
    parser.add_argument("--without-checks", type=int, metavar="PORT", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.without_checks is not None:
        serve_without_checks(chosen.without_checks)
        return
    with running(PROGRAMS[0]) as with_checks, running(PROGRAMS[1]) as without:
        kept = asyncio.run(compare([with_checks, without], chosen.rounds, chosen.seconds))
    if chosen.insist and not kept:
        sys.exit("The target was missed.")


if __name__ == "__main__":
    main()
