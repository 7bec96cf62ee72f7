"""Lesson 07's client of the TypeScript SDK, as a learner runs it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.parts import missing, require
from workshop.course import ROOT
from workshop.running import HOST, Program, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

NODE = ROOT / "scripts/07_sdk_client/node"
CLIENT = NODE / "client.mjs"


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(ROOT / "scripts/05_sse_server/sse_server.py") as program:
        yield program


def require_sdk() -> str:
    """The path of Node, where the client's packages are installed."""
    if not (NODE / "node_modules/@modelcontextprotocol/sdk").is_dir():
        missing("The TypeScript SDK", "npm ci --prefix scripts/07_sdk_client/node")
    return require("node")


def run(*arguments: str, client: Path = CLIENT) -> tuple[int, str]:
    """The client's exit status and all that it printed."""
    node = require_sdk() if client is CLIENT else require("node")
    done = subprocess.run(
        [node, str(client), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert "    at " not in done.stdout  # no stack trace
    assert "\x1b" not in done.stdout  # nothing that a terminal would obey
    return done.returncode, done.stdout


def test_it_lists_and_calls(server: Program) -> None:
    url = f"{server.url}/sse"
    status, listed = run(url)
    assert status == 0
    assert listed == (
        "Connected to sse-server-by-hand 1.0.0. Its tools:\n"
        "  echo message:string\n"
        "      Say a message back.\n"
        "  add a:number b:number\n"
        "      Add two numbers.\n"
    )
    lesson = (ROOT / "lessons/07_sdk_client.md").read_text(encoding="utf-8")
    command = "$ node scripts/07_sdk_client/node/client.mjs http://127.0.0.1:8000/sse"
    assert f"\n{command}\n{listed}{command} add 2 5\n7\n```\n" in lesson
    assert run(url, "add", "-2", "5") == (0, "3\n")
    # A string argument stays one, whatever it looks like.
    assert run(url, "echo", "7.0") == (0, "7.0\n")


def test_the_conversation(server: Program) -> None:
    arguments = '{"a": 2, "b": 5}'
    status, printed = run("--conversation", f"{server.url}/sse", "add", arguments)
    *lines, result = printed.splitlines()
    assert (status, result) == (0, "7")
    assert [line.split("  ")[:2] for line in lines] == [
        ["1", "client → server"],
        ["2", "server → client"],
        ["3", "client → server"],
        ["4", "client → server"],
        ["5", "server → client"],
        ["6", "client → server"],
        ["7", "server → client"],
    ]
    assert '"method":"initialize"' in lines[0]
    assert '"protocolVersion":"2024-11-05"' in lines[1]
    assert '"method":"notifications/initialized"' in lines[2]
    assert '"name":"add","arguments":{"a":2,"b":5}' in lines[5]


def test_calls_that_fail(server: Program) -> None:
    url = f"{server.url}/sse"
    wrong = "MCP error -32602: The argument 'b' must be a number\n"
    assert run(url, "add", "2", "five") == (1, wrong)
    assert run(url, "add", "1", "2", "3") == (1, "add takes 2 arguments, not 3\n")
    assert run(url, "nope") == (1, "No tool is named nope. The tools are: echo, add\n")


def test_the_sdk_servers_tools() -> None:
    with running(ROOT / "scripts/06_sdk_server/calculator.py") as server:
        url = f"{server.url}/sse"
        # A tool that fails says why in its result.
        status, printed = run(url, "divide", "1", "0")
        assert status == 1
        assert "Division by zero" in printed
        # Progress prolongs the time: all in all it takes longer than the limit.
        status, printed = run("--timeout", "4", url, "add_slowly", "[2, 5]", "2.2")
        assert (status, printed.splitlines()[-1]) == (0, "7.0")
        assert printed.startswith("1 of 2: 2 so far\n")


def test_progress_that_comes_in_one_piece_with_the_result_is_dropped() -> None:
    with running(ROOT / "tests/servers/strange_sse.py") as server:
        status, printed = run(f"{server.url}/progress/sse", "repeat", "x")
    assert (status, printed.splitlines()[0]) == (0, "x")


RESTARTED = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { DEFAULT_REQUEST_TIMEOUT_MSEC } from "@modelcontextprotocol/sdk/shared/protocol.js";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";

const client = new Client({ name: "test", version: "1" });
await client.connect(new SSEClientTransport(new URL(process.argv[1])));
console.log("connected", DEFAULT_REQUEST_TIMEOUT_MSEC);
await once(process.stdin, "data");
const call = { name: "echo", arguments: { message: "still there?" } };
const failure = () => client.callTool(call).catch((error) => error);
// To the endpoint of the session that is over.
console.log((await failure()).message.trim());
// Until its EventSource has opened the stream again, and with it another session.
let error;
while ((error = await failure()).code !== -32600) await setTimeout(20);
console.log(error.message);
await client.close();
"""


def test_the_sdk_alone_does_not_initialize_after_a_restart() -> None:
    """Why client.mjs takes a broken stream for the end, and what a failed POST throws."""
    server, node, port = (
        ROOT / "scripts/05_sse_server/sse_server.py",
        require_sdk(),
        free_port(),
    )
    with running(server, port=port) as program:
        client = subprocess.Popen(
            [node, "--input-type=module", "--eval", RESTARTED, f"{program.url}/sse"],
            cwd=NODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        assert client.stdout.readline() == "connected 60000\n"
    with running(server, port=port):
        printed, _ = client.communicate("go on\n", timeout=30)
    first, second = printed.splitlines()
    assert first.startswith("Error POSTing to endpoint (HTTP 404): No such session")
    assert second == "MCP error -32600: The first request of a session is initialize"


# --- Servers that are not there, or are none ------------------------------------------------


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    """The URL of a server whose every path goes wrong in a way of its own."""
    answers: dict[str, bytes] = {
        "/silent": b"",
        "/foreign": b"event: endpoint\ndata: http://evil.example/message\n\n",
        "/gone": b"event: endpoint\ndata: /404\n\n",
        "/breaks": b"event: endpoint\ndata: /202\n\n",
    }
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in answers:
                self.answer(200 if self.path == "/page" else 404)
                return
            self.answer(200, "text/event-stream")
            self.wfile.write(answers[self.path])
            if self.path != "/breaks":
                over.wait()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(int(self.path.strip("/")))
            self.wfile.write(b"\x1b[2J")

        def answer(self, status: int, kind: str = "text/html") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://{HOST}:{server.server_port}"
        over.set()
        server.shutdown()


SAYS = {
    "/nothing": "{odd} has no /nothing. It is often /sse.",
    "/page": "{odd}/page is not an event stream: ",
    "/foreign": "Endpoint origin does not match connection origin: http://evil.example",
    "/gone": r"Error POSTing to endpoint (HTTP 404): \u{{1b}}[2J",
    "/breaks": "The stream ended, and with it the session",
    "/silent": "{odd}/silent did not shake hands within 1 s: is it an MCP server",
}


@pytest.mark.parametrize("path", SAYS)
def test_no_mcp_server(odd: str, path: str) -> None:
    status, printed = run("--timeout", "1" if path == "/silent" else "20", odd + path)
    assert status == 1
    assert printed.startswith(SAYS[path].format(odd=odd))
    assert printed.count("\n") == 1


def test_pages_of_tools_have_an_end() -> None:
    with running(ROOT / "tests/servers/strange_sse.py") as strange:
        status, printed = run("--timeout", "20", f"{strange.url}/endless/sse")
    assert status == 0
    assert printed.count("  repeat text:string times:integer\n") == 100


def test_nothing_listens() -> None:
    port = free_port()
    status, printed = run(f"http://{HOST}:{port}/sse")
    assert status == 1
    assert printed.startswith(f"Nothing answers at http://{HOST}:{port}: ")
    assert "ECONNREFUSED" in printed


def test_a_wrong_command_line() -> None:
    assert run() == run("--no-such-option") == run("ftp://127.0.0.1/")
    assert run()[1].startswith("Usage: node client.mjs ")


def test_without_the_sdk_it_says_how_to_install_it(tmp_path: Path) -> None:
    client = Path(shutil.copy(CLIENT, tmp_path))
    status, printed = run("http://127.0.0.1:8000/sse", client=client)
    assert status == 1
    assert printed.startswith(
        "The TypeScript SDK is not installed. Once: npm install --prefix "
    )
    assert printed.rstrip("\n").endswith(tmp_path.name)
