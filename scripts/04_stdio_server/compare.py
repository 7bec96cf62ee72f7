"""Two clients over stdio beside two clients over SSE: the same calls, in one run.

    uv run scripts/04_stdio_server/compare.py scripts/05_sse_server/sse_server.py
    uv run scripts/04_stdio_server/compare.py http://127.0.0.1:8000

Over stdio each client starts its own server. Over SSE both connect to the same one,
which is either started from the file that you name, or already runs at the URL.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

Json = dict[str, Any]

STDIO_SERVER = Path(__file__).with_name("stdio_server.py")
START_SECONDS = 20.0  # how long the SSE server may take until it listens
ANSWER_SECONDS = 5.0


class Gone(Exception):
    """The server is not there any more."""


class Connection(Protocol):
    """One client's way to a server, over either transport."""

    def exchange(self, message: Json) -> Json:
        """Send a request and return its response. Raises Gone."""
        ...

    def notify(self, message: Json) -> None:
        """Send a notification."""
        ...


class StdioConnection:
    """A server process for this client alone. A message is a line; the pipes carry no more."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(STDIO_SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def exchange(self, message: Json) -> Json:
        assert self.process.stdout is not None
        self.notify(message)
        line = self.process.stdout.readline()
        if not line:
            raise Gone
        return json.loads(line)

    def notify(self, message: Json) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone from None

    def close(self) -> str:
        """End the server. Returns the last thing it wrote on stderr."""
        # Closes stdin, which ends the server, and reads stderr to its end.
        _, log = self.process.communicate()
        return log.decode("utf-8", "replace").splitlines()[-1].partition(": ")[2]


class SseConnection:
    """A stream to listen on, and a second connection to send POSTs on."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url).netloc
        self.listening = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
        self.listening.request("GET", "/sse")
        self.stream = self.listening.getresponse()
        self.endpoint = self.next_data("endpoint")
        self.posting = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)

    def next_data(self, wanted: str) -> str:
        """The data of the next event of this type. It parses one-line data and no more."""
        kind = ""
        for line in self.stream:
            field, _, value = line.decode("utf-8").rstrip("\r\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data" and kind == wanted:
                return value
        raise Gone

    def exchange(self, message: Json) -> Json:
        self.notify(message)
        return json.loads(self.next_data("message"))

    def notify(self, message: Json) -> None:
        try:
            self.posting.request(
                "POST",
                self.endpoint,
                json.dumps(message),
                {"Content-Type": "application/json"},
            )
            self.posting.getresponse().read()
        except (OSError, http.client.HTTPException):
            raise Gone from None

    def close(self) -> None:
        self.posting.close()
        self.stream.close()
        self.listening.close()


def handshake(connection: Connection) -> None:
    params = {
        "protocolVersion": "2024-11-05",
        "capabilities": {},
        "clientInfo": {"name": "compare", "version": "1.0.0"},
    }
    connection.exchange(
        {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}
    )
    connection.notify({"jsonrpc": "2.0", "method": "notifications/initialized"})


def add(connection: Connection) -> float:
    """Call the tool `add` once. Returns the time it took, in milliseconds."""
    params = {"name": "add", "arguments": {"a": 2, "b": 3}}
    began = time.perf_counter()
    response = connection.exchange(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    )
    took = time.perf_counter() - began
    assert response["result"]["content"][0]["text"] == "5", response
    return took * 1000


def since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def still_answers(connection: Connection) -> bool:
    try:
        add(connection)
    except Gone:
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_sse_server(
    path: str, started: list[subprocess.Popen[bytes]]
) -> tuple[subprocess.Popen[bytes], str]:
    """Run the server at `path`. Returns it and its URL, as soon as it listens."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, path, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started.append(process)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, f"http://127.0.0.1:{port}"
        except ConnectionRefusedError:
            time.sleep(0.01)  # nothing tells us when it listens, so try again
    sys.exit(f"{path} did not start. Run it alone to see why.")


def open_connections(url: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    connection.request("GET", "/health")
    count = json.loads(connection.getresponse().read())["connections"]
    connection.close()
    return count


def row(what: str, stdio: str, sse: str) -> None:
    print(f"{what:<26}{stdio:<28}{sse}")


def compare(server: str, calls: int, started: list[subprocess.Popen[bytes]]) -> None:
    """Print the comparison. The processes that this starts are added to `started`."""
    sse_process = None
    began = time.perf_counter()
    url = server
    if not server.startswith("http"):
        sse_process, url = start_sse_server(server, started)
    first_sse = SseConnection(url)
    handshake(first_sse)
    sse_first_ready = since(began)
    began = time.perf_counter()
    second_sse = SseConnection(url)
    handshake(second_sse)
    sse_second_ready = since(began)

    began = time.perf_counter()
    first_stdio = StdioConnection()
    started.append(first_stdio.process)
    handshake(first_stdio)
    stdio_first_ready = since(began)
    began = time.perf_counter()
    second_stdio = StdioConnection()
    started.append(second_stdio.process)
    handshake(second_stdio)
    stdio_second_ready = since(began)

    # Once each, and now: a server closes a connection that has been idle for seconds.
    add(second_stdio)
    add(second_sse)
    # In turn, so that whatever else this machine does slows down both alike.
    stdio_times: list[float] = []
    sse_times: list[float] = []
    for _ in range(calls):
        stdio_times.append(add(first_stdio))
        sse_times.append(add(first_sse))

    row("", "stdio", "SSE")
    processes = [first_stdio.process.pid, second_stdio.process.pid]
    row(
        "server processes",
        "2: " + ", ".join(map(str, processes)),
        f"1: {sse_process.pid}" if sse_process else "1",
    )
    seen = open_connections(url)
    row("clients a server knows", "1", str(seen))
    row(
        "first client ready",
        f"{stdio_first_ready:.1f} ms",
        f"{sse_first_ready:.1f} ms" + ("" if sse_process else ", already running"),
    )
    row("second client ready", f"{stdio_second_ready:.1f} ms", f"{sse_second_ready:.1f} ms")
    middle_stdio, middle_sse = statistics.median(stdio_times), statistics.median(sse_times)
    row("a call, median", f"{middle_stdio:.3f} ms", f"{middle_sse:.3f} ms")
    row("", "", f"{middle_sse / middle_stdio:.1f} times as long")

    # Now one server dies.
    first_stdio.process.kill()
    first_stdio.process.wait()
    if sse_process is not None:
        sse_process.kill()
        sse_process.wait()
    stdio_left = sum(map(still_answers, (first_stdio, second_stdio)))
    sse_left = sum(map(still_answers, (first_sse, second_sse)))
    row(
        "a server dies, answered",
        f"{stdio_left} of 2 clients",
        f"{sse_left} of 2 clients" if sse_process else "not tried: not our process",
    )
    first_sse.close()
    second_sse.close()
    print(f"The second stdio server, on its stderr: {second_stdio.close()}")


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """On Ctrl-C or SIGTERM: exit, and end what we started."""
    raise SystemExit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare stdio with HTTP+SSE.")
    parser.add_argument("server", help="lesson 05's sse_server.py, or the URL where it runs")
    parser.add_argument("--calls", type=int, default=500, help="how many calls are timed")
    arguments = parser.parse_args()
    if arguments.calls < 1:
        parser.error("--calls is at least 1")
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    started: list[subprocess.Popen[bytes]] = []
    try:
        compare(arguments.server, arguments.calls, started)
    except ConnectionRefusedError:
        sys.exit(f"Nothing listens at {arguments.server}. Is the server running?")
    except BrokenPipeError:
        # Whatever read our output has gone. Python must not try to write once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Gone, OSError, http.client.HTTPException, KeyError, ValueError):
        sys.exit(f"{arguments.server} does not answer as lesson 05's server does.")
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
