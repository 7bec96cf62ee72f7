"""Lesson 10: one trace from a client's call to the tool, in two processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from tests.folder_modules import modules_in
from workshop.checks.mcp_session import request
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/10_observability"
SOON = 20.0
WITHOUT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SDK_DISABLED": ""}


@pytest.fixture(scope="module")
def collector() -> Iterator[Program]:
    with running(FOLDER / "trace_collector.py") as program:
        yield program


@contextmanager
def observed(**env: str) -> Iterator[Program]:
    fast = {"OTEL_BSP_SCHEDULE_DELAY": "100", "TRACES_PER_SECOND": "1000"}
    with running(FOLDER / "observed_server.py", env=WITHOUT | fast | env) as program:
        yield program


@pytest.fixture(scope="module")
def alone() -> Iterator[Program]:
    """A server without a collector: it prints its spans."""
    with observed() as program:
        yield program


def traced_call(url: str, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "traced_call.py"), url],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=environment(WITHOUT | env),
    )
    return done.returncode, done.stdout, done.stderr


def spans_of(server: Program, trace: str, count: int) -> dict[str, Any]:
    """The server's own spans of a trace by their names, as soon as there are so many."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        lines = [line for line in server.output.splitlines() if f'"trace": "{trace}"' in line]
        spans = [span for span in map(json.loads, lines) if span["event"] == "span"]
        if len(spans) >= count:
            return {span["name"]: span for span in spans}
        time.sleep(0.02)
    raise AssertionError(f"{count} spans of {trace} never came:\n{server.output}")


def test_the_servers_spans_are_children_of_the_clients(alone: Program) -> None:
    status, printed, errors = traced_call(f"{alone.url}/sse")
    assert (status, errors) == (0, "")
    lines = printed.splitlines()
    assert lines[0] == "2 + 3 = 5"
    trace = re.fullmatch(r"Trace ([0-9a-f]{32}):", lines[1])
    assert trace
    # Indented by what called what: our own span, and the messages of the SDK's client.
    found = [
        re.fullmatch(r"  ([0-9a-f]{16})  +[\d.]+ ms  ( *)(.+)", line) for line in lines[2:]
    ]
    own = [match.groups() for match in found if match]
    assert [(indent, name) for _, indent, name in own] == [
        ("", "add two numbers"),
        ("  ", "MCP send initialize"),
        ("  ", "MCP send tools/call add"),
        ("  ", "MCP send tools/list"),
    ]
    ids = {name: id for id, _, name in own}
    theirs = spans_of(alone, trace[1], 3)
    assert set(theirs) == {"initialize", "tools/call add", "tools/list"}
    for name, span in theirs.items():
        assert span["parent"] == ids[f"MCP send {name}"]


def depth(line: str) -> tuple[str, int, str]:
    """Of a line that the collector shows: which program, how far indented, the span's name."""
    _, _, rest = line.partition(" ms  ")
    indented = rest[18:]
    name = indented.lstrip()
    return rest[:16].strip(), (len(indented) - len(name)) // 2, name


def test_the_collector_shows_one_tree_of_two_programs(collector: Program) -> None:
    with observed(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as server:
        status, printed, errors = traced_call(
            f"{server.url}/sse", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url
        )
        assert (status, errors) == (0, "")
        trace = printed.split("Trace ")[1].partition(":")[0]
        deadline = time.monotonic() + SOON
        shown = ""
        while shown.count("observed-server") < 3 and time.monotonic() < deadline:
            shown = httpx2.get(f"{collector.url}/?trace={trace}").text
    lines = shown.splitlines()
    assert lines[0] == f"trace {trace}"
    client, server_name = "traced-call", "observed-server"
    assert [depth(line) for line in lines[1:]] == [
        (client, 0, "add two numbers"),
        (client, 1, "MCP send initialize"),
        (server_name, 2, "initialize"),
        (client, 1, "MCP send tools/call add"),
        (server_name, 2, "tools/call add"),
        (client, 1, "MCP send tools/list"),
        (server_name, 2, "tools/list"),
    ]
    assert max(map(len, lines)) <= 80
    # Only the trace that was asked for.
    assert httpx2.get(f"{collector.url}/?trace=none").text == ""


def test_the_collector_refuses_what_is_not_otlp(collector: Program) -> None:
    for bad in (b"\xff", b"{}", b"\n\x05"):
        answer = httpx2.post(f"{collector.url}/v1/traces", content=bad)
        assert (answer.status_code, answer.text) == (400, "This is not OTLP\n")
    assert httpx2.get(collector.url).status_code == 200


def test_the_collector_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    module = modules_in(FOLDER, ["serving", "trace_collector"])["trace_collector"]
    monkeypatch.setattr(module, "MAX_SPANS", 3)
    sent = ExportTraceServiceRequest()
    spans = sent.resource_spans.add().scope_spans.add().spans
    for number in range(1, 6):
        id = number.to_bytes(8, "big")
        spans.add(trace_id=id + id, span_id=id, name=f"span-{number}")
    client = TestClient(module.app)
    assert client.post("/v1/traces", content=sent.SerializeToString()).status_code == 200
    assert re.findall(r"span-\d", client.get("/").text) == ["span-3", "span-4", "span-5"]


async def test_a_client_without_a_tracer(alone: Program) -> None:
    """Its call works, and the server's span is the beginning of a trace."""
    before = len(alone.output)
    async with Client(sse_client(f"{alone.url}/sse"), mode="legacy") as client:
        result = await client.call_tool("add", {"a": 2, "b": 3})
    assert not result.is_error
    printed = alone.wait_for_output('"name": "tools/call add"', seconds=SOON, after=before)
    (line,) = (
        line for line in printed[before:].splitlines() if '"name": "tools/call add"' in line
    )
    assert json.loads(line)["parent"] is None


@pytest.mark.parametrize(
    "meta",
    [
        {"traceparent": "nonsense"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "x" * 10_000},
        {"traceparent": 5},
        {"traceparent": ["00"]},
        {"traceparent": None, "tracestate": {"a": 1}},
        "nonsense",
    ],
    ids=lambda meta: str(meta)[:30],
)
async def test_a_broken_traceparent_does_not_hurt(meta: Any, alone: Program) -> None:
    call = request(2, "ping", {"_meta": meta})
    async with (
        httpx2.AsyncClient(timeout=SOON) as http,
        http.stream("GET", f"{alone.url}/sse") as stream,
    ):
        async for line in stream.aiter_lines():
            data = line.removeprefix("data: ")
            if data.startswith("/message"):
                posted = await http.post(f"{alone.url}{data}", json=call)
                assert posted.status_code == 202
            if data.startswith("{") and '"id":2' in data:
                assert json.loads(data)["result"] == {}
                return
    raise AssertionError("no reply")


def test_nothing_answers_there() -> None:
    status, printed, errors = traced_call(f"http://{HOST}:1/sse")
    assert (status, printed) == (1, "")
    assert errors == f"http://{HOST}:1/sse: All connection attempts failed\n"


def test_no_event_stream_there(collector: Program) -> None:
    status, printed, errors = traced_call(f"{collector.url}/sse")
    assert (status, printed) == (1, "")
    assert errors.startswith(f"{collector.url}/sse: ")
    assert "Traceback" not in errors
