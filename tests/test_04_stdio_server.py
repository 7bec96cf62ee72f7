"""Lesson 04's server: what it answers, what it survives, how it leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.course import ROOT
from workshop.loading import load

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/04_stdio_server/stdio_server.py"
FULL = Path("/dev/full")
VERSIONS = ["2024-11-05", "2025-06-18", "2025-11-25"]

Json = dict[str, Any]


def initialize(version: Any = "2025-11-25") -> Json:
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params}


def call(name: str, arguments: Any, id: Any = 1) -> Json:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


def line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


PING = {"jsonrpc": "2.0", "id": "still there?", "method": "ping"}
PONG = {"jsonrpc": "2.0", "id": "still there?", "result": {}}


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    process = start()
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def said(raw: bytes) -> list[Json]:
    """What the server answers to these bytes and the end of stdin."""
    process = start()
    output, log = process.communicate(raw, timeout=20)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert output == b"" or output.endswith(b"\n")
    return [json.loads(one) for one in output.split(b"\n")[:-1]]


def ask(process: subprocess.Popen[bytes], message: Any) -> Json:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line(message))
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("version", VERSIONS)
def test_it_agrees_to_a_version_it_speaks(version: str) -> None:
    [reply] = said(line(initialize(version)))
    assert reply["id"] == "hello"
    assert reply["result"]["protocolVersion"] == version
    assert reply["result"]["capabilities"] == {"tools": {}}
    assert set(reply["result"]["serverInfo"]) == {"name", "version"}


@pytest.mark.parametrize("version", ["2025-03-26", "2026-07-28", "1900-01-01", ""])
def test_it_offers_its_latest_for_a_version_it_does_not_speak(version: str) -> None:
    [reply] = said(line(initialize(version)))
    assert reply["result"]["protocolVersion"] == "2025-11-25"


def test_it_lists_and_calls_its_tools() -> None:
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    messages = [
        initialize(),
        listing,
        call("add", {"a": 2, "b": 3}, 2),
        call("add", {"a": 0.5, "b": 1}, "three"),
        call("echo", {"message": "hello stdio"}, 0),
    ]
    replies = said(b"".join(map(line, messages)))
    assert [reply["id"] for reply in replies] == ["hello", 1, 2, "three", 0]
    tools = replies[1]["result"]["tools"]
    assert [tool["name"] for tool in tools] == ["echo", "add"]
    assert all(tool["inputSchema"]["type"] == "object" for tool in tools)
    texts = [reply["result"]["content"][0]["text"] for reply in replies[2:]]
    assert texts == ["5", "1.5", "hello stdio"]
    assert all(reply["result"]["isError"] is False for reply in replies[2:])


@pytest.mark.parametrize(
    ("raw", "code", "id"),
    [
        pytest.param(b"hello\n", -32700, None, id="no JSON"),
        pytest.param(b'{"jsonrpc": "2.0", "id": 1,\n', -32700, None, id="cut off"),
        pytest.param(b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}\n', -32700, None),
        pytest.param(b"\xff\xfe\x00\n", -32700, None, id="no UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + line(PING), -32700, None, id="a byte order mark"),
        pytest.param(b"NaN\n", -32700, None, id="NaN"),
        pytest.param(b'{"jsonrpc":"2.0","id":-Infinity,"method":"ping"}\n', -32700, None),
        pytest.param(b"[" * 200_000 + b"\n", -32700, None, id="deep array"),
        pytest.param(b'{"a":' * 200_000 + b"\n", -32700, None, id="deep object"),
        pytest.param(b"9" * 5_000 + b"\n", -32700, None, id="a number of 5,000 digits"),
        pytest.param(line([PING]), -32600, None, id="a batch"),
        pytest.param(line([]), -32600, None, id="an empty batch"),
        pytest.param(line("ping"), -32600, None, id="a string"),
        pytest.param(line({}), -32600, None, id="an empty object"),
        pytest.param(line({"id": 7, "method": "ping"}), -32600, 7, id="no jsonrpc"),
        pytest.param(line({"jsonrpc": "2.0", "id": "x"}), -32600, "x", id="no method"),
        pytest.param(line({**PING, "method": 1}), -32600, PING["id"], id="method 1"),
        pytest.param(line({**PING, "id": None}), -32600, None, id="id null"),
        pytest.param(line({**PING, "id": True}), -32600, None, id="id true"),
        pytest.param(line({**PING, "id": 1.5}), -32600, None, id="id 1.5"),
        pytest.param(line({**PING, "id": [1]}), -32600, None, id="id an array"),
        pytest.param(
            line({"jsonrpc": "2.0", "id": 1, "method": "server/discover"}),
            -32601,
            1,
            id="server/discover",
        ),
        pytest.param(line({**PING, "id": 1, "params": [1]}), -32602, 1, id="params []"),
        pytest.param(line(initialize(None)), -32602, "hello", id="no version"),
        pytest.param(line(initialize(20241105)), -32602, "hello", id="version a number"),
    ],
)
def test_a_wrong_message_gets_its_error_and_the_next_its_answer(
    raw: bytes, code: int, id: Any
) -> None:
    error, pong = said(raw + line(PING))
    assert (error["error"]["code"], error["id"]) == (code, id)
    assert error["jsonrpc"] == "2.0" and isinstance(error["error"]["message"], str)
    assert pong == PONG


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nope", {}),
        (None, {}),
        (["add"], {}),
        ("add", None),
        ("add", [2, 3]),
        ("add", {"a": 2}),
        ("add", {"a": 2, "b": "3"}),
        ("add", {"a": 2, "b": True}),
        ("add", {"a": 2, "b": 3, "c": 4}),
        ("echo", {"message": 5}),
    ],
)
def test_a_wrong_call_is_invalid_params(name: Any, arguments: Any) -> None:
    _, error, pong = said(b"".join(map(line, [initialize(), call(name, arguments), PING])))
    assert (error["id"], error["error"]["code"]) == (1, -32602)
    assert pong == PONG


def test_infinity_in_the_disguise_of_a_number_is_no_number() -> None:
    raw = line(call("add", {"a": 1, "b": 2})).replace(b'"b": 2', b'"b": 1e999')
    assert said(line(initialize()) + raw)[1]["error"]["code"] == -32602


@pytest.mark.parametrize(("a", "b"), [(1e308, 1e308), (10**400, 0.5), (10**4299, 9 * 10**4299)])
def test_a_tool_that_fails_gives_a_result(a: Any, b: Any) -> None:
    _, reply = said(line(initialize()) + line(call("add", {"a": a, "b": b})))
    assert reply["result"]["isError"] is True
    assert reply["result"]["content"][0]["text"].startswith("add failed")


@pytest.mark.parametrize("text", ["two\nlines\r\n", "\u2028\u2029\x85", "日本 é", "\ud800", ""])
def test_every_string_comes_back_in_one_line_of_ascii(text: str) -> None:
    process = start()
    message = line(initialize()) + line(call("echo", {"message": text})) + line(PING)
    output, _ = process.communicate(message, timeout=10)
    assert output.isascii()
    _, reply, pong = map(json.loads, output.splitlines())
    assert pong == PONG
    assert reply["result"]["content"][0]["text"] == text


def test_notifications_and_responses_get_no_answer() -> None:
    silent = [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/nobody/knows"},
        {"jsonrpc": "2.0", "method": "tools/call", "params": 5},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 2, "error": {"code": 1, "message": "no"}},
    ]
    assert said(b"".join(map(line, [*silent, PING]))) == [PONG]


def test_nothing_but_ping_before_initialize() -> None:
    early = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    error, pong = said(line(early) + line(PING))
    assert (error["id"], error["error"]["code"]) == (1, -32600)
    assert pong == PONG


def test_line_ends_of_windows_empty_lines_and_a_last_line_without_end() -> None:
    raw = line(PING).replace(b"\n", b"\r\n") + b"\n \r\n" + line(PING).rstrip()
    assert said(raw) == [PONG, PONG]


def test_an_answer_comes_while_stdin_is_open(server: subprocess.Popen[bytes]) -> None:
    assert ask(server, PING) == PONG
    assert ask(server, PING) == PONG


def test_a_line_that_is_too_long_is_refused_and_takes_no_memory(
    server: subprocess.Popen[bytes],
) -> None:
    assert server.stdin is not None and server.stdout is not None
    assert ask(server, PING) == PONG
    before = psutil.Process(server.pid).memory_info().rss
    largest = before
    for _ in range(40):
        server.stdin.write(b"x" * 1024 * 1024)
        server.stdin.flush()
        largest = max(largest, psutil.Process(server.pid).memory_info().rss)
    server.stdin.write(b"\n")
    server.stdin.flush()
    error = json.loads(server.stdout.readline())
    assert (error["id"], error["error"]["code"]) == (None, -32600)
    assert ask(server, PING) == PONG
    assert largest - before < 16 * 1024 * 1024


@pytest.fixture(scope="module")
def stdio_server() -> Iterator[Any]:
    """The server as a module: its neighbours are found as when it is started as a program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SERVER.parent)
        yield load(SERVER)


def test_a_line_of_exactly_the_largest_size_is_taken(stdio_server: Any) -> None:
    largest = stdio_server.MAX_LINE
    padded = json.dumps(PING).encode().ljust(largest - 1) + b"\n"
    assert said(padded) == [PONG]
    assert said(b" " + padded)[0]["error"]["code"] == -32600


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_without_complaint(
    server: subprocess.Popen[bytes], how: signal.Signals
) -> None:
    assert ask(server, PING) == PONG
    server.send_signal(how)
    output, log = server.communicate(timeout=2)
    assert (server.returncode, output) == (0, b"")
    assert b"Traceback" not in log


@pytest.mark.parametrize("also_stderr", [False, True])
def test_a_client_that_vanished_is_no_failure(
    server: subprocess.Popen[bytes], also_stderr: bool
) -> None:
    assert server.stdin and server.stdout and server.stderr
    assert ask(server, PING) == PONG
    server.stdout.close()
    if also_stderr:
        server.stderr.close()
    server.stdin.write(line(PING))
    server.stdin.flush()
    assert server.wait(timeout=2) == 0
    if not also_stderr:
        assert b"Traceback" not in server.stderr.read()


def test_a_client_that_does_not_want_the_log_is_served_all_the_same() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, str(SERVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writing,
    )
    os.close(writing)
    output, _ = process.communicate(line(PING), timeout=10)
    assert json.loads(output) == PONG
    assert process.returncode == 0


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
def test_a_full_disk_takes_the_log_and_not_the_session() -> None:
    with FULL.open("wb") as full:
        process = [sys.executable, str(SERVER)]
        logged = subprocess.run(
            process, input=line(PING), stdout=subprocess.PIPE, stderr=full, timeout=10
        )
        written = subprocess.run(
            process, input=line(PING), stdout=full, stderr=subprocess.PIPE, timeout=10
        )
    assert (logged.returncode, json.loads(logged.stdout)) == (0, PONG)
    assert written.returncode == 1
    assert written.stderr.decode().splitlines()[1:] == [
        written.stderr.decode().partition(":")[0]
        + ": stdin or stdout cannot be used: No space left on device"
    ]


def test_what_a_tool_or_its_child_prints_does_not_reach_the_client() -> None:
    noisy = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import stdio_server, tools\n"
        "def run(message):\n"
        "    print('printed by the tool', flush=True)\n"
        "    os.system('echo printed by a child; cat')\n"  # cat would eat the next message
        "    return message\n"
        "tools.TOOLS['echo'] = tools.Tool('echo', '', {'message': 'string'}, run)\n"
        "stdio_server.main()"
    )
    messages = [initialize(), call("echo", {"message": "hi"}), PING]
    done = subprocess.run(
        [sys.executable, "-c", noisy, str(SERVER.parent)],
        input=b"".join(map(line, messages)),
        capture_output=True,
        timeout=10,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    _, reply, pong = [json.loads(one) for one in done.stdout.splitlines()]
    assert reply["result"]["content"][0]["text"] == "hi"
    assert pong == PONG
    assert b"printed by the tool\nprinted by a child" in done.stderr


def test_the_server_and_its_two_neighbours_run_from_any_folder(tmp_path: Path) -> None:
    for name in ("stdio_server.py", "json_rpc.py", "tools.py"):
        shutil.copy(SERVER.parent / name, tmp_path)
    for program, cwd in ((SERVER, tmp_path), (tmp_path / SERVER.name, Path("/"))):
        done = subprocess.run(
            [sys.executable, str(program)],
            input=line(PING),
            capture_output=True,
            timeout=10,
            cwd=cwd,
        )
        assert (done.returncode, json.loads(done.stdout)) == (0, PONG)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "id": st.integers() | st.text() | json_values,
        "method": st.sampled_from(["initialize", "tools/list", "tools/call", "ping"])
        | json_values,
        "params": st.fixed_dictionaries(
            {},
            optional={
                "protocolVersion": json_values,
                "name": st.sampled_from(["add", "echo"]) | json_values,
                "arguments": st.dictionaries(
                    st.sampled_from(["a", "b", "message"]), json_values
                ),
            },
        )
        | json_values,
    },
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=30) | requests.map(lambda one: json.dumps(one).encode())))
def test_whatever_comes_in_only_messages_go_out(stdio_server: Any, lines: list[bytes]) -> None:
    incoming = io.BytesIO(b"".join(one + b"\n" for one in [*lines, json.dumps(PING).encode()]))
    outgoing = io.BytesIO()
    stdio_server.serve(incoming, outgoing, stdio_server.Session())
    replies = outgoing.getvalue().split(b"\n")
    assert replies.pop() == b""
    for raw in replies:
        reply = json.loads(raw, parse_constant=pytest.fail)
        assert reply["jsonrpc"] == "2.0" and ("result" in reply) != ("error" in reply)
        assert "id" in reply
    assert json.loads(replies[-1]) == PONG
