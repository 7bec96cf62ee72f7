"""Lesson 05's stages: what each can do, and what the lesson shows it failing at."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.test_05_server import Stream, call, post, request, wait_for
from workshop.checks.engine import check_url
from workshop.checks.lesson_05 import suite
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/05_sse_server"
THE_DOOR = ["host", "origin", "content-type"]
# The protocol's checks that a stage fails. What waits for one of these is not named.
FAILS = {
    "first_server.py": ["unguessable"],
    "sessions_server.py": ["not-json", *THE_DOOR],
    "messages_server.py": THE_DOOR,
    "guarded_server.py": [],
    "sse_server.py": [],
}


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )


@pytest.mark.parametrize("stage", FAILS)
def test_each_stage_passes_more_of_the_protocols_checks(stage: str) -> None:
    with running(FOLDER / stage) as server:
        report = check_url(suite, f"{server.url}/sse")
    assert sorted(report.ids("failed")) == sorted(FAILS[stage]), report.as_json()


@pytest.mark.parametrize("stage", FAILS)
def test_the_sdks_client_uses_every_stage(stage: str) -> None:
    with running(FOLDER / stage) as server:
        done = run("sdk_client.py", f"{server.url}/sse")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("echo says: hello SSE\n")


def test_they_are_as_short_as_promised() -> None:
    lines = {
        name: len((FOLDER / name).read_text(encoding="utf-8").splitlines()) for name in FAILS
    }
    assert lines["first_server.py"] <= 70
    assert lines["sse_server.py"] <= 260


@pytest.mark.parametrize("stage", FAILS)
def test_who_reads_the_replies(stage: str) -> None:
    with running(FOLDER / stage) as server:
        done = run("two_clients.py", f"{server.url}/sse")
    other = "B" if stage == "first_server.py" else "A"
    assert done.stdout.splitlines() == [
        "A reads the reply to A's first question",
        f"{other} reads the reply to A's second question",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_what_waits_for_a_sleeping_reader_is_kept_in_memory_until_sse_server() -> None:
    for stage in ("guarded_server.py", "sse_server.py"):
        with running(FOLDER / stage) as server:
            memory = psutil.Process(server.process.pid)
            before = memory.memory_info().rss
            done = run("sleeping_reader.py", f"{server.url}/sse")
            grown = memory.memory_info().rss - before
        if stage == "guarded_server.py":
            assert done.stdout.endswith("It would have gone on.\n")
            assert grown > 80_000_000
        else:
            assert "status 404. The server has given up on this reader." in done.stdout
            assert grown < 40_000_000


def test_the_first_server_never_exits_while_a_stream_is_open() -> None:
    with running(FOLDER / "first_server.py") as server:
        with Stream(server):
            server.process.send_signal(signal.SIGINT)
            server.wait_for_output("Waiting for connections to close")
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(timeout=1.5)
        server.process.wait(timeout=5)


def test_a_stage_cuts_its_streams_off() -> None:
    with running(FOLDER / "sessions_server.py") as server, Stream(server) as stream:
        server.process.send_signal(signal.SIGTERM)
        assert stream.ends()
        # Without the last chunk, a client takes it for a broken network.
        assert not stream.raw.endswith(b"0\r\n\r\n")
        server.process.wait(timeout=5)
        assert "timeout graceful shutdown exceeded" in server.output


@pytest.mark.parametrize("program", ["sdk_client.py", "two_clients.py", "sleeping_reader.py"])
def test_the_clients_say_in_one_line_that_nothing_answers(program: str) -> None:
    url = f"http://{HOST}:{free_port()}/sse"
    done = run(program, url)
    assert done.returncode == 1
    assert done.stderr == f"Nothing answers at {url}. Start a server in another terminal.\n"


# --- sse_server.py, however it is started ---------------------------------------------------


def start_uvicorn(*options: str, cwd: Path = FOLDER, **settings: str) -> Program:
    """`uvicorn sse_server:app`, as a cloud starts it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "sse_server:app", "--port", str(port), *options],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment(), **settings},
    )
    program = Program(process, port)
    program.wait_until_listening(seconds=20)
    return program


def test_settings_come_from_the_environment() -> None:
    program = start_uvicorn(
        "--app-dir",
        str(FOLDER),
        cwd=ROOT,
        ALLOWED_HOSTS="mcp.example, other.example",
        ALLOWED_ORIGINS="https://app.example",
        HEARTBEAT_SECONDS="0.1",
        HEARTBEAT_STYLE="comment",
    )
    try:
        url = f"{program.url}/health"
        for host, status in (
            ("MCP.example", 200),
            ("other.example", 200),
            (f"localhost:{program.port}", 200),
            ("evil.example", 421),
            ("localhost", 421),
        ):
            assert httpx2.get(url, headers={"Host": host}).status_code == status, host
        answer = httpx2.get(url, headers={"Origin": "https://app.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        with Stream(program) as stream:
            stream.read_until(rb": heartbeat\n\n")
            program.process.terminate()
            assert stream.ends()
            assert stream.raw.endswith(b"0\r\n\r\n")
            program.process.wait(timeout=2)
    finally:
        program.stop()
    assert "Traceback" not in program.output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEARTBEAT_SECONDS", "soon", "a heartbeat every 'soon' seconds is not possible"),
        ("HEARTBEAT_SECONDS", "nan", "a heartbeat every 'nan' seconds is not possible"),
        ("HEARTBEAT_STYLE", "loud", "the heartbeat's style is event or comment, not 'loud'"),
        ("ALLOWED_ORIGINS", "*", "'*' is not an origin, such as http://localhost:8007"),
    ],
)
def test_settings_that_make_no_sense_are_named(name: str, value: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sse_server"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**environment(), name: value},
    )
    assert (done.returncode, done.stderr) == (1, f"In the environment: {said}\n")


@pytest.mark.skipif(os.name == "nt", reason="no Unix sockets")
def test_it_serves_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "mcp.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "sse_server:app", "--uds", str(path)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment(), "ALLOWED_HOSTS": "mcp.example"},
    )
    program = Program(process, 0)
    try:
        wait_for(path.exists, seconds=20)
        statuses = []
        for host in ("mcp.example", "evil.example"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(path))
                client.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                statuses.append(client.recv(100).split()[1])
        assert statuses == [b"200", b"421"]
    finally:
        program.stop()


def test_initialize_as_people_type_it() -> None:
    with running(FOLDER / "sse_server.py") as server, Stream(server) as stream:
        answer = post(server, request("initialize", {})).json()
        assert answer["result"]["protocolVersion"] == "2024-11-05"
        assert answer["result"]["serverInfo"]["name"] == "sse-server-by-hand"
        # In a session it is not enough.
        stream.ask(request("initialize", {}, request_id=1))
        assert stream.reply(1)["error"]["code"] == -32602


SLOW = """
import asyncio
import sys
from contextlib import suppress
sys.path.insert(0, {folder!r})
import sse_server
from tools import TOOLS, Tool

async def wait() -> str:
    await asyncio.sleep(60)
    return "done"

TOOLS["wait"] = Tool("wait", "Wait a minute.", {{}}, wait)
sse_server.serve(sse_server.create_app)
"""


def test_calls_that_take_long_are_bounded_and_end_with_their_session(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW.format(folder=str(FOLDER)), encoding="utf-8")
    with running(program) as server, Stream(server) as greedy, Stream(server) as other:
        greedy.initialize()
        other.initialize()
        statuses = [greedy.ask(call("wait", {}, number)).status_code for number in range(105)]
        assert statuses.index(429) >= 90
        assert set(statuses[statuses.index(429) :]) == {429}
        other.ask(request("ping", request_id="still"))
        assert json.loads(json.dumps(other.reply("still")["result"])) == {}
        # Nobody waits for a minute: not the session's end, and not the server's.
        assert server.stop() < 2
        assert server.process.returncode == 0
        assert "Traceback" not in server.output
        assert "never retrieved" not in server.output


def test_ctrl_c_again_and_again_is_no_failure() -> None:
    """Also in the moment in which Python tidies up, and would die of the signal."""
    with running(FOLDER / "sse_server.py") as server, Stream(server):
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            # Faster than any keyboard repeats, and slow enough for Python to handle each.
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(0.005)
    assert server.process.returncode == 0
    assert "Traceback" not in server.output
