"""Lesson 04's client, the stray print, the comparison, and other people's clients."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from mcp import ClientSession, MCPError, StdioServerParameters
from mcp.client import Client, session
from mcp.client.stdio import stdio_client

from tests.parts import missing, require
from workshop.course import ROOT
from workshop.running import environment, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/04_stdio_server"
SERVER = FOLDER / "stdio_server.py"
SOLUTION = ROOT / "solutions/04_stdio_server/exercise.py"
CLIENT = FOLDER / "stdio_client.py"
NODE = ROOT / "tests/node"
SSE_SERVER = ROOT / "scripts/05_sse_server/sse_server.py"


def run(program: Path, *arguments: str, seconds: float = 20) -> tuple[int, str]:
    """The exit status of one of our programs and all that it printed."""
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        env=environment(),
        cwd=ROOT,
    )
    return done.returncode, done.stdout.decode()


def parameters(program: Path) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[str(program)])


def test_the_client_prints_every_message_numbered_and_within_80_columns() -> None:
    status, output = run(CLIENT)
    assert status == 0
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    numbered = re.findall(r"^ ?(\d+) (client|server) [>!]", output, re.MULTILINE)
    assert [int(number) for number, _ in numbered] == list(range(1, 12))
    assert [who for _, who in numbered].count("client") == 6
    assert "The server exited after its stdin was closed, exit status 0." in lines


def test_the_client_says_when_a_server_is_silent_and_ends_it_as_the_spec_has_it(
    tmp_path: Path,
) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    status, output = run(CLIENT, "--timeout", "0.2", str(deaf))
    assert status == 1
    assert "No answer to request 1, initialize, within 0.2 s." in output
    assert f"The server exited after SIGTERM, exit status {-signal.SIGTERM}." in output


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    status, output = run(CLIENT, "--timeout", "0.2", str(stubborn))
    assert status == 1
    assert f"The server exited after SIGKILL, exit status {-signal.SIGKILL}." in output


@pytest.mark.parametrize(
    ("program", "says"),
    [
        # Those that end or close something have read the request: else what the client says
        # would depend on whether it is quicker.
        ("input(); raise SystemExit('no such database')", "the server closed its stdout"),
        ("import os, time; input(); os.close(0); time.sleep(1)", "No answer to request 1"),
        (
            "import os, time; input(); os.close(0)\n"
            'result = \'{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}\'\n'
            'print(f\'{{"jsonrpc":"2.0","id":1,"result":{result}}}\', flush=True)\n'
            "time.sleep(1)",
            "The server no longer reads its stdin.",
        ),
        (
            'print(\'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"1"}}\', flush=True)\n'
            "input()",
            "No revision in common: the server answered 1.",
        ),
        (
            'print(\'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}\',\n'
            "      flush=True)\ninput()",
            "The answer to initialize has no result that is an object.",
        ),
        (
            'print(\'{"jsonrpc":"2.0","id":1,"result":null}\', flush=True)\ninput()',
            "The answer to initialize has no result that is an object.",
        ),
        ("print('[' * 100_000, flush=True); input()", "^ this line is not a JSON-RPC message"),
        (
            'input(); print(end=\'{"jsonrpc": "2.0\', flush=True)',
            "the server closed its stdout",
        ),
        (
            "while True: print('still at it')",
            "No answer to request 1, initialize, within 0.5 s.",
        ),
        (
            "import sys\nwhile True: sys.stdout.write('x' * 65_536)",
            "No answer to request 1, initialize, within 0.5 s.",
        ),
        (
            "import sys, time\n"
            'body = \'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}\'\n'
            "sys.stdout.write(f'Content-Length: {len(body)}\\r\\n\\r\\n{body}')\n"
            "sys.stdout.flush()\ntime.sleep(60)",
            "No answer to request 1",
        ),
    ],
)
def test_the_client_says_what_is_wrong_with_a_server(
    tmp_path: Path, program: str, says: str
) -> None:
    path = tmp_path / "server.py"
    path.write_text(program, encoding="utf-8")
    status, output = run(CLIENT, "--timeout", "0.5", str(path))
    assert status == 1
    assert says in output
    assert "stdio_client.py" not in output, "a traceback"


def test_the_client_shows_what_a_dead_server_wrote_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text("raise SystemExit('no such database')", encoding="utf-8")
    assert "    no such database" in run(CLIENT, str(path))[1]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_the_client_refuses_a_time_that_is_none(timeout: str) -> None:
    status, output = run(CLIENT, f"--timeout={timeout}")
    assert status == 2
    assert "--timeout is a number of seconds" in output


@pytest.mark.parametrize("program", [[CLIENT], [FOLDER / "compare.py", SSE_SERVER]])
def test_nobody_complains_when_its_reader_has_enough(program: list[Path]) -> None:
    process = subprocess.Popen(
        [sys.executable, *map(str, program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=10)


def test_the_client_says_when_a_command_does_not_exist() -> None:
    assert run(CLIENT, "no-such-command") == (
        1,
        "Cannot start no-such-command: No such file or directory\n",
    )


def test_a_server_that_logs_a_lot_does_not_stall(tmp_path: Path) -> None:
    """Both outputs are read all the time: a full pipe would stop the server."""
    chatty = tmp_path / "chatty.py"
    chatty.write_text(
        f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nimport stdio_server\n"
        "print('x' * 79 + '\\n', end='', file=sys.stderr, flush=True)\n"
        "for _ in range(5_000):\n    print('y' * 79, file=sys.stderr)\n"
        "stdio_server.main()\n",
        encoding="utf-8",
    )
    assert run(CLIENT, str(chatty))[0] == 0
    # And this is what becomes of it when nobody reads its stderr.
    deaf = subprocess.Popen(
        [sys.executable, str(chatty)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert deaf.stdin is not None and deaf.stdout is not None
        deaf.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        deaf.stdin.flush()
        assert not select.select([deaf.stdout], [], [], 1.0)[0], "it answered"
        assert deaf.poll() is None
    finally:
        deaf.kill()
        deaf.communicate()


def test_the_stray_print_destroys_the_answer_behind_it() -> None:
    status, output = run(CLIENT, "--timeout", "2", str(FOLDER / "stray_print_broken.py"))
    assert status == 1
    assert ' 7 server ! running a tool ... {"jsonrpc": "2.0", "id": 3, "result"' in output
    assert "No answer to request 3, tools/call, within 2 s." in output


def test_the_same_print_on_stderr_does_no_harm() -> None:
    status, output = run(CLIENT, str(FOLDER / "stray_print_fixed.py"))
    assert status == 0
    assert " ! " not in output
    assert "    running a tool ... running a tool ..." in output


async def test_the_stray_print_makes_the_official_client_wait_in_vain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        stdio_client(parameters(FOLDER / "stray_print_broken.py")) as (read, write),
        ClientSession(read, write, read_timeout_seconds=2) as peer,
    ):
        await peer.initialize()
        assert len((await peer.list_tools()).tools) == 2
        with pytest.raises(MCPError, match="timed out"):
            await peer.call_tool("add", {"a": 2, "b": 3})
    assert "Failed to parse JSONRPC message from server" in caplog.text


async def test_a_stray_line_of_its_own_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nimport stdio_server\n"
        "print('hello', flush=True)\nstdio_server.main()\n",
        encoding="utf-8",
    )
    status, output = run(CLIENT, str(path))
    assert status == 0
    assert " 2 server ! hello" in output
    async with (
        stdio_client(parameters(path)) as (read, write),
        ClientSession(read, write, read_timeout_seconds=5) as peer,
    ):
        await peer.initialize()
        result = await peer.call_tool("add", {"a": 2, "b": 3})
        assert result.content[0].model_dump()["text"] == "5"


async def test_silence_on_server_discover_stalls_the_official_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.DISCOVER_TIMEOUT_SECONDS == 10, "what the lesson says"
    monkeypatch.setattr(session, "DISCOVER_TIMEOUT_SECONDS", 1.5)
    path = tmp_path / "server.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\nimport stdio_server as s\n"
        "answer = s.answer\n"
        "s.answer = lambda message, session: (\n"
        "    None if message['method'] == 'server/discover' else answer(message, session))\n"
        "s.main()\n",
        encoding="utf-8",
    )
    began = time.monotonic()
    async with Client(stdio_client(parameters(path)), read_timeout_seconds=5) as client:
        assert time.monotonic() - began > 1.5
        assert client.protocol_version == "2025-11-25"


async def test_the_official_sessions_handshake() -> None:
    async with (
        stdio_client(parameters(SERVER)) as (read, write),
        ClientSession(read, write, read_timeout_seconds=5) as peer,
    ):
        agreed = await peer.initialize()
        assert agreed.protocol_version == "2025-11-25"
        assert agreed.server_info.name == "stdio-server-by-hand"
        await peer.send_ping()
        assert [tool.name for tool in (await peer.list_tools()).tools] == ["echo", "add"]
        sum_ = await peer.call_tool("add", {"a": 2, "b": 3})
        assert sum_.content[0].model_dump()["text"] == "5"
        text = "two\nlines, \u2028 and 日本"
        echo = await peer.call_tool("echo", {"message": text})
        assert echo.content[0].model_dump()["text"] == text
        with pytest.raises(MCPError, match="No tool is named 'nope'"):
            await peer.call_tool("nope", {})


@pytest.mark.parametrize("program", [SERVER, SOLUTION], ids=["lesson", "exercise"])
async def test_the_official_client_probes_first_and_does_not_stall(program: Path) -> None:
    """It asks `server/discover`; -32601 tells it at once that this is an older server."""
    began = time.monotonic()
    async with Client(stdio_client(parameters(program)), read_timeout_seconds=5) as client:
        assert client.protocol_version == "2025-11-25"
        assert time.monotonic() - began < 3
        result = await client.call_tool("add", {"a": 2, "b": 3})
        assert result.content[0].model_dump()["text"] == "5"


async def test_the_server_leaves_when_the_official_client_does(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("w", encoding="utf-8") as errlog:
        async with (
            stdio_client(parameters(SERVER), errlog=errlog) as (read, write),
            ClientSession(read, write, read_timeout_seconds=5) as peer,
        ):
            await peer.initialize()
            pid = int(re.findall(r"\[(\d+)\]", log.read_text(encoding="utf-8"))[0])
    assert "stdin ended, messages read: 2" in log.read_text(encoding="utf-8")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("program", [SERVER, SOLUTION], ids=["lesson", "exercise"])
def test_the_typescript_sdks_client(program: Path) -> None:
    node = require("node")
    if not (NODE / "node_modules/@modelcontextprotocol/sdk").is_dir():
        missing("The TypeScript SDK", "npm ci --prefix tests/node")
    done = subprocess.run(
        [node, "stdio_client.mjs", sys.executable, str(program)],
        cwd=NODE,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("server") in ("stdio-server-by-hand", "exercise-04")
    assert sorted(found.pop("tools")) == ["add", "echo"]
    assert found == {
        "sum": "5",
        "echo": "two\nlines, \u2028 and 日本",
        "unknown": -32602,
    }


def rows(output: str) -> dict[str, tuple[str, str]]:
    """The table of compare.py: what stands in its two columns, by the first."""
    found = {}
    for line in output.splitlines():
        cells = re.split(r"\s{2,}", line)
        if len(cells) == 3:
            found[cells[0]] = (cells[1], cells[2])
    return found


def test_the_comparison() -> None:
    status, output = run(FOLDER / "compare.py", str(SSE_SERVER), "--calls", "50", seconds=60)
    assert status == 0, output
    assert max(map(len, output.splitlines())) <= 80
    table = rows(output)
    stdio, sse = table["server processes"]
    assert re.fullmatch(r"2: \d+, \d+", stdio) and re.fullmatch(r"1: \d+", sse)
    assert table["clients a server knows"] == ("1", "2")
    assert table["a server dies, answered"] == ("1 of 2 clients", "0 of 2 clients")
    # It had a state of its own: the other server's calls are not in its count.
    assert "The second stdio server, on its stderr: stdin ended, messages read: 4" in output
    # What the lesson says about the times: a pipe is quicker, and for one more client a
    # process takes longer to start than a stream to open.
    for row, quicker in (("a call, median", 0), ("second client ready", 1)):
        times = [float(cell.split()[0]) for cell in table[row]]
        assert times[quicker] < times[1 - quicker], output


def test_the_comparison_with_a_server_that_runs_already() -> None:
    with running(SSE_SERVER) as server:
        status, output = run(FOLDER / "compare.py", server.url, "--calls", "5", seconds=60)
    assert status == 0, output
    table = rows(output)
    assert table["clients a server knows"] == ("1", "2")
    assert table["a server dies, answered"] == ("1 of 2 clients", "not tried: not our process")


def test_the_comparison_says_when_there_is_nothing_to_compare_with() -> None:
    assert run(FOLDER / "compare.py", "nowhere.py") == (
        1,
        "nowhere.py did not start. Run it alone to see why.\n",
    )
    status, output = run(FOLDER / "compare.py", "http://127.0.0.1:9")
    assert (status, output.count("\n")) == (1, 1)
    assert output.startswith("Nothing listens at http://127.0.0.1:9.")
    status, output = run(FOLDER / "compare.py", str(SSE_SERVER), "--calls", "0")
    assert status == 2
    assert "--calls is at least 1" in output


@pytest.mark.parametrize("what", ["silent", "another"])
def test_the_comparison_says_when_something_else_listens(what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        if what == "another":
            answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            threading.Thread(target=lambda: other.accept()[0].sendall(answer)).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert run(FOLDER / "compare.py", url) == (
            1,
            f"{url} does not answer as lesson 05's server does.\n",
        )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_comparison_leaves_nothing_behind(how: signal.Signals) -> None:
    process = psutil.Popen(
        [sys.executable, str(FOLDER / "compare.py"), str(SSE_SERVER), "--calls", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    deadline = time.monotonic() + 30
    while len(children := process.children()) < 3:
        assert time.monotonic() < deadline, "its three servers did not start"
        time.sleep(0.01)
    process.send_signal(how)
    output, _ = process.communicate(timeout=5)
    assert (process.returncode, output) == (0, b"")
    assert psutil.wait_procs(children, timeout=2)[1] == []
