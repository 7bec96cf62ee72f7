"""What lesson 05's text says and its programs do not show by themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client, ClientSession
from mcp.client.sse import sse_client
from mcp_types.version import LATEST_HANDSHAKE_VERSION
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from tests.test_05_server import (
    LIMIT,
    Stream,
    call,
    connections,
    load_sse_server,
    message_of,
    post,
    wait_for,
)
from workshop.course import ROOT
from workshop.running import Program, environment, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/05_sse_server"
SERVER = FOLDER / "sse_server.py"


def changed(folder: Path, change: str) -> Path:
    """A program that changes something in sse_server.py and runs it."""
    program = folder / "changed.py"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n"
        f"import sse_server\n{change}\nsse_server.serve(sse_server.create_app)\n",
        encoding="utf-8",
    )
    return program


# --- Which of the two is MCP --------------------------------------------------------------


def sdk_client(server: Program) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / "sdk_client.py"), f"{server.url}/sse"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )


async def test_no_sdk_client_connects_to_the_simplified_form_alone() -> None:
    with running(FOLDER / "simplified_broken.py") as server:
        reply = post(server, call("echo", {"message": "hello SSE"})).json()
        assert reply["result"]["content"][0]["text"] == "hello SSE"
        with anyio.move_on_after(2) as waited:
            async with (
                sse_client(f"{server.url}/sse") as (read, write),
                ClientSession(read, write),
            ):
                pass
        assert waited.cancelled_caught
        done = sdk_client(server)
        assert done.returncode == 1
        assert "Gave up after 3 s: no event" in done.stderr


def test_an_sdk_client_connects_to_ours() -> None:
    with running(SERVER) as server:
        done = sdk_client(server)
    assert done.returncode == 0
    assert "echo says: hello SSE" in done.stdout


# --- Errors, initialize -------------------------------------------------------------------


async def test_a_server_silent_about_server_discover_makes_a_client_wait(
    tmp_path: Path,
) -> None:
    silent = """
answer = sse_server.answer
async def silent(message, client):
    if message.get("method") == "server/discover":
        return None
    return await answer(message, client)
sse_server.answer = silent
"""
    with running(changed(tmp_path, silent)) as server:
        with anyio.move_on_after(3) as waited:
            async with Client(sse_client(f"{server.url}/sse")):
                pass
        assert waited.cancelled_caught
        with anyio.fail_after(3):
            async with Client(sse_client(f"{server.url}/sse"), mode="legacy"):
                pass


def test_the_sdk_asks_for_a_later_revision() -> None:
    assert LATEST_HANDSHAKE_VERSION == "2025-11-25"


# --- The event stream ---------------------------------------------------------------------


async def test_a_generator_that_never_started_never_cleans_up() -> None:
    open_sessions: list[str] = ["one"]

    async def events() -> AsyncIterator[bytes]:
        try:
            yield b""
        finally:
            open_sessions.clear()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError("the client has gone")

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    with pytest.raises((OSError, ClientDisconnect)):
        await StreamingResponse(events())(scope, receive, send)
    assert open_sessions == ["one"]


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_the_system_gives_up_a_connection_that_takes_nothing(tmp_path: Path) -> None:
    """The session goes first; what is left in the sockets goes when the system gives up."""
    patient = "import running\nsse_server.SEND_SECONDS = 0.3\nrunning.VANISHED_SECONDS = 1"
    with running(changed(tmp_path, patient)) as server, Stream(server, buffer=4096) as slow:
        slow.initialize()
        slow.ask(message_of(LIMIT))
        wait_for(lambda: connections(server) == 0)
        process = psutil.Process(server.process.pid)
        own = slow.socket.getsockname()

        def held() -> bool:
            return any(each.raddr == own for each in process.net_connections())

        wait_for(lambda: not held(), seconds=10)


def test_without_its_own_shutdown_it_never_leaves(tmp_path: Path) -> None:
    polite = """
import uvicorn
sse_server.SseTransport.end_streams = lambda transport: None
config = uvicorn.Config
def patient(app, **options):
    return config(app, **{**options, "timeout_graceful_shutdown": None})
uvicorn.Config = patient
"""
    with running(changed(tmp_path, polite)) as server, Stream(server):
        server.stop(seconds=2.5)
        assert server.process.returncode == -9


# --- How fast it is -----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.quiet
def test_the_promised_ratios() -> None:
    """In a short run. What takes processor time from it may spoil a run: then again."""
    options = ("--rounds", "5", "--seconds", "0.2", "--streams", "100", "--assert")
    printed = ""
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, str(FOLDER / "benchmark.py"), *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment(),
        )
        assert done.returncode in (0, 1), done.stderr
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        printed += done.stdout
        if done.returncode == 0:
            return
        # What does not depend on the load has to hold in every run.
        ratios = {
            line[:30].strip(): float(line[48:56]) for line in done.stdout.splitlines()[1:]
        }
        assert ratios["bytes of memory, idle session"] <= 0.4, printed
        assert ratios["per second of CPU time"] >= 2, printed
        time.sleep(1)
    # With more to do than processors, the time on the wall says nothing about the servers.
    assert os.getloadavg()[0] > (os.cpu_count() or 1), f"Not as fast as promised:\n{printed}"


async def test_a_stream_waits_in_two_tasks_of_its_own() -> None:
    """And none is left when it has ended."""
    sse_server = load_sse_server()
    transport = sse_server.SseTransport(sse_server.Settings())
    gone, both_events_sent = asyncio.Event(), asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 3:
            both_events_sent.set()

    before = asyncio.all_tasks()
    stream = asyncio.create_task(
        sse_server.EventStream(transport)({"type": "http", "root_path": "/x"}, receive, send)
    )
    await both_events_sent.wait()
    assert len(asyncio.all_tasks() - before) == 3
    assert sent[1]["body"].startswith(b"event: endpoint\ndata: /x/message?session_id=")
    gone.set()
    await stream
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert transport.sessions == {}
