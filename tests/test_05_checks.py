"""Lesson 05's checks on servers that we did not write, and on the exercise as it is solved."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parts import missing, require
from workshop.checks.engine import Report, check_program, check_url
from workshop.checks.lesson_05 import changing_part, fault_of, suite
from workshop.checks.mcp_session import parsed
from workshop.course import ROOT
from workshop.raw_stream import ReceivedEvent
from workshop.running import Program, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

SCRIPTS = ROOT / "scripts/05_sse_server"
SOLUTION = ROOT / "solutions/05_sse_server/exercise.py"
LOW_LEVEL = ROOT / "tests/servers/low_level_sse.py"
NODE = ROOT / "tests/node"

# What stays unguarded unless a server of these is told the hosts and origins to allow. The
# report is right: the specification says MUST of Origin, and any page could talk to them.
UNGUARDED = ["host", "origin"]


def failed(report: Report) -> list[str]:
    assert report.results
    assert report.ids("waiting") == [], report.as_json()
    return report.ids("failed")


def test_our_server_passes_all_checks() -> None:
    report = check_program(suite, SCRIPTS / "sse_server.py")
    assert report.ok, report.as_json()


def test_the_sdks_server_passes_the_protocols_checks() -> None:
    # `run` on 127.0.0.1 arms the SDK's own guard of Host and Origin.
    with running(SCRIPTS / "sdk_server.py") as program:
        report = check_url(suite, f"{program.url}/sse")
    assert failed(report) == [], report.as_json()
    assert len(report.results) >= 20


@pytest.mark.parametrize(("options", "wanted"), [([], UNGUARDED), (["--guarded"], [])])
def test_the_sdks_low_level_transport_lets_strangers_in_unless_told(
    options: list[str], wanted: list[str]
) -> None:
    with running(LOW_LEVEL, *options) as program:
        report = check_url(suite, f"{program.url}/sse")
    assert failed(report) == wanted, report.as_json()


# The TypeScript SDK looks at POST only: what opens a stream, it never asks.
@pytest.mark.parametrize("guarded", [False, True])
def test_the_typescript_sdks_transport_lets_strangers_in(guarded: bool) -> None:
    with typescript_server(*["guarded"] * guarded) as program:
        report = check_url(suite, f"{program.url}/sse")
    assert failed(report) == UNGUARDED, report.as_json()


@contextmanager
def typescript_server(*arguments: str) -> Iterator[Program]:
    node = require("node")
    if not (NODE / "node_modules/@modelcontextprotocol/sdk").is_dir():
        missing("The TypeScript SDK", "npm ci --prefix tests/node")
    port = free_port()
    process = subprocess.Popen(
        [node, "sse_server.mjs", str(port), *arguments],
        cwd=NODE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    program = Program(process, port)
    try:
        program.wait_until_listening(seconds=20)
        yield program
    finally:
        program.stop(seconds=3)
        if process.stdout is not None:
            process.stdout.close()


# Other line ends, no blank after the colon, no type for messages, JSON in several lines.
ANOTHER_WAY_TO_ENCODE = """\
    lines = "" if event == "message" else f"event:{event}\\r\\n"
    for line in data.splitlines():
        lines += f"data:{line}\\r\\n"
    return f"{lines}\\r\\n".encode()
"""
# Other events after the first one, and messages that answer nothing.
MORE_TO_SAY = """\
    yield encode_event("hello", "{}")
    while True:
        notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        yield encode_event("message", json.dumps(notice))
        try:
"""
ERROR_ON_THE_STREAM = """\
        send(session, encode_event("message", json.dumps(error.reply())))
        return Response(status_code=202)
"""


def test_what_the_protocol_leaves_open_passes(tmp_path: Path) -> None:
    text = SOLUTION.read_text(encoding="utf-8")
    for find, replace in [
        ('f"/message?session_id=', 'f"message?session_id='),  # relative to the stream
        ('    return f"event: {event}\\ndata: {data}\\n\\n".encode()\n', ANOTHER_WAY_TO_ENCODE),
        ("json.dumps(reply)", "json.dumps(reply, indent=1)"),
        ("    while True:\n        try:\n", MORE_TO_SAY),
        ("        return JSONResponse(error.reply(), 400)\n", ERROR_ON_THE_STREAM),
    ]:
        assert text.count(find) == 1, find
        text = text.replace(find, replace)
    program = tmp_path / "exercise.py"
    program.write_text(text, encoding="utf-8")
    report = check_program(suite, program)
    assert report.ok, report.as_json()


@pytest.mark.parametrize(
    ("endpoints", "part"),
    [
        (["/m?id=abc&v=1", "/m?id=xyz&v=1"], "abc"),
        (["/m?id=7", "/m?id=8"], "7"),
        (["/m?id=1", "/m?id=10"], ""),
        (["/m", "/m"], ""),
    ],
)
def test_the_changing_part_of_endpoints(endpoints: list[str], part: str) -> None:
    first, last = changing_part(endpoints)
    assert endpoints[0][first:last] == part


@pytest.mark.parametrize("data", ["[" * 50_000 + "]" * 50_000, '{"id": 1' + "1" * 5_000 + "}"])
def test_json_that_nobody_can_read_is_a_finding(data: str) -> None:
    event = ReceivedEvent("message", data, "", 0, len(data), 0.0)
    assert fault_of(event) == ("no-json", 0)
    assert parsed(event) is None
