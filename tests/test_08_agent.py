"""Lesson 08's programs: what they print, and what is on the wire while they do."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from tests.parts import NO_MODEL
from tests.sdk_parts import text_of
from workshop.course import ROOT
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/08_agent"


def ended(program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A program that has run to its end."""
    return subprocess.run(
        [sys.executable, str(FOLDER / program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({**NO_MODEL, **env}),
    )


def run(program: str, *arguments: str, **env: str) -> str:
    """What a program prints. It must end with status 0."""
    done = ended(program, *arguments, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A model server that answers everything with this; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{model.server_port}/v1"
        model.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(FOLDER / "server.py") as program:
        yield program


@pytest.mark.quiet  # port 8000 is the same for all
def test_main_needs_no_key_and_leaves_no_server_behind() -> None:
    printed = run("main.py")
    assert "add(a=7, b=22) -> 29.0" in printed
    assert re.search(r"get_current_weather\(city='Tokyo'\) -> Tokyo: \d+ °C", printed)
    assert "get_secret_word() -> marmalade" in printed
    leftover = [
        one.info["cmdline"]
        for one in psutil.process_iter(["cmdline"])
        if str(FOLDER / "server.py") in (one.info["cmdline"] or []) and one.parent() is None
    ]
    assert leftover == []


@pytest.mark.quiet  # port 8000 is the same for all
def test_main_takes_another_port_when_8000_is_in_use() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            pass  # something else has it: all the better
        printed = run("main.py")
    assert "Port 8000 is in use: the server gets port" in printed
    assert "marmalade" in printed


def test_a_server_that_does_not_start_is_said_in_a_line(tmp_path: Path) -> None:
    sys.path.insert(0, str(FOLDER))
    try:
        starting = importlib.import_module("starting")
    finally:
        sys.path.remove(str(FOLDER))
    broken = tmp_path / "broken.py"
    broken.write_text("print('starting')\nraise SystemExit('no tea left')\n", encoding="utf-8")
    with pytest.raises(starting.StartError, match="no tea left"), starting.started(broken, 1):
        pass


class TestAModelServer:
    """The whole path with a model behind OPENAI_BASE_URL, and what goes wrong there."""

    def test_the_programs_use_it(self, server: Program) -> None:
        with running(FOLDER / "model_server.py") as model:
            printed = run(
                "first_agent.py",
                f"{server.url}/sse",
                OPENAI_BASE_URL=f"{model.url}/v1",
                OPENAI_MODEL="small",
            )
            assert f"Model: small at {model.url}/v1" in printed
            assert "add(a=7, b=22): 29.0" in printed
            assert "POST /v1/chat/completions" in model.output

    def test_its_answer_is_an_event_stream(self) -> None:
        with running(FOLDER / "model_server.py") as model:
            printed = run("model_stream.py", f"{model.url}/v1", "Who are you?")
            first, *events = printed.splitlines()
            assert first.startswith("text/event-stream")
            assert events[-1].endswith("[DONE]")
            times = [float(line.split()[0]) for line in events]
            assert times[-1] - times[0] > 0.1, "the words came in one lump"

    @pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"messages": [1]}'])
    def test_nonsense_is_answered_with_400(self, body: bytes) -> None:
        with running(FOLDER / "model_server.py") as model:
            answer = httpx2.post(f"{model.url}/v1/chat/completions", content=body)
            assert answer.status_code == 400
            assert "not a chat completion" in answer.json()["error"]["message"]
            assert "Traceback" not in model.output

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (429, b'{"error": {"message": "slow down"}}', "429"),
            (200, b'{"choices": "nonsense"}', "The model:"),
            (200, b"<html>", "The model:"),
            (500, b"", "500"),
        ],
    )
    def test_one_that_fails_is_said_in_a_line(
        self, status: int, body: bytes, said: str
    ) -> None:
        with answering(status, body) as url:
            done = ended("main.py", OPENAI_BASE_URL=url)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


async def test_eight_agents_at_once_never_get_each_others_results(server: Program) -> None:
    # To import them takes seconds: every process that collects the tests would.
    from agents import Agent, Runner, ToolCallOutputItem, set_tracing_disabled
    from agents.mcp import MCPServerSse
    from agents.testing import ScriptedModel, assistant_message, function_call

    async def add(number: int) -> list[str]:
        calls = [
            [
                function_call(
                    "add", json.dumps({"a": number, "b": count}), call_id=f"call_{count}"
                )
            ]
            for count in range(10)
        ]
        model = ScriptedModel([*calls, [assistant_message("Done.")]])
        async with MCPServerSse({"url": f"{server.url}/sse"}, cache_tools_list=True) as tools:
            agent = Agent(name=str(number), mcp_servers=[tools], model=model)
            result = await Runner.run(agent, "Add.", max_turns=20)
        return [
            item.output["text"] if isinstance(item.output, dict) else str(item.output)
            for item in result.new_items
            if isinstance(item, ToolCallOutputItem)
        ]

    set_tracing_disabled(True)
    # All use the same ids, of their calls and of their JSON-RPC requests.
    results = await asyncio.gather(*(add(1000 * number) for number in range(8)))
    assert results == [
        [str(float(1000 * number + count)) for count in range(10)] for number in range(8)
    ]


def test_the_lessons_diagram_is_what_the_program_draws(server: Program) -> None:
    drawn = run("trace_turn.py", f"{server.url}/sse", "Add 7 and 22.", "--mermaid")
    text = (ROOT / "lessons/08_agent.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{drawn}```\n" in text


@pytest.mark.parametrize("program", ["first_agent.py", "event_agent.py", "trace_turn.py"])
def test_a_server_that_is_not_there_is_said_in_a_line(program: str) -> None:
    done = ended(program, f"http://127.0.0.1:{free_port()}/sse")
    assert done.returncode == 1
    assert "Could not reach the server" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_the_hub_the_events_say_how_to_start_it() -> None:
    nothing = f"http://127.0.0.1:{free_port()}"
    with running(FOLDER / "event_server.py", env={"HUB_URL": nothing}) as program:
        printed = run("event_agent.py", f"{program.url}/sse")
    assert "uv run scripts/03_event_hub/hub_server.py" in printed


async def test_each_session_has_its_own_subscriptions() -> None:
    with (
        running(ROOT / "scripts/03_event_hub/hub_server.py") as hub,
        running(FOLDER / "event_server.py", env={"HUB_URL": hub.url}) as program,
    ):
        url = f"{program.url}/sse"
        async with (
            Client(sse_client(url), mode="legacy") as ada,
            Client(sse_client(url), mode="legacy") as bob,
        ):
            await ada.call_tool("subscribe", {"event_type": "orders"})
            await bob.call_tool("send_event", {"event_type": "orders", "message": "tea"})
            listed = await bob.call_tool("list_subscriptions", {})
            assert listed.structured_content == {"result": []}
            assert text_of(await bob.call_tool("read_events", {})) == "No new events."
            read = ""
            while "tea" not in read:  # the stream brings it after the POST was answered
                read = text_of(await ada.call_tool("read_events", {}))
            assert read == 'orders {"message": "tea"}'
        # Both are gone: so are their subscriptions.
        async with Client(sse_client(url), mode="legacy") as cara:
            sent = ""
            while not sent.endswith("Subscribers: 0."):
                sent = text_of(
                    await cara.call_tool("send_event", {"event_type": "orders", "message": "x"})
                )
