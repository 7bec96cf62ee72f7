"""Lesson 05: clients that we did not write, fifty at once, each with its own replies."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client, ClientSession
from mcp.client.sse import sse_client
from mcp_types import CallToolResult, TextContent

from tests.parts import missing, require
from tests.turns import takes_less_than
from workshop.course import ROOT
from workshop.running import Program, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/05_sse_server/sse_server.py"
NODE = ROOT / "tests/node"
SESSIONS = 50
TOOLS = ["echo", "add"]
# Fifty at once on a busy machine: a client's own limit of 5 s is not what is tested.
PATIENCE = 60


@pytest.fixture(params=["event", "comment"])
def server(request: pytest.FixtureRequest) -> Iterator[Program]:
    # Heartbeats come between the messages: no client may mind.
    style = str(request.param)
    with running(SERVER, "--heartbeat", "0.2", "--heartbeat-style", style) as program:
        yield program


def text_of(result: CallToolResult) -> str:
    """The text of a result with one text in it."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert not result.is_error
    return content.text


async def connections(server: Program) -> int:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        answer = await client.get(f"{server.url}/health")
    return answer.json()["connections"]


class Together:
    """Everyone waits for all others: so fifty sessions are open at the same time."""

    def __init__(self, server: Program) -> None:
        self.server = server
        self.barrier = asyncio.Barrier(SESSIONS)
        self.seen: list[int] = []

    async def meet(self) -> None:
        if await self.barrier.wait() == 0:
            self.seen.append(await connections(self.server))
        await self.barrier.wait()


async def talk(session: ClientSession | Client, number: int, together: Together) -> None:
    listed = await session.list_tools()
    assert [tool.name for tool in listed.tools] == TOOLS
    await together.meet()
    for turn in range(3):
        said = f"{number} says {turn}"
        assert text_of(await session.call_tool("echo", {"message": said})) == said
        sum_ = text_of(await session.call_tool("add", {"a": number, "b": 1000 * turn}))
        assert sum_ == str(number + 1000 * turn)


async def all_gone(server: Program) -> None:
    """Nothing tells a test when the server notices: ask until it has."""
    for _ in range(200):
        if await connections(server) == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("Sessions are left behind")


async def test_sdk_client_session(server: Program) -> None:
    together = Together(server)

    async def one(number: int) -> None:
        async with (
            sse_client(f"{server.url}/sse", timeout=PATIENCE) as (read, write),
            ClientSession(read, write) as session,
        ):
            welcome = await session.initialize()
            assert welcome.protocol_version == "2024-11-05"
            assert welcome.capabilities.tools is not None
            await talk(session, number, together)

    await asyncio.gather(*(one(number) for number in range(SESSIONS)))
    assert together.seen == [SESSIONS]
    await all_gone(server)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sdk_client(server: Program, mode: str) -> None:
    together = Together(server)

    async def one(number: int) -> None:
        async with Client(
            sse_client(f"{server.url}/sse", timeout=PATIENCE), mode=mode
        ) as client:
            await talk(client, number, together)

    await asyncio.gather(*(one(number) for number in range(SESSIONS)))
    assert together.seen == [SESSIONS]
    await all_gone(server)


def test_the_question_for_a_newer_revision_costs_no_time(server: Program) -> None:
    """In mode auto it comes first. A server that says nothing to it would cost ten seconds."""

    async def connected() -> float:
        began = time.monotonic()
        async with Client(sse_client(f"{server.url}/sse"), mode="auto"):
            return time.monotonic() - began

    assert takes_less_than(8, lambda: asyncio.run(connected()))


async def test_openai_agents(server: Program) -> None:
    # Only here: this import takes three seconds of processor, and every test process reads
    # this file.
    from agents.mcp import MCPServerSse

    together = Together(server)

    @asynccontextmanager
    async def connected() -> AsyncIterator[MCPServerSse]:
        async with MCPServerSse(
            {"url": f"{server.url}/sse", "timeout": PATIENCE},
            cache_tools_list=True,
            client_session_timeout_seconds=PATIENCE,
        ) as client:
            yield client

    async def one(number: int) -> None:
        async with connected() as client:
            tools = await client.list_tools()
            assert [tool.name for tool in tools] == TOOLS
            await together.meet()
            said = f"I am {number}"
            assert text_of(await client.call_tool("echo", {"message": said})) == said
            sum_ = await client.call_tool("add", {"a": number, "b": 1000})
            assert text_of(sum_) == str(number + 1000)

    await asyncio.gather(*(one(number) for number in range(SESSIONS)))
    assert together.seen == [SESSIONS]
    await all_gone(server)


def test_typescript_sdk(server: Program) -> None:
    node = require("node")
    if not (NODE / "node_modules/@modelcontextprotocol/sdk").is_dir():
        missing("The TypeScript SDK", "npm ci --prefix tests/node")
    done = subprocess.run(
        [node, "fifty_sessions.mjs", f"{server.url}/sse", str(SESSIONS)],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    health, *said = [json.loads(line) for line in done.stdout.splitlines()]
    assert health == {"connections": SESSIONS}
    assert said == [
        {"number": n, "tools": TOOLS, "echo": f"I am {n}", "sum": str(n + 1000)}
        for n in range(SESSIONS)
    ]
