"""An MCP client by hand: it starts a server as its child and prints every message.

    uv run scripts/04_stdio_server/stdio_client.py
    uv run scripts/04_stdio_server/stdio_client.py path/to/another_server.py

Messages are numbered in the order in which this client sent or read them.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# Oldest first. The newest goes out in `initialize`; the server answers with one of its own.
PROTOCOL_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
CLIENT_INFO = {"name": "stdio-client", "version": "1.0.0"}

# How long a server may take to exit after its stdin is closed, and again after SIGTERM.
LEAVE_SECONDS = 2.0

# Limits on what a server can make this client keep and show.
MAX_LINE = 4 * 1024 * 1024  # bytes; a longer line counts as several
MAX_LINES = 16  # waiting to be looked at; any more wait in the pipe
MAX_LOG = 1_000  # the last lines of its stderr
MAX_SHOWN = 4_000  # characters of one message


class ServerError(Exception):
    """The server did not answer, or answered with an error. The text says which."""


class StdioClient:
    """One server process and the three pipes to it.

    `timeout` is how many seconds the server has for each answer.
    """

    def __init__(self, command: list[str], timeout: float) -> None:
        self.timeout = timeout
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.lines: queue.Queue[bytes | None] = queue.Queue(MAX_LINES)
        self.log: deque[str] = deque(maxlen=MAX_LOG)
        self.messages = 0
        self.requests = 0
        # A pipe holds about 64 KiB, and a server that writes to a full one is blocked. So one
        # thread reads each of its outputs all the time, whatever else we are waiting for.
        self.readers = [
            threading.Thread(target=self.read_stdout, daemon=True),
            threading.Thread(target=self.read_stderr, daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def read_stdout(self) -> None:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline(MAX_LINE):
            self.lines.put(line)
        self.lines.put(None)

    def read_stderr(self) -> None:
        assert self.process.stderr is not None
        while line := self.process.stderr.readline(MAX_LINE):
            self.log.append(line.decode("utf-8", "replace").rstrip())

    def request(self, method: str, params: Json) -> Json:
        """Send a request and return its response. Raises ServerError when none comes."""
        self.requests += 1
        request_id = self.requests
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        deadline = time.monotonic() + self.timeout
        while True:
            message = self.receive(deadline, f"No answer to request {request_id}, {method}")
            # Other messages may come in between: notifications, or what the server asks.
            if message.get("id") == request_id and "method" not in message:
                return message

    def notify(self, method: str) -> None:
        """Send a notification. There is nothing to wait for."""
        self.send({"jsonrpc": "2.0", "method": method})

    def send(self, message: Json) -> None:
        assert self.process.stdin is not None
        line = json.dumps(message)
        self.show("client >", line)
        try:
            self.process.stdin.write(line.encode("ascii") + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ServerError("The server no longer reads its stdin.") from None

    def receive(self, deadline: float, missing: str) -> Json:
        """The next message from the server. Anything else is shown and skipped."""
        # Even a server that never stops talking has to answer before the deadline.
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self.lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise ServerError(f"{missing}: the server closed its stdout.")
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                self.show("server >", text)
                return message
            self.show("server !", text)
            print("            ^ this line is not a JSON-RPC message")
        raise ServerError(f"{missing}, within {self.timeout:g} s.")

    def show(self, who: str, text: str) -> None:
        self.messages += 1
        start = f"{self.messages:2} {who} "
        if len(text) > MAX_SHOWN:
            text = f"{text[:MAX_SHOWN]} … and {len(text) - MAX_SHOWN} more characters"
        lines = textwrap.wrap(text, 79, initial_indent=start, subsequent_indent=" " * 12)
        print("\n".join(lines or [start]), flush=True)

    def close(self) -> str:
        """End the server as the specification says, and say how it went.

        MCP 2025-11-25, "Lifecycle", "Shutdown": close its stdin and wait; if it keeps
        running, SIGTERM and wait; if it still does, SIGKILL.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has already exited
        after = "after its stdin was closed"
        try:
            self.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            after = "after SIGTERM"
            try:
                self.process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                after = "after SIGKILL"
        for reader in self.readers:
            # But not for ever: a child of the server may still hold the pipe open.
            reader.join(LEAVE_SECONDS)
        return f"The server exited {after}, exit status {self.process.returncode}."


def talk(client: StdioClient) -> None:
    """The handshake, and then everything that this lesson's server can do."""
    asked = PROTOCOL_VERSIONS[-1]
    response = client.request(
        "initialize",
        {"protocolVersion": asked, "capabilities": {}, "clientInfo": CLIENT_INFO},
    )
    result = response.get("result")
    if not isinstance(result, dict):
        raise ServerError("The answer to initialize has no result that is an object.")
    version = result.get("protocolVersion")
    if version not in PROTOCOL_VERSIONS:
        raise ServerError(f"No revision in common: the server answered {version}.")
    client.notify("notifications/initialized")
    client.request("tools/list", {})
    client.request("tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}})
    client.request("tools/call", {"name": "echo", "arguments": {"message": "two\nlines"}})
    client.request("server/discover", {})


def main() -> int:
    parser = argparse.ArgumentParser(description="Talk to an MCP server over stdio.")
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        help="the command that starts the server; this Python runs a .py file",
    )
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for an answer")
    arguments = parser.parse_args()
    if not 0 < arguments.timeout <= 86_400:
        parser.error("--timeout is a number of seconds, more than 0 and at most a day")
    command = arguments.command or [str(Path(__file__).with_name("stdio_server.py"))]
    if command[0].endswith(".py"):
        command = [sys.executable, *command]
    try:
        client = StdioClient(command, arguments.timeout)
    except OSError as error:
        print(f"Cannot start {command[0]}: {error.strerror}")
        return 1
    status = 0
    try:
        talk(client)
    except ServerError as error:
        print(error)
        status = 1
    except KeyboardInterrupt:
        status = 1
    finally:
        print(client.close())
    log = list(client.log)  # a child of the server may still add to it
    if log:
        print("On its stderr the server wrote:")
    for line in log:
        print(f"    {line}")
    return status


if __name__ == "__main__":
    # A shell that starts us with `&` may tell us to ignore Ctrl-C. We don't.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(1)  # pressed while the server was exiting
    except BrokenPipeError:
        # Whatever read our output has gone, as `head` does when it has enough. Write no more,
        # not even what Python itself would write on its way out.
        os._exit(1)
