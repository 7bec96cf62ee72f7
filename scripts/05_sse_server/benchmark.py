"""Compare sse_server.py with the official SDK's server: calls per second, memory per stream.

Both run at the same time, in separate processes. The same client speaks to each in turn over
raw sockets, in turns so short that whatever else the machine does slows both down.
Linux only: it reads a process's memory from /proc.

    uv run scripts/05_sse_server/benchmark.py
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOST = "127.0.0.1"
PROMISED_CALLS = 2.0  # at least this many times the SDK's calls per second
PROMISED_MEMORY = 0.4  # at most this fraction of the SDK's memory for an idle stream

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
        self.calls = 0

    async def open(self) -> None:
        """Open the stream and read where to POST."""
        self.stream, self.stream_writer = await asyncio.open_connection(HOST, self.port)
        request = f"GET /sse HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n\r\n"
        self.stream_writer.write(request.encode())
        await self.stream.readuntil(b"event: endpoint")
        await self.stream.readuntil(b"data: ")
        self.endpoint = (await self.stream.readline()).decode().strip()

    async def initialize(self) -> None:
        self.posts, self.posts_writer = await asyncio.open_connection(HOST, self.port)
        await self.post({"id": "first", "method": "initialize", "params": INITIALIZE})
        await self.stream.readuntil(b'"serverInfo"')
        await self.post({"method": "notifications/initialized"})

        # The bytes of a call are made once, because the client should cost little. Only the
        # id in them changes, and its length does not.
        self.call_bytes = self.request({"id": "%08d", "method": "tools/call", "params": ADD})

    def request(self, message: dict[str, object]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message})
        length = len(body.replace("%08d", "12345678"))
        head = (
            f"POST {self.endpoint} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        return head.encode() + body.encode()

    async def post(self, message: dict[str, object]) -> None:
        await self.send(self.request(message))

    async def send(self, request: bytes) -> None:
        self.posts_writer.write(request)
        answer = await self.posts.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202 "):
            raise RuntimeError(f"The server did not accept: {answer!r}")
        length = answer.partition(b"content-length: ")[2].partition(b"\r")[0]
        await self.posts.readexactly(int(length))

    async def call(self) -> None:
        """Call `add`, and wait for the sum on the stream."""
        self.calls += 1
        await self.send(self.call_bytes % self.calls)
        reply = await self.stream.readuntil(b'"isError":false')
        if b'"%08d"' % self.calls not in reply or b'"text":"5' not in reply:
            raise RuntimeError(f"Not the sum: {reply!r}")

    def close(self) -> None:
        self.stream_writer.close()
        self.posts_writer.close()


@dataclass
class Server:
    port: int
    process_id: int

    def memory(self) -> int:
        """The bytes of physical memory that the process holds."""
        status = Path(f"/proc/{self.process_id}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def processor_seconds(self) -> float:
        """The CPU time that the process has used so far."""
        stat = Path(f"/proc/{self.process_id}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def running(program: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(HERE / program), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
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
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait()


async def open_clients(server: Server, count: int) -> list[Client]:
    clients = [Client(server.port) for _ in range(count)]
    for client in clients:
        await client.open()
        await client.initialize()
    return clients


async def call_for(clients: list[Client], seconds: float) -> tuple[int, float]:
    """Each client calls, waits for its sum, and calls again. Returns calls and seconds."""
    calls = 0
    began = time.perf_counter()

    async def call_again_and_again(client: Client) -> None:
        nonlocal calls
        while time.perf_counter() - began < seconds:
            await client.call()
            calls += 1

    await asyncio.gather(*(call_again_and_again(client) for client in clients))
    return calls, time.perf_counter() - began


@dataclass
class Speed:
    calls_a_second: float  # the median of all rounds
    calls_a_processor_second: float  # the same on a busy machine and on a quiet one


async def compare_calls(
    servers: tuple[Server, Server], sessions: int, rounds: int, seconds: float
) -> list[Speed]:
    """Measure both servers in turn, after a first round to warm up."""
    clients = [await open_clients(server, sessions) for server in servers]
    for of_one in clients:
        await call_for(of_one, seconds)
    rates: list[list[float]] = [[], []]
    calls, processor = [0, 0], [0.0, 0.0]
    for _ in range(rounds):
        for one, server in enumerate(servers):
            before = server.processor_seconds()
            done, took = await call_for(clients[one], seconds)
            processor[one] += server.processor_seconds() - before
            calls[one] += done
            rates[one].append(done / took)
    for client in clients[0] + clients[1]:
        client.close()
    return [Speed(statistics.median(rates[i]), calls[i] / processor[i]) for i in (0, 1)]


async def bytes_a_stream(server: Server, streams: int) -> float:
    """What the process grows by for each session that is initialized and idle."""
    warm_up = await open_clients(server, 20)
    before = server.memory()
    clients = await open_clients(server, streams)
    grown = server.memory() - before
    for client in warm_up + clients:
        client.close()
    return grown / streams


def row(what: str, ours: float, sdk: float, promised: str) -> str:
    return f"{what:<30}{ours:>9,.0f}{sdk:>9,.0f}{ours / sdk:>8.2f}   {promised}"


async def compare(
    servers: tuple[Server, Server], rounds: int, seconds: float, streams: int
) -> bool:
    """Print the table and say whether both targets are met."""
    print(f"{'':<30}{'by hand':>9}{'SDK':>9}{'ratio':>8}     target")
    ours, sdk = [await bytes_a_stream(server, streams) for server in servers]
    print(row("bytes of memory, idle session", ours, sdk, f"at most {PROMISED_MEMORY}"))
    kept = ours <= PROMISED_MEMORY * sdk
    for sessions in (1, 50):
        by_hand, by_sdk = await compare_calls(servers, sessions, rounds, seconds)
        at = f"{sessions} session{'s' if sessions > 1 else ''}"
        for what, ours, sdk in (
            (f"calls per second, {at}", by_hand.calls_a_second, by_sdk.calls_a_second),
            (
                "  per second of CPU time",
                by_hand.calls_a_processor_second,
                by_sdk.calls_a_processor_second,
            ),
        ):
            print(row(what, ours, sdk, f"at least {PROMISED_CALLS}"), flush=True)
            kept = kept and ours >= PROMISED_CALLS * sdk
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two SSE servers.")
    parser.add_argument("--rounds", type=int, default=15, help="the median of these counts")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a round lasts")
    parser.add_argument("--streams", type=int, default=500, help="idle sessions for the memory")
    parser.add_argument(
        "--assert", action="store_true", dest="insist", help="fail if a target is missed"
    )
    arguments = parser.parse_args()
    with running("sse_server.py") as ours, running("sdk_server.py") as sdk:
        kept = asyncio.run(
            compare((ours, sdk), arguments.rounds, arguments.seconds, arguments.streams)
        )
    if arguments.insist and not kept:
        sys.exit("A target was missed.")


if __name__ == "__main__":
    main()
