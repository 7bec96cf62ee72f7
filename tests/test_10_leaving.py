"""Lesson 10: a server leaves with streams open and calls going on, and nobody loses a reply."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ptyprocess
import pytest

from tests.folder_modules import edited_copy
from tests.observed_parts import FOLDER, OBSERVED, endpoint_of
from tests.turns import takes_less_than
from workshop.checks.mcp_session import handshake, request
from workshop.raw_client import Server
from workshop.raw_stream import Stream
from workshop.running import HOST, Program, environment, free_port, port_is_free, running

pytestmark = pytest.mark.usefixtures("warm")

STREAMS = 1_000
SPREAD_SECONDS = 3.0


# --- A rolling restart under load ---------------------------------------------------------


@dataclass
class Seen:
    """What all clients together saw."""

    opened: list[float] = field(default_factory=list)  # when a stream began
    refused: Counter[str] = field(default_factory=Counter)  # GETs
    posts: Counter[int] = field(default_factory=Counter)  # their statuses
    promised: set[tuple[str, int]] = field(default_factory=set)  # what got 202
    replied: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)  # replies that are errors
    dropped_posts: int = 0  # the connection ended without an answer


class Client:
    """A client with one stream. When that ends, it opens another one after the time told."""

    def __init__(self, port: int, seen: Seen) -> None:
        self.port = port
        self.seen = seen
        self.retry = 1.0
        self.streams = 0
        self.endpoint = ""
        self.is_open = asyncio.Event()
        self.retries: list[float] = []
        self.ids = itertools.count(1)
        self.replies: dict[int, asyncio.Future[Any]] = {}

    async def live(self) -> None:
        while True:
            await self.one_stream()
            self.is_open.clear()
            self.retries.append(self.retry)
            for reply in self.replies.values():
                reply.cancel()
            await asyncio.sleep(self.retry)

    async def one_stream(self) -> None:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError as error:
            self.seen.refused[type(error).__name__] += 1
            return
        writer.write(f"GET /sse HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            self.seen.refused[status.decode()] += 1
            writer.close()
            return
        self.seen.opened.append(time.monotonic())
        self.streams += 1
        while (line := await reader.readline()) not in (b"", b"0\r\n"):
            name, _, value = line.decode().strip().partition(": ")
            if name == "retry":
                self.retry = int(value) / 1000
            elif value.startswith("/message?"):
                self.endpoint = value
                self.is_open.set()
            elif value.startswith('{"jsonrpc"'):
                self.take(json.loads(value))
        writer.close()

    def take(self, message: dict[str, Any]) -> None:
        self.seen.replied[self.endpoint, message["id"]] += 1
        if "error" in message:
            self.seen.errors[message["error"]["code"]] += 1
        if message["id"] in self.replies:
            self.replies[message["id"]].set_result(message)

    async def request(self, method: str, params: dict[str, Any]) -> None:
        """Send a request on a connection of its own, and wait for its reply or the end."""
        await self.is_open.wait()
        endpoint, number = self.endpoint, next(self.ids)
        reply = self.replies[number] = asyncio.get_running_loop().create_future()
        body = json.dumps(request(number, method, params))
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
            writer.write(
                f"POST {endpoint} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                "".encode()
            )
            answer = await reader.read()
            writer.close()
            if not answer:
                self.seen.dropped_posts += 1
                return
            status = int(answer.split()[1])
            self.seen.posts[status] += 1
            if status == 202:
                self.seen.promised.add((endpoint, number))
                await asyncio.wait((reply,))
            elif endpoint == self.endpoint:
                # 404 or 503: this session will end. Wait for the next one.
                self.is_open.clear()
        finally:
            del self.replies[number]

    async def call_again_and_again(self, tool: str, arguments: dict[str, Any]) -> None:
        initialized = ""
        while True:
            await self.is_open.wait()
            if self.endpoint != initialized:
                initialized = self.endpoint
                await self.request("initialize", handshake())
            await self.request("tools/call", {"name": tool, "arguments": arguments})


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.03)


async def restarted_under_load(program: Program) -> tuple[Seen, list[Client], int]:
    """Open all streams, call on some, restart, and stay until everyone is back."""
    seen = Seen()
    clients = [Client(program.port, seen) for _ in range(STREAMS)]
    tasks: list[asyncio.Task[None]] = []
    for first in range(0, STREAMS, 100):
        some = clients[first : first + 100]
        tasks += [asyncio.create_task(client.live()) for client in some]
        await asyncio.gather(*(client.is_open.wait() for client in some))
    for client in clients[:6]:
        tasks.append(asyncio.create_task(client.call_again_and_again("add", {"a": 1, "b": 2})))
    for client in clients[6:16]:
        # So long that it is running whenever the restart comes.
        long = client.call_again_and_again("wait", {"seconds": 0.7})
        tasks.append(asyncio.create_task(long))
    await until(lambda: seen.posts[202] >= 100)
    before = len(seen.opened)
    program.process.send_signal(signal.SIGHUP)
    await until(lambda: all(client.streams == 2 for client in clients))
    enough = seen.posts[202] + 50  # calls go on in the new sessions
    await until(lambda: seen.posts[202] >= enough)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seen, clients, before


@dataclass
class Restart:
    seen: Seen
    clients: list[Client]
    before: int
    output: str
    status: int


def restarted() -> Restart:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 4 * STREAMS:
        pytest.skip(f"A process may open {most} files here, and this needs {4 * STREAMS}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * STREAMS, most))
    settings = {"SPREAD_SECONDS": f"{SPREAD_SECONDS:g}"}
    with running(FOLDER / "rolling.py", env=settings, seconds=60) as program:
        seen, clients, before = asyncio.run(
            asyncio.wait_for(restarted_under_load(program), 120)
        )
        program.wait_for_output("has left", seconds=10)
        program.stop(signal.SIGINT)
        status = program.process.returncode
    return Restart(seen, clients, before, program.output, status)


@pytest.mark.long
def test_a_rolling_restart_with_a_thousand_streams() -> None:
    """One test: on another process of pytest, each would do all of it again."""
    restart = restarted()
    each_202_has_its_reply(restart)
    every_client_comes_back_and_none_is_refused(restart)
    they_come_back_spread_over_the_time_told(restart)
    nothing_broke(restart)


def each_202_has_its_reply(restart: Restart) -> None:
    seen = restart.seen
    # What was cut off by the end of the test, on streams that were then open, does not count.
    last = {client.endpoint for client in restart.clients}
    promised = {call for call in seen.promised if call[0] not in last}
    assert len(promised) > 50
    assert promised <= set(seen.replied)
    assert set(seen.replied.values()) == {1}
    assert not seen.errors  # an old worker has time for calls: none was cut off
    assert seen.dropped_posts == 0
    # The others were refused, and not forgotten.
    assert set(seen.posts) <= {202, 404, 503}


def every_client_comes_back_and_none_is_refused(restart: Restart) -> None:
    assert restart.before == STREAMS
    assert {client.streams for client in restart.clients} == {2}
    assert not restart.seen.refused


def they_come_back_spread_over_the_time_told(restart: Restart) -> None:
    told = sorted(client.retries[0] for client in restart.clients)
    assert told[-1] - told[0] == pytest.approx(SPREAD_SECONDS, abs=0.01)
    back = sorted(restart.seen.opened[STREAMS:])
    assert back[-1] - back[0] >= 0.9 * SPREAD_SECONDS
    window = (back[-1] - back[0]) / 10
    most = max(sum(began <= at <= began + window for at in back) for began in back)
    assert most < 0.3 * STREAMS


def nothing_broke(restart: Restart) -> None:
    lines = restart.output.splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    said = [line for line in lines if not line.startswith("{")]
    assert "Traceback" not in restart.output
    assert not [line for line in logged if line["level"] in ("error", "critical")]
    closed = [line for line in logged if line["event"] == "stream closed"]
    workers = list(dict.fromkeys(line["worker"] for line in closed))
    assert len(workers) == 2
    old = [line for line in closed if line["worker"] == workers[0]]
    assert Counter(line["ended_by"] for line in old) == {"server left": STREAMS}
    assert [re.sub(r"\d+(\.\d+)?", "N", line) for line in said] == [
        "worker N serves",
        "Serving MCP on http://N.N:N/sse. In another terminal:",
        "  curl -N http://N.N:N/sse",
        "For a rolling restart press Enter here, or type: kill -HUP N",
        "worker N will be replaced",
        "worker N serves",
        "worker N has left after N s",
    ]
    assert restart.status == 0


# --- What the one who restarts sees -------------------------------------------------------


class Terminal:
    """A program in a terminal of its own, and what it wrote."""

    def __init__(self, *command: str, env: dict[str, str]) -> None:
        self.process: Any = ptyprocess.PtyProcess.spawn(
            list(command), env=environment(env), dimensions=(24, 120)
        )
        self.output = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until this is there, and go on behind it the next time."""
        while not (found := re.search(pattern, self.output)):
            self.output += self.process.read().decode()
        self.output = self.output[found.end() :]
        return found


@contextmanager
def in_terminal(folder: Path) -> Iterator[Terminal]:
    program = str(folder / "rolling.py")
    terminal = Terminal(
        sys.executable, program, "--port", str(free_port()), env={"SPREAD_SECONDS": "0.1"}
    )
    try:
        yield terminal
    finally:
        terminal.process.close(force=True)


def test_enter_a_worker_that_does_not_start_one_that_dies_and_the_end(tmp_path: Path) -> None:
    folder = edited_copy(FOLDER, [], tmp_path)
    with in_terminal(folder) as terminal:
        first = terminal.wait_for(r"worker (\d+) serves")[1]
        terminal.wait_for("press Enter here")
        terminal.process.write(b"\n")
        terminal.wait_for(f"worker {first} will be replaced")
        # The new worker may have read its code already: this is a wish for one more.
        terminal.process.write(b"\n")
        between = terminal.wait_for(r"worker (\d+) serves")[1]
        terminal.wait_for(f"worker {between} will be replaced")
        second = terminal.wait_for(r"worker (\d+) serves")[1]
        terminal.wait_for(rf"worker {between} has left after \d")

        tools = folder / "tools.py"
        right = tools.read_text(encoding="utf-8")
        tools.write_text(f"{right}\nan error of the next release\n", encoding="utf-8")
        terminal.process.write(b"\n")
        terminal.wait_for("SyntaxError")
        terminal.wait_for(r"worker \d+ did not start: see above")
        terminal.wait_for(f"worker {second} goes on serving")

        tools.write_text(right, encoding="utf-8")
        os.kill(int(second), signal.SIGKILL)
        terminal.wait_for(f"worker {second} died with status -9\r\nanother one in 0.5 s")
        third = terminal.wait_for(r"worker (\d+) serves")[1]
        assert len({first, second, third}) == 3

        terminal.process.write(b"\x03")
        terminal.process.wait()
        assert terminal.process.exitstatus == 0


def test_ctrl_c_ends_all_in_two_seconds() -> None:
    def leave() -> float:
        with running(FOLDER / "rolling.py", seconds=60) as program:
            rolling = Server(program.url, program)
            with rolling.open("/sse") as stream:
                wait_call(rolling, endpoint_of(stream), 60)
                took = program.stop(signal.SIGINT)
                assert stream.wait_closed()
                assert replies(stream)[-1]["error"]["code"] == -32603
            assert program.process.returncode == 0
        return took

    assert takes_less_than(2, leave)


def test_it_works_without_a_standard_input() -> None:
    port = free_port()
    closed = f'exec "{sys.executable}" "{FOLDER / "rolling.py"}" --port {port} <&-'
    process = subprocess.Popen(
        ["/bin/sh", "-c", closed],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    program = Program(process, port)
    try:
        program.wait_for_output("For a rolling restart", seconds=20)
    finally:
        program.stop()
    assert process.returncode == 0
    assert "Traceback" not in program.output


def test_workers_leave_when_the_parent_is_killed() -> None:
    with running(FOLDER / "rolling.py", seconds=60) as program:
        program.wait_for_output("serves")
        program.process.kill()
        program.process.wait()
        deadline = time.monotonic() + 20
        while not port_is_free(program.port):
            assert time.monotonic() < deadline
            time.sleep(0.05)


# --- One server leaves --------------------------------------------------------------------


@contextmanager
def server(**env: str) -> Iterator[Server]:
    with running(OBSERVED, env=env) as program:
        yield Server(program.url, program)


def send(server: Server, endpoint: str, number: int, method: str, params: Any) -> int:
    return server.post_json(endpoint, request(number, method, params)).status


def wait_call(server: Server, endpoint: str, seconds: float) -> None:
    assert send(server, endpoint, 1, "initialize", handshake()) == 202
    call = {"name": "wait", "arguments": {"seconds": seconds}}
    assert send(server, endpoint, 2, "tools/call", call) == 202


def replies(stream: Stream) -> list[Any]:
    return [json.loads(event.data) for event in stream.events if event.type == "message"]


def program_of(server: Server) -> Program:
    assert server.program is not None
    return server.program


def test_readiness_goes_first_then_nobody_new_comes_in_then_it_leaves() -> None:
    with server(NOTICE_SECONDS="60", FINISH_SECONDS="60") as observed:
        process = program_of(observed).process
        assert observed.request("GET", "/ready").status == 200
        with observed.open("/sse") as stream, observed.open("/sse") as idle:
            endpoint = endpoint_of(stream)
            wait_call(observed, endpoint, 30)
            endpoint_of(idle)
            process.send_signal(signal.SIGTERM)
            program_of(observed).wait_for_output('"leaving"')

            # Notice: a load balancer sees it, and who comes meanwhile is served.
            answer = observed.request("GET", "/ready")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert observed.request("GET", "/health").status == 200
            with observed.open("/sse") as late:
                late_endpoint = endpoint_of(late)
                assert send(observed, late_endpoint, 1, "initialize", handshake()) == 202
                assert late.wait(lambda stream: len(replies(stream)) == 1)
                assert process.poll() is None

    # The second signal ends the notice as well as the wait for calls: error replies then.
    assert process.returncode == 0


def test_while_it_waits_for_calls_it_refuses_and_says_when_to_come_back() -> None:
    with server(FINISH_SECONDS="60", SPREAD_SECONDS="7") as observed:
        process = program_of(observed).process
        with observed.open("/sse") as stream, observed.open("/sse") as idle:
            endpoint = endpoint_of(stream)
            endpoint_of(idle)
            wait_call(observed, endpoint, 30)
            process.send_signal(signal.SIGTERM)
            assert idle.wait_closed()  # it does not wait for the call of another client
            for path in ("/sse", "/ready"):
                answer = observed.request("GET", path)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert answer.headers["Connection"] == "close"
            assert observed.post_json(endpoint, request(9, "ping")).status == 503
            assert observed.request("GET", "/health").status == 200
            assert process.poll() is None

            # A second Ctrl-C: it waits no longer, and the call is answered.
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert stream.wait_closed()
            process.wait(5)
            took = time.monotonic() - began
        output = program_of(observed).output
    assert took < 2
    assert process.returncode == 0
    cut = replies(stream)[-1]
    assert (cut["id"], cut["error"]["code"]) == (2, -32603)
    assert cut["error"]["message"] == "The server is leaving: call again"
    line = next(line for line in output.splitlines() if '"call cut off"' in line)
    assert json.loads(line)["request"] == cut["error"]["data"]["request"]
    waits = [int(told) for told in re.findall(rb"retry: (\d+)\n\n", stream.raw + idle.raw)]
    assert sorted(waits) == [500, 500, 500, 7500]  # at the beginning, and at the end
    assert "Traceback" not in output


def test_calls_that_are_short_enough_finish() -> None:
    with server(FINISH_SECONDS="20") as observed, observed.open("/sse") as stream:
        wait_call(observed, endpoint_of(stream), 1)
        program_of(observed).process.send_signal(signal.SIGTERM)
        assert stream.wait_closed(seconds=20)
        program_of(observed).process.wait(5)
        assert program_of(observed).process.returncode == 0
        assert replies(stream)[-1]["result"]["isError"] is False


def test_it_leaves_in_two_seconds_whatever_goes_on(tmp_path: Path) -> None:
    """With a call that takes a minute, and with a collector that does not answer."""

    def leave() -> float:
        dead = f"http://{HOST}:{free_port()}"
        with server(OTEL_EXPORTER_OTLP_ENDPOINT=dead) as observed:
            with observed.open("/sse") as stream:
                wait_call(observed, endpoint_of(stream), 60)
                assert stream.wait(lambda stream: len(replies(stream)) == 1)
                took = program_of(observed).stop(signal.SIGINT)
                assert stream.wait_closed()
                assert replies(stream)[-1]["error"]["code"] == -32603
            assert program_of(observed).process.returncode == 0
            assert "Traceback" not in program_of(observed).output
        return took

    assert takes_less_than(2, leave)


def test_the_calls_that_were_cut_off_are_counted(tmp_path: Path) -> None:
    """Nobody can ask for metrics any more: a line in the copy prints them at the end."""
    edit = (
        "observed_server.py",
        "        tracing.finish(spans)\n",
        "        tracing.finish(spans)\n        print(generate_latest().decode())\n",
    )
    copy = edited_copy(FOLDER, [edit], tmp_path)
    with running(copy / "observed_server.py", env={"FINISH_SECONDS": "0.1"}) as program:
        observed = Server(program.url, program)
        with observed.open("/sse") as stream:
            wait_call(observed, endpoint_of(stream), 60)
            program.stop()
    for line in (
        'mcp_tool_seconds_count{outcome="cut_off",tool="wait"} 1.0',
        'mcp_streams_closed_total{outcome="server left"} 1.0',
        "mcp_streams_active 0.0",
        "mcp_events_waiting 0.0",
        'mcp_messages_total{way="in"} 2.0',
        'mcp_messages_total{way="out"} 2.0',
    ):
        assert line in program.output, line
