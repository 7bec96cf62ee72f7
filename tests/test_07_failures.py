"""Lesson 07's broken and fixed pairs: what the text says of each is what happens."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import aiohttp.client
import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp_types import TextContent

from workshop.checks.mcp_session import handshake, notification, request
from workshop.course import ROOT
from workshop.loading import load
from workshop.running import Program, environment, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/07_sdk_client"
SERVER = ROOT / "scripts/05_sse_server/sse_server.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    """Lesson 05's, with a heart that beats."""
    with running(SERVER, "--heartbeat", "0.5") as program:
        yield program


@pytest.fixture(scope="module")
def silent() -> Iterator[Program]:
    """Lesson 05's, and silent."""
    with running(SERVER, "--heartbeat", "3600") as program:
        yield program


def start(program: str, server: Program) -> subprocess.Popen[str]:
    """For what a test in this process would not survive. The others are only loaded."""
    return subprocess.Popen(
        [sys.executable, str(FOLDER / program), f"{server.url}/sse"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    )


def first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


# --- A POST that fails --------------------------------------------------------------------


async def test_a_call_whose_post_failed_waits_for_ever(
    silent: Program, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await load(FOLDER / "post_fails_broken.py").main(f"{silent.url}/sse")
    assert "Error in post_writer" in caplog.text and "'413 " in caplog.text
    assert "Answered" not in capsys.readouterr().out

    await load(FOLDER / "post_fails_fixed.py").main(f"{silent.url}/sse")
    assert capsys.readouterr().out.splitlines() == [
        "5,242,880 characters: Request 'tools/call' timed out",
        "5 characters: Connection closed",
        "In a new session: small",
    ]


# --- Silence is not the end ---------------------------------------------------------------


def test_the_sdk_gives_up_a_stream_after_five_silent_minutes() -> None:
    parameters = inspect.signature(sse_client).parameters
    assert parameters["sse_read_timeout"].default == 300
    assert parameters["timeout"].default == 5
    # And has no limit for a call, unless one is given.
    assert inspect.signature(Client).parameters["read_timeout_seconds"].default is None
    # aiohttp's are others: the whole response has a limit.
    assert aiohttp.ClientTimeout(total=300, sock_connect=30) == aiohttp.client.DEFAULT_TIMEOUT


async def test_silence_ends_a_session_and_a_heartbeat_or_patience_keeps_it(
    server: Program,
    silent: Program,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(program: str, where: Program, *words: str) -> list[str]:
        words = ("program", f"{where.url}/sse", "--pause", "4", *words)
        monkeypatch.setattr(sys, "argv", list(words))
        await load(FOLDER / program).main()
        return capsys.readouterr().out.splitlines()

    alive = ["The answer before the pause.", "The answer after the pause."]
    dead = [alive[0], "No answer after the pause: Connection closed"]
    assert await run("idle_broken.py", silent, "--limit", "2.5") == dead
    assert await run("idle_broken.py", server, "--limit", "2.5") == alive
    assert await run("idle_fixed.py", silent) == alive


# --- An event that is too large -----------------------------------------------------------


async def test_a_result_over_1_mib_ends_the_session() -> None:
    with running(FOLDER / "large_broken.py") as reports:
        with pytest.raises(Exception) as left:
            async with Client(sse_client(f"{reports.url}/sse"), mode="legacy") as client:
                with pytest.raises(MCPError, match="Connection closed"):
                    await client.call_tool("report")
                await client.list_tools()
        assert isinstance(first(left.value), httpx2.SSEError)
        assert str(first(left.value)) == "Server-sent event exceeded the 1048576 byte limit."

        # The report alone would fit: on the wire it stands twice.
        async with (
            httpx2.AsyncClient(timeout=20) as http,
            http.stream("GET", f"{reports.url}/sse") as stream,
        ):
            data = (line[6:] async for line in stream.aiter_lines() if line[:6] == "data: ")
            endpoint = reports.url + await anext(data)
            for message in (
                request(1, "initialize", handshake("2025-11-25")),
                notification("notifications/initialized"),
                request(2, "tools/call", {"name": "report", "arguments": {}}),
            ):
                (await http.post(endpoint, json=message)).raise_for_status()
            await anext(data)
            event = await anext(data)
        result = json.loads(event)["result"]
        text = result["content"][0]["text"]
        assert 690_000 < len(text) < 700_000
        assert result["structuredContent"] == {"result": text}
        assert len(event) > 1024 * 1024


async def test_a_link_to_a_large_result() -> None:
    with running(FOLDER / "large_fixed.py") as reports:
        async with Client(sse_client(f"{reports.url}/sse"), mode="legacy") as client:
            result = await client.call_tool("report")
        beginning, link = result.content
        assert isinstance(beginning, TextContent)
        assert len(beginning.text.splitlines()) == 3
        assert link.type == "resource_link"
        whole = httpx2.get(link.uri).text
        assert len(whole) == link.size and whole.startswith(beginning.text)
        says_what_is_next_and_leaves(reports)


# --- In and out in one task ---------------------------------------------------------------


async def test_in_and_out_in_one_task_the_last_one_first(
    server: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tasks, `tasks_broken.py`, are in the lesson itself, with what they print."""
    out, err = start("tasks_order_broken.py", server).communicate(timeout=30)
    assert out == ""
    wrong = "RuntimeError: Attempted to exit a cancel scope that isn't the current"
    assert err.rstrip().splitlines()[-1].startswith(wrong)

    await load(FOLDER / "tasks_fixed.py").main(f"{server.url}/sse")
    assert capsys.readouterr().out.splitlines() == ["Its tools: echo, add"] * 2 + [
        "Closed cleanly."
    ]


# --- Where the client may be sent ---------------------------------------------------------


async def test_a_naive_client_takes_its_token_elsewhere_and_the_sdk_waits_for_ever(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(FOLDER / "elsewhere.py") as thief:
        with anyio.move_on_after(2) as waited:
            headers = {"Authorization": "Bearer of the SDK"}
            async with Client(sse_client(f"{thief.url}/sse", headers), mode="legacy"):
                pass
        assert waited.cancelled_caught
        assert "Endpoint origin does not match connection origin" in caplog.text
        assert "collected" not in thief.output

        await load(FOLDER / "elsewhere_broken.py").main(f"{thief.url}/sse")
        out = capsys.readouterr().out
        assert out == f"POST http://localhost:{thief.port}/collect: 202\n"
        collected = f"collected at localhost:{thief.port}: Bearer a-secret-of-yours"
        assert collected in thief.wait_for_output("collected")
        says_that_its_port_is_in_use(thief, "elsewhere.py")
        says_what_is_next_and_leaves(thief)


def says_that_its_port_is_in_use(server: Program, name: str) -> None:
    second = subprocess.run(
        [sys.executable, str(FOLDER / name), "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert second.returncode == 1
    port = server.port
    assert second.stderr == f"Port {port} is in use. Choose another: --port {port + 1}\n"


def says_what_is_next_and_leaves(server: Program) -> None:
    assert f"{server.url}/sse. In another terminal:" in server.output
    with httpx2.stream("GET", f"{server.url}/sse") as stream:
        assert next(stream.iter_lines()) == "event: endpoint"
        assert server.stop(signal.SIGINT) < 2
    assert server.process.returncode == 0, server.output
