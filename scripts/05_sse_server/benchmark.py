"""Compare sse_server.py with the official SDK's SSE server: calls a second, memory a stream.

Both run as programs of their own, one after the other in turns, and are spoken to by
the same client over raw sockets. Linux only: it reads a process's memory from /proc.

    uv run scripts/05_sse_server/benchmark.py
"""

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOST = "127.0.0.1"
PROMISED_CALLS = 2.0  # at least so many times the SDK's calls a second
PROMISED_MEMORY = 0.4  # at most this part of the SDK's memory for an idle stream

INITIALIZE = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
ADD = {"name": "add", "arguments": {"a": 2, "b": 3}}


class Client:
    """One session: a connection for the stream and one for the POSTs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.last_id = 0

    async def open(self) -> None:
        """Open the stream and read its endpoint event."""
        self.stream, self.stream_writer = await asyncio.open_connection(HOST, self.port)
        request = f"GET /sse HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n\r\n"
        self.stream_writer.write(request.encode())
        await self.stream.readuntil(b"event: endpoint")
        await self.stream.readuntil(b"data: ")
        endpoint = (await self.stream.readline()).decode().strip()
        self.head = (
            f"POST {endpoint} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n"
            "Content-Type: application/json\r\n"
        )

    async def initialize(self) -> None:
        self.posts, self.posts_writer = await asyncio.open_connection(HOST, self.port)
        await self.request("initialize", INITIALIZE)
        await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def post(self, message: dict[str, object]) -> None:
        body = json.dumps(message).encode()
        head = f"{self.head}Content-Length: {len(body)}\r\n\r\n"
        self.posts_writer.write(head.encode() + body)
        answer = await self.posts.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"The server did not accept: {answer!r}")
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await self.posts.readexactly(int(length))

    async def request(self, method: str, params: dict[str, object]) -> bytes:
        """Send a request, wait for its reply on the stream, return the reply's line."""
        self.last_id += 1
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        await self.post(message)
        await self.stream.readuntil(b"event: message")
        await self.stream.readuntil(b"data: ")
        return await self.stream.readline()

    async def call(self) -> None:
        reply = await self.request("tools/call", ADD)
        if b'"isError":false' not in reply or b'"5' not in reply:
            raise RuntimeError(f"Not the sum: {reply!r}")

    def close(self) -> None:
        self.stream_writer.close()
        if hasattr(self, "posts_writer"):
            self.posts_writer.close()


@dataclass
class Server:
    port: int
    process_id: int

    def memory(self) -> int:
        """The bytes of real memory that the process holds."""
        status = Path(f"/proc/{self.process_id}/status").read_text(encoding="utf-8")
        kilobytes = status.partition("VmRSS:")[2].split()[0]
        return int(kilobytes) * 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def running(program: str) -> AsyncIterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(HERE / program), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit(f"{program} did not start. Run it by itself to see why.")
                await asyncio.sleep(0.05)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait()


async def calls_a_second(server: Server, sessions: int, seconds: float) -> float:
    """Each session calls `add`, waits for the sum and calls again."""
    clients = [Client(server.port) for _ in range(sessions)]
    for client in clients:
        await client.open()
        await client.initialize()
    calls = 0
    end = time.perf_counter() + seconds

    async def call_on(client: Client) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            await client.call()
            calls += 1

    began = time.perf_counter()
    await asyncio.gather(*(call_on(client) for client in clients))
    took = time.perf_counter() - began
    for client in clients:
        client.close()
    return calls / took


async def bytes_a_stream(server: Server, streams: int) -> float:
    """What the process grows by for each stream that is open and idle."""
    warm_up = [Client(server.port) for _ in range(20)]
    for client in warm_up:
        await client.open()
        await client.initialize()
    before = server.memory()
    clients = [Client(server.port) for _ in range(streams)]
    for client in clients:
        await client.open()
    grown = server.memory() - before
    for client in warm_up + clients:
        client.close()
    return grown / streams


def row(what: str, ours: float, sdk: float, promised: str) -> str:
    return f"{what:<28}{ours:>10,.0f}{sdk:>12,.0f}{ours / sdk:>9.2f}   {promised}"


async def compare(rounds: int, seconds: float, streams: int) -> bool:
    """Measure both in turns, print the table, say whether the promise is kept."""
    async with running("sse_server.py") as ours, running("sdk_server.py") as sdk:
        print(f"{'':<28}{'by hand':>10}{'SDK':>12}{'ratio':>9}   promised", flush=True)
        kept = True
        for sessions in (1, 50):
            rates: dict[int, list[float]] = {ours.port: [], sdk.port: []}
            for _ in range(rounds):
                for server in (ours, sdk):
                    rate = await calls_a_second(server, sessions, seconds)
                    rates[server.port].append(rate)
            by_hand, by_sdk = (statistics.median(rates[one.port]) for one in (ours, sdk))
            what = f"calls a second, {sessions} session{'s' if sessions > 1 else ''}"
            print(row(what, by_hand, by_sdk, f"at least {PROMISED_CALLS}"), flush=True)
            kept = kept and by_hand >= PROMISED_CALLS * by_sdk
        by_hand, by_sdk = [await bytes_a_stream(server, streams) for server in (ours, sdk)]
        print(row("bytes for an idle stream", by_hand, by_sdk, f"at most {PROMISED_MEMORY}"))
        return kept and by_hand <= PROMISED_MEMORY * by_sdk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, the median counts")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a run lasts")
    parser.add_argument("--streams", type=int, default=500, help="idle streams for the memory")
    parser.add_argument(
        "--assert", action="store_true", dest="insist", help="fail if a promise is broken"
    )
    arguments = parser.parse_args()
    kept = asyncio.run(compare(arguments.rounds, arguments.seconds, arguments.streams))
    if arguments.insist and not kept:
        sys.exit("A ratio is not as promised.")


if __name__ == "__main__":
    main()
