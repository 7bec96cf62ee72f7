"""Lesson 10: what is broken breaks as it says, and what is fixed does not."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiohttp
import httpx2
import pytest
from prometheus_client import CollectorRegistry, Histogram

from tests.folder_modules import modules_in
from workshop.checks.mcp_session import request
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/10_observability"
MODULES = modules_in(FOLDER, ["serving", "quantile", "clients", "idle_proxy"])
SOON = 20.0  # seconds in which what must come has come, on a busy machine
CALL = request(7, "tools/call", {"name": "query"})

both = pytest.mark.parametrize("name", ["broken", "fixed"])


async def many(
    url: str, clients: int, messages: int, seconds: float = 0, at_once: int = 100
) -> list[float]:
    """Clients as those of clients.py: how long their messages took."""
    took: list[float] = []
    turns = asyncio.Semaphore(at_once)
    # Without this, 100 streams would take all the connections, and no message would get one.
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:

        async def one() -> None:
            async with turns:
                await MODULES["clients"].stay(http, url, messages, seconds, took)

        await asyncio.gather(*(one() for _ in range(clients)))
    return took


async def counted(url: str, histogram: str, least: int) -> str:
    """The server's metrics, once there are so many observations in the histogram."""
    async with asyncio.timeout(SOON), httpx2.AsyncClient() as http:
        while True:
            metrics = (await http.get(f"{url}/metrics")).text
            count = re.search(rf"^{histogram}_count ([\d.]+)$", metrics, re.MULTILINE)
            if count is not None and float(count[1]) >= least:
                return metrics
            await asyncio.sleep(0.05)


def run(program: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=environment(),
    )
    return done.returncode, done.stdout + done.stderr


# --- Latency ------------------------------------------------------------------------------


@pytest.mark.long
async def test_p95_says_ten_seconds_if_streams_are_requests() -> None:
    with (
        running(FOLDER / "latency_broken.py") as broken,
        running(FOLDER / "latency_fixed.py") as fixed,
    ):
        # Longer than the last limit of the buckets: all that is known of these is "more".
        both_took = await asyncio.gather(
            *(many(server.url, 10, 10, seconds=10.2) for server in (broken, fixed))
        )
        # A server hears a moment later that a client has left, and only then counts its stream.
        await counted(broken.url, "http_request_seconds", 110)
        metrics = await counted(fixed.url, "stream_seconds", 10)
        shown = {
            server: re.fullmatch(
                r"p50 ([\d.]+) ms, p95 ([\d.]+) ms\n", httpx2.get(f"{server.url}/p95").text
            )
            for server in (broken, fixed)
        }
    p50, p95 = map(float, (shown[broken] or pytest.fail("no p95")).groups())
    assert p95 == 10_000.0
    assert p50 < 1000
    p50, p95 = map(float, (shown[fixed] or pytest.fail("no p95")).groups())
    assert p50 <= p95 < 1000
    assert all(len(took) == 100 and sorted(took)[94] < 1 for took in both_took)
    # The streams are not lost: they have buckets of their own, which reach a day.
    assert 'stream_seconds_bucket{le="10.0"} 0.0\n' in metrics
    assert 'stream_seconds_bucket{le="60.0"} 10.0\n' in metrics
    assert 'stream_seconds_bucket{le="86400.0"} 10.0\n' in metrics


@pytest.mark.parametrize(
    ("values", "q", "wanted"),
    [
        ([], 0.5, 0.0),
        ([1.5] * 10, 0.5, 1.5),  # in the middle of (1, 2]
        ([1.1] * 10, 0.5, 1.5),  # so is this: where in the bucket, nobody knows
        ([0.5] * 90 + [3] * 10, 0.95, 3.0),
        ([0.5] * 90 + [3600] * 10, 0.95, 4.0),  # the last limit, whatever they were
        ([0.5] * 100, 1.0, 1.0),
    ],
)
def test_quantiles_are_estimated_as_prometheus_does(
    values: list[float], q: float, wanted: float
) -> None:
    histogram = Histogram("h", "h", buckets=(1, 2, 4), registry=CollectorRegistry())
    for value in values:
        histogram.observe(value)
    assert MODULES["quantile"].quantile(q, histogram) == pytest.approx(wanted)


# --- Labels -------------------------------------------------------------------------------


def series(url: str) -> list[str]:
    text = httpx2.get(f"{url}/metrics", timeout=SOON).text
    return [line for line in text.splitlines() if line.startswith("mcp_messages")]


@both
async def test_a_label_for_each_session(name: str) -> None:
    with running(FOLDER / f"labels_{name}.py") as server:
        assert series(server.url) == []
        await many(server.url, 1, 1)
        first = len(series(server.url))
        assert first == 2  # the count, and when it began
        await many(server.url, 200, 1)
        assert len(series(server.url)) == (first + 2 * 200 if name == "broken" else first)


@both
async def test_a_label_for_whatever_somebody_sends(name: str) -> None:
    with running(FOLDER / f"labels_{name}.py") as server:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{server.url}/sse") as stream,
        ):
            await stream.content.readuntil(b"data:")
            endpoint = server.url + (await stream.content.readline()).decode().strip()
            for method in ("ping", *(f"x{number}" for number in range(50))):
                async with http.post(endpoint, json=request(1, method)) as answer:
                    assert answer.status == 202
            for bad in (b"{", b"[]", b"\xff"):
                async with http.post(endpoint, data=bad) as answer:
                    assert answer.status == 400
        assert len(series(server.url)) == 2 * (51 if name == "broken" else 2)
        assert httpx2.post(f"{server.url}/message", json=CALL).status_code == 404


# --- Keep-alive ---------------------------------------------------------------------------


async def lasted(url: str, seconds: float) -> tuple[float, bytes]:
    """How long a stream was open, at most so long, and what came on it."""
    came = b""
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as stream:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in stream.content.iter_any():
                    came += chunk
        except (TimeoutError, aiohttp.ClientPayloadError):
            pass  # it is still open, or something cut it
    return time.monotonic() - began, came


@contextmanager
def silence_is_cut(server: Program, seconds: float) -> Iterator[str]:
    """The server's URL behind idle_proxy.py."""
    to = f"{HOST}:{server.port}"
    arguments = ("--to", to, "--silence", str(seconds))
    with running(FOLDER / "idle_proxy.py", *arguments) as proxy:
        yield proxy.url


async def test_timeout_keep_alive_neither_keeps_a_stream_alive_nor_ends_it() -> None:
    with running(FOLDER / "keep_alive_broken.py") as server:
        with silence_is_cut(server, 1.0) as behind:
            (direct, _), (cut, came) = await asyncio.gather(
                lasted(f"{server.url}/sse", 4.0), lasted(f"{behind}/sse", SOON)
            )
        assert direct >= 4.0  # timeout_keep_alive is 3: it did not end the stream
        assert 1.0 <= cut < 3.0  # and did not keep it
        assert b"heartbeat" not in came


async def test_what_timeout_keep_alive_is_for() -> None:
    """It closes a connection on which no request is going on."""
    with (
        running(FOLDER / "keep_alive_broken.py") as server,
        closing(socket.create_connection((HOST, server.port), timeout=SOON)) as connection,
    ):
        connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        began = time.monotonic()
        while connection.recv(65_536):
            pass
        assert time.monotonic() - began > 2.5


async def test_heartbeats_keep_a_stream_and_a_limit_of_its_own_ends_it() -> None:
    with (
        running(FOLDER / "keep_alive_fixed.py") as server,
        silence_is_cut(server, 3.0) as behind,
    ):
        seconds, came = await lasted(f"{behind}/sse", SOON)
    assert 5.0 <= seconds < SOON
    assert came.count(b": heartbeat") >= 4
    assert came.endswith(b"retry: 1000\r\n\r\n")


# --- Tracebacks ---------------------------------------------------------------------------


@both
def test_a_traceback_in_an_answer(name: str) -> None:
    with running(FOLDER / f"traceback_{name}.py") as server:
        answer = httpx2.post(f"{server.url}/message", json=CALL)
        reply = answer.json()
        assert (reply["id"], reply["error"]["code"]) == (7, -32603)
        leaked = [word for word in ("hunter2", ".py", "call_tool") if word in answer.text]
        if name == "broken":
            assert leaked == ["hunter2", ".py", "call_tool"]
            return
        assert leaked == []
        request = reply["error"]["data"]["request"]
        log = server.wait_for_output("hunter2", seconds=SOON)
        at = log.index(f"request={request}")
        assert "Traceback (most recent call last)" in log[at:]
        # Not the same id twice, and it stays up.
        again = httpx2.post(f"{server.url}/message", json=CALL).json()
        assert again["error"]["data"]["request"] != request
        assert httpx2.post(f"{server.url}/message", content=b"\xff").status_code == 400


@both
def test_the_values_of_variables_in_the_log(name: str) -> None:
    with running(FOLDER / f"locals_{name}.py") as server:
        reply = httpx2.post(f"{server.url}/message", json=CALL).json()
        assert (reply["id"], reply["error"]["message"]) == (7, "Internal error")
        log = server.wait_for_output('"event": "call failed"', seconds=SOON)
        log = server.wait_for_output(
            "\n", seconds=SOON, after=log.index('"event": "call failed"')
        )
        assert httpx2.post(f"{server.url}/message", content=b"[]").status_code == 400
    # Where it failed is in both.
    assert "the database does not answer" in log
    assert '"name": "log_in"' in log
    assert ("hunter2" in log) is (name == "broken")


# --- Tokens -------------------------------------------------------------------------------


def use(url: str) -> list[str]:
    """Open a stream and send a message on its session: the secrets in that."""
    token = "a-token-that-nobody-may-read"
    with httpx2.stream(
        "GET", f"{url}/sse", headers={"Authorization": f"Bearer {token}"}, timeout=SOON
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                endpoint = line.removeprefix("data:").strip()
                session = endpoint.partition("=")[2]
                assert httpx2.post(f"{url}{endpoint}", json=CALL).status_code == 202
                return [token, session]
    raise AssertionError("no endpoint")


@both
def test_secrets_in_the_log(name: str) -> None:
    with running(FOLDER / f"token_{name}.py") as server:
        secrets = use(server.url)
        log = server.wait_for_output('"POST /message', seconds=SOON)
        log = server.wait_for_output("202", seconds=SOON, after=log.index('"POST /message'))
    assert [secret for secret in secrets if secret in log] == (
        secrets if name == "broken" else []
    )
    if name == "fixed":
        assert re.search(r"stream opened: session=[0-9a-f]{12}\n", log)


def test_the_log_is_clean_however_the_server_is_started() -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "token_fixed:app", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    assert process.stdout
    with process.stdout:
        program = Program(process, port, Path("token_fixed.py"))
        try:
            program.wait_until_listening(seconds=60)
            secrets = use(program.url)
            program.wait_for_output('"POST /message?… HTTP/1.1" 202', seconds=SOON)
            program.wait_for_output("stream opened", seconds=SOON)
        finally:
            program.stop()
    assert [secret for secret in secrets if secret in program.output] == []


# --- The programs beside them -------------------------------------------------------------


def test_clients_say_what_they_saw() -> None:
    with running(FOLDER / "labels_fixed.py") as server:
        status, printed = run("clients.py", server.url, "--clients", "3", "--messages", "2")
    assert status == 0
    assert re.fullmatch(r"6 messages from 3 clients, longest [\d.]+ ms\n", printed)
    status, printed = run("clients.py", server.url)
    assert status == 1
    assert printed.startswith(f"{server.url}: ")
    assert "Traceback" not in printed


def test_the_proxy_says_what_is_wrong() -> None:
    status, printed = run("idle_proxy.py", "--to", "nowhere")
    assert status == 2
    assert "--to is HOST:PORT" in printed
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        status, printed = run("idle_proxy.py", "--port", str(port))
    assert status == 1
    assert printed == f"Port {port} is in use. Choose another: --port {port + 1}\n"
    with running(FOLDER / "idle_proxy.py", "--to", f"{HOST}:{free_port()}") as proxy:
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(proxy.url)
        proxy.wait_for_output("Connect call failed", seconds=SOON)
