"""Lesson 10: what can be seen of observed_server.py from outside, and what bad input does."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ptyprocess
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.folder_modules import edited_copy
from tests.observed_parts import FOLDER, OBSERVED, drop_a_reader, endpoint_of
from workshop.checks.engine import check_url
from workshop.checks.lesson_05 import suite
from workshop.checks.mcp_session import handshake, request
from workshop.raw_client import Server
from workshop.raw_stream import Stream
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def observed() -> Iterator[Server]:
    with running(OBSERVED, env={"TRACES_PER_SECOND": "1000"}) as program:
        yield Server(program.url, program)


def ask(
    server: Server, stream: Stream, number: int, method: str, params: Any = None
) -> dict[str, Any]:
    """The reply to a request."""
    message = request(number, method, params or {})
    assert server.post_json(endpoint_of(stream), message).status == 202
    found: list[dict[str, Any]] = []

    def replied(stream: Stream) -> bool:
        replies = [json.loads(event.data) for event in stream.events if event.type == "message"]
        found[:] = [reply for reply in replies if reply["id"] == number]
        return bool(found)

    assert stream.wait(replied)
    return found[0]


def call(server: Server, stream: Stream, number: int, tool: str, **arguments: Any) -> Any:
    return ask(server, stream, number, "tools/call", {"name": tool, "arguments": arguments})


def initialize(server: Server, stream: Stream) -> None:
    ask(server, stream, 0, "initialize", handshake())


def program_of(server: Server) -> Program:
    assert server.program is not None
    return server.program


def log_of(program: Program) -> list[dict[str, Any]]:
    """Every line but those that say what to type. Each must be JSON."""
    lines = [line for line in program.output.splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    order = ("timestamp", "level", "event", "request", "session", "tool", "trace")
    for line in found:
        if line["event"] != "span":
            known = [key for key in line if key in order]
            assert known == list(line)[: len(known)] == [key for key in order if key in line]
    return found


def samples(server: Server) -> dict[str, float]:
    """Each series as /metrics writes it, and its value."""
    text = server.request("GET", "/metrics").body.decode()
    return {
        sample.name
        + "{"
        + ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        + "}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(server: Server, name: str, value: float) -> None:
    """Ask again and again, until a series has this value."""
    for _ in range(500):
        if samples(server).get(name) == value:
            return
    raise AssertionError(f"{name} is {samples(server).get(name)}, and not {value}")


# --- Logs ---------------------------------------------------------------------------------


def test_an_error_is_found_in_the_log_by_its_id_and_its_trace_by_the_line(
    observed: Server,
) -> None:
    with observed.open("/sse") as stream:
        initialize(observed, stream)
        reply = call(observed, stream, 7, "fail")
    assert reply["error"]["code"] == -32603
    assert reply["error"]["message"] == "Internal error"
    assert set(reply["error"]) == {"code", "message", "data"}
    program = program_of(observed)
    request_id = reply["error"]["data"]["request"]
    program.wait_for_output(request_id)
    line = next(line for line in log_of(program) if line.get("request") == request_id)
    assert (line["event"], line["tool"], line["error"]) == (
        "call failed",
        "fail",
        "RuntimeError",
    )
    assert re.match(r"tools\.py:\d+ fail < tools\.py:\d+ call_tool < ", line["where"])
    program.wait_for_output(f'"trace": "{line["trace"]}", "span"')
    span = next(
        entry
        for entry in log_of(program)
        if entry["event"] == "span" and entry["trace"] == line["trace"]
    )
    assert span["name"] == "tools/call fail"
    assert (span["mcp.session"], span["error.type"]) == (line["session"], "-32603")


def test_a_stream_begins_and_ends_with_the_same_request_and_session(observed: Server) -> None:
    program = program_of(observed)
    after = len(program.output.encode())
    with observed.open("/sse") as stream:
        session_id = endpoint_of(stream).partition("=")[2]
    program.wait_for_output('"stream closed"', after=after)
    began, ended = [
        line for line in log_of(program) if line["event"] in ("stream opened", "stream closed")
    ][-2:]
    assert (began["request"], began["session"]) == (ended["request"], ended["session"])
    assert ended["ended_by"] == "client left"
    assert ended["seconds"] >= 0
    assert session_id not in program.output


def test_at_debug_each_call_has_a_line_with_its_own_request() -> None:
    with running(OBSERVED, env={"LOG_LEVEL": "debug", "TRACES_PER_SECOND": "0"}) as program:
        server = Server(program.url, program)
        with server.open("/sse") as one, server.open("/sse") as two:
            for stream in (one, two):
                initialize(server, stream)
                call(server, stream, 1, "add", a=1, b=2)
                call(server, stream, 2, "nothing")
        program.stop()
    calls = [line for line in log_of(program) if line["event"] == "call"]
    assert len({line["request"] for line in calls}) == len(calls) == 6
    assert len({line["session"] for line in calls}) == 2
    assert [line.get("tool") for line in calls[:3]] == [None, "add", "unknown"]


def test_in_a_pipe_every_line_is_json_under_uvicorn_too() -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "observed_server:app", "--port", str(port)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    program = Program(process, port)
    try:
        program.wait_until_listening(seconds=30)
        server = Server(program.url, program)
        with server.open("/sse") as stream:
            initialize(server, stream)
            assert call(server, stream, 1, "echo", message="hello")["result"]
            program.stop()
            assert stream.wait_closed()
            assert b"retry: 500\n\n" in stream.raw
    finally:
        program.stop()
    events = [json.loads(line)["event"] for line in program.output.splitlines()]
    assert events[0].startswith("Started server process")
    assert {"stream opened", "leaving", "stream closed", "span"} <= set(events)


def test_uvicorn_with_a_prefix_at_trace_and_ctrl_c_twice() -> None:
    port = free_port()
    options = ("--root-path", "/tools", "--log-level", "trace")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "observed_server:app", "--port", str(port), *options],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    program = Program(process, port)
    try:
        program.wait_until_listening(seconds=30)
        server = Server(program.url, program)
        assert server.request("GET", "/health?session_id=secret").status == 200
        health = "http_request_seconds_count{method=GET,path=/health,status=200}"
        assert samples(server)[health] == 1
        # uvicorn has no time limit of its own, and this body never comes.
        head = f"POST /message HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 9\r\n"
        with socket.create_connection((HOST, port)) as half:
            half.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n{")
            assert server.request("GET", "/health").status == 200
            process.send_signal(signal.SIGINT)
            program.wait_for_output("Waiting for connections to close")
            process.send_signal(signal.SIGINT)
            process.wait(5)
    finally:
        program.stop()
    assert "secret" not in program.output  # trace would show each request with its query


def listens(port: int) -> bool:
    with suppress(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5).close()
        return True
    return False


def test_in_a_terminal_lines_are_for_people() -> None:
    port = free_port()
    terminal: Any = ptyprocess.PtyProcess.spawn(
        [sys.executable, str(OBSERVED), "--port", str(port)],
        env=environment(),
        dimensions=(24, 120),
    )
    printed = ""
    try:
        while "startup complete" not in printed:
            printed += terminal.read().decode()
        while not listens(port):  # uvicorn says that a moment before it does
            pass
        server = Server(f"http://{HOST}:{port}")
        with server.open("/sse") as stream:
            initialize(server, stream)
            call(server, stream, 1, "fail")
        while "stream closed" not in printed:
            printed += terminal.read().decode()
        terminal.write(b"\x03")
        while True:
            printed += terminal.read().decode()
    except EOFError:
        terminal.wait()
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 0
    request = "request=[0-9a-f]{16} session=[0-9a-f]{12}"
    assert re.search(rf"\d\d:\d\d:\d\d \[info\] stream opened +{request}\r", printed), printed
    assert re.search(r"\[error\] call failed .*error=RuntimeError .*tool=fail", printed)
    assert re.search(r"\nspan tools/call fail [\d.]+ ms trace=[0-9a-f]{32}\r", printed)
    assert "{" not in printed and "Traceback" not in printed


# --- Metrics ------------------------------------------------------------------------------


def test_what_a_session_leaves_in_the_metrics(observed: Server) -> None:
    before = samples(observed)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    with observed.open("/sse") as stream:
        initialize(observed, stream)
        call(observed, stream, 1, "add", a=1, b=2)
        call(observed, stream, 2, "wait", seconds=61)
        call(observed, stream, 3, "no such tool")
        during = samples(observed)
        assert during["mcp_streams_active{}"] == before["mcp_streams_active{}"] + 1
    until(observed, "mcp_streams_active{}", before["mcp_streams_active{}"])
    after = samples(observed)
    for name, by in {
        "mcp_streams_opened_total{}": 1,
        "mcp_streams_closed_total{outcome=client left}": 1,
        "mcp_server_session_duration_seconds_count{}": 1,
        "mcp_messages_total{way=in}": 4,
        "mcp_messages_total{way=out}": 4,
        "mcp_tool_seconds_count{outcome=ok,tool=add}": 1,
        "mcp_tool_seconds_count{outcome=tool_error,tool=wait}": 1,
        "mcp_tool_seconds_count{outcome=-32602,tool=unknown}": 1,
        "http_request_seconds_count{method=POST,path=/message,status=202}": 4,
        # The stream is no request in this sense: it lasted as long as the client listened.
        "http_request_seconds_count{method=GET,path=/sse,status=200}": 0,
    }.items():
        assert grown(name) == by, name
    operation = "mcp_server_operation_duration_seconds_count"
    assert grown(f"{operation}{{error_type=,mcp_method_name=tools/call}}") == 1
    assert grown(f"{operation}{{error_type=-32602,mcp_method_name=tools/call}}") == 1
    assert after["mcp_events_waiting{}"] == 0
    hours = "mcp_server_session_duration_seconds_bucket{le=86400.0}"
    assert hours in after


def test_names_from_outside_make_no_new_series(observed: Server) -> None:
    def speak(some: str) -> None:
        observed.request("GET", f"/{some}")
        observed.request("DELETE", f"/{some}")
        observed.request("GET", "/metrics")  # to ask for them is counted as well
        with observed.open("/sse") as stream:
            initialize(observed, stream)
            call(observed, stream, 1, some)
            ask(observed, stream, 2, some)

    speak("first")
    series = set(samples(observed))
    for number in range(5):
        speak(f"another{number}")
    assert set(samples(observed)) == series


def test_a_reader_that_takes_nothing_is_dropped_and_counted(observed: Server) -> None:
    dropped = "mcp_streams_closed_total{outcome=dropped}"
    before = samples(observed)
    drop_a_reader(program_of(observed))
    until(observed, dropped, before[dropped] + 1)
    until(observed, "mcp_events_waiting{}", 0)
    until(observed, "mcp_streams_active{}", before["mcp_streams_active{}"])
    program_of(observed).wait_for_output("reader dropped: too slow")


def test_there_are_few_spans_however_many_calls(tmp_path: Path) -> None:
    with running(OBSERVED, env={"TRACES_PER_SECOND": "3"}) as program:
        server = Server(program.url, program)
        with server.open("/sse") as stream:
            initialize(server, stream)
            for number in range(1, 100):
                ask(server, stream, number, "ping")
        name = "mcp_server_operation_duration_seconds_count{error_type=,mcp_method_name=ping}"
        assert samples(server)[name] == 99
        program.stop()
    spans = [line for line in log_of(program) if line["event"] == "span"]
    began = [line["timestamp"][:19] for line in spans]
    assert 3 <= len(spans) <= 3 * (len(set(began)) + 1) < 99


# --- Errors and bad input -----------------------------------------------------------------


def test_lesson_05s_protocol(observed: Server) -> None:
    report = check_url(suite, f"{observed.url}/sse")
    assert report.ok, report.as_json()
    assert len(report.results) >= 20


def test_a_route_that_breaks_answers_in_json_rpc_with_an_id(tmp_path: Path) -> None:
    edit = (
        "observed_server.py",
        '        return {"status": "ok"}\n',
        '        raise RuntimeError("the password is hunter2")\n',
    )
    copy = edited_copy(FOLDER, [edit], tmp_path)
    with running(copy / "observed_server.py") as program:
        server = Server(program.url, program)
        answer = server.request("GET", "/health")
        ready = server.request("GET", "/ready")
        counted = samples(server)
        program.stop()
    assert answer.status == 500
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == (-32603, "Internal error")
    line = next(line for line in log_of(program) if line["event"] == "request failed")
    assert line["request"] == error["data"]["request"]
    assert (line["path"], line["error"]) == ("/health", "RuntimeError")
    assert b"hunter2" not in answer.body and "hunter2" not in program.output
    assert ready.status == 200
    assert counted["http_request_seconds_count{method=GET,path=/health,status=500}"] == 1


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/nothing", {}, None, 404),
        ("HEAD", "/sse", {}, None, 405),
        ("GET", "/message", {}, None, 405),
        (
            "POST",
            "/message?session_id=unknown",
            {"Content-Type": "application/json"},
            b"{}",
            404,
        ),
        ("POST", "/message", {"Content-Type": "application/json"}, b"{}", 404),
        ("POST", "/message", {"Content-Type": "text/plain"}, b"{}", 415),
        ("POST", "/message", {"Content-Type": "application/json"}, b"x" * 4_194_305, 413),
        ("GET", "/metrics", {"Host": "evil.example"}, None, 421),
        ("GET", "/sse", {"Origin": "http://evil.example"}, None, 403),
    ],
)
def test_what_is_refused(
    observed: Server,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
) -> None:
    assert observed.request(method, path, body, headers).status == status
    assert observed.request("GET", "/health").json() == {"status": "ok"}
    assert observed.request("GET", "/ready").body == b"ready\n"
    assert "Traceback" not in program_of(observed).output


@pytest.mark.parametrize("meta", [5, {"traceparent": 5}, {"traceparent": "00-0-0-00"}, []])
def test_a_trace_that_makes_no_sense_is_no_trace(observed: Server, meta: Any) -> None:
    with observed.open("/sse") as stream:
        initialize(observed, stream)
        params = {"name": "add", "arguments": {"a": 1, "b": 2}, "_meta": meta}
        assert ask(observed, stream, 1, "tools/call", params)["result"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOG_LEVEL", "loud"),
        ("SPREAD_SECONDS", "-1"),
        ("TRACES_PER_SECOND", "many"),
        ("FINISH_SECONDS", "inf"),
    ],
)
@pytest.mark.parametrize("program", ["observed_server.py"])
def test_a_setting_that_makes_no_sense(program: str, variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), "--port", "0"],
        env=environment({variable: value}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(rf"In the environment: {variable} is .*, not '{value}'\n", done.stdout)


@pytest.mark.parametrize("program", ["observed_server.py", "rolling.py"])
def test_a_port_in_use(program: str) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, str(FOLDER / program), "--port", str(port)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stdout == f"Port {port} is in use. Choose another: --port {port + 1}\n"
