"""Lesson 06: the calculator three ways, what it answers, and what the SDK's server is told."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp_types import TextResourceContents
from rich.console import Console
from rich.logging import RichHandler

from tests.sdk_parts import FOLDER, logged, program, serving, session, text_of
from workshop.checks import lesson_06
from workshop.checks.engine import Report, check_url
from workshop.checks.lesson_05 import suite
from workshop.checks.mcp_session import parsed, request
from workshop.course import ROOT
from workshop.patience import stretched
from workshop.raw_client import Server
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

TEXT = ROOT / "lessons/06_sdk_server.md"
CALCULATOR = FOLDER / "calculator.py"
SMALLEST = FOLDER / "smallest_server.py"
FOUR = ["add", "subtract", "multiply", "divide"]


@pytest.fixture(scope="module")
def calculator() -> Iterator[str]:
    """The URL of the event stream of `calculator.py`."""
    with serving(program("calculator").app) as url:
        yield f"{url}/sse"


@pytest.fixture(scope="module")
def lowlevel() -> Iterator[str]:
    with serving(program("lowlevel_calculator").app) as url:
        yield f"{url}/sse"


def legacy(url: str, **options: Any) -> Client:
    return Client(sse_client(url), mode="legacy", read_timeout_seconds=20, **options)


# --- The same tools -----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["calculator", "lowlevel"])
async def test_the_four_tools(which: str, request: pytest.FixtureRequest) -> None:
    async with legacy(request.getfixturevalue(which)) as client:
        assert client.protocol_version == "2025-11-25"
        assert [tool.name for tool in (await client.list_tools()).tools][:4] == FOUR
        for tool, wanted in zip(FOUR, (10, 6, 16, 4), strict=True):
            result = await client.call_tool(tool, {"a": 8, "b": 2})
            assert not result.is_error
            assert float(text_of(result)) == wanted
        failed = await client.call_tool("divide", {"a": 1, "b": 0})
        assert failed.is_error
        assert "division by zero" in text_of(failed).lower()
        too_large = await client.call_tool("multiply", {"a": 1e308, "b": 10})
        assert too_large.is_error
        assert "the result is too large" in text_of(too_large).lower()
        # What there is no handler for is not announced.
        announced = client.server_capabilities
        assert announced.tools is not None
        assert (announced.resources is None) is (which == "lowlevel")
        assert (announced.prompts is None) is (which == "lowlevel")


async def test_a_structured_result_a_resource_and_a_prompt(calculator: str) -> None:
    async with legacy(calculator) as client:
        assert (await client.call_tool("add", {"a": 2, "b": 5})).structured_content == {
            "result": 7
        }
        (pi,) = (await client.list_resources()).resources
        (content,) = (await client.read_resource(pi.uri)).contents
        assert isinstance(content, TextResourceContents)
        assert (content.mime_type, content.text) == ("text/plain", "3.141592653589793")
        with pytest.raises(MCPError) as missing:
            await client.read_resource("calculator://constants/e")
        assert missing.value.code == -32602
        (prompt,) = (await client.list_prompts()).prompts
        (message,) = (await client.get_prompt(prompt.name, {"text": "1 + 1?"})).messages
        assert message.content.model_dump()["text"].endswith("1 + 1?")


WRONG_ARGUMENTS = [
    {"a": 1},
    {"a": 1, "b": "2"},
    {"a": 1, "b": True},
    {"a": 1, "b": None},
    {"a": [1], "b": 2},
]


async def test_wrong_arguments(calculator: str, lowlevel: str) -> None:
    """`MCPServer` lets the model read what was wrong; below it, the choice is ours: -32602."""
    async with legacy(calculator) as client:
        for arguments in WRONG_ARGUMENTS:
            result = await client.call_tool("add", arguments)
            assert result.is_error
            assert text_of(result).startswith("Error executing tool add: ")
        assert text_of(await client.call_tool("nothing", {})) == "Unknown tool: nothing"
        # It takes no notice of an argument too many.
        assert not (await client.call_tool("add", {"a": 1, "b": 2, "c": 3})).is_error
    async with legacy(lowlevel) as client:
        for arguments in [*WRONG_ARGUMENTS, {"a": 1, "b": 2, "c": 3}, {}]:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("add", arguments)
            assert refused.value.code == -32602
        with pytest.raises(MCPError) as refused:
            await client.call_tool("nothing", {})
        assert refused.value.code == -32602


@pytest.mark.parametrize("which", ["calculator", "lowlevel"])
def test_a_number_that_is_infinity(which: str, request: pytest.FixtureRequest) -> None:
    """1e999 is good JSON, and infinity in Python. Neither server answers with it."""
    body = (
        b'{"jsonrpc":"2.0","id":9,"method":"tools/call",'
        b'"params":{"name":"add","arguments":{"a":1e999,"b":1}}}'
    )
    with session(request.getfixturevalue(which)) as opened:
        assert opened.post(body, seconds=10).status == 202
        event = opened.reply(9, seconds=10)
        assert event is not None
        assert '"isError":true' in event.data


async def test_a_server_in_twenty_lines() -> None:
    assert len(SMALLEST.read_text(encoding="utf-8").splitlines()) <= 20
    async with Client(program("smallest_server").server, mode="legacy") as client:
        assert text_of(await client.call_tool("add", {"a": 2, "b": 5})) == "7.0"


async def test_a_plain_float_takes_more_than_numbers() -> None:
    """So says the comment on `Number`."""
    from mcp.server import MCPServer

    server = MCPServer("plain")

    @server.tool()
    def same(a: float) -> float:
        return a

    async with Client(server, mode="legacy") as client:
        for loose, taken in (("2", "2.0"), (True, "1.0")):
            assert text_of(await client.call_tool("same", {"a": loose})) == taken
    with (
        serving(server.sse_app()) as url,
        session(f"{url}/sse") as opened,
    ):
        opened.post(
            b'{"jsonrpc":"2.0","id":9,"method":"tools/call",'
            b'"params":{"name":"same","arguments":{"a":1e999}}}',
            seconds=10,
        )
        event = opened.reply(9, seconds=10)
        assert event is not None
        assert '"text":"Infinity"' in event.data
        # And null is no number, which the tool's output schema promises.
        assert '"structuredContent":{"result":null}' in event.data


async def test_what_an_unexpected_exception_tells_the_client_and_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client hears nothing but the tool's name, and the log is drawn on the event loop."""
    from mcp.server import MCPServer

    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(root, "handlers", [])  # as in a process that has just started
    server = MCPServer("careless")

    @server.tool()
    def divide(a: float, b: float) -> float:
        return a / b

    async def log_of_a_crash() -> list[str]:
        """The lines in the log. That they are written on the event loop is asserted."""
        (handler,) = root.handlers
        log = io.StringIO()
        if isinstance(handler, RichHandler):
            handler.console = Console(file=log, width=80)
        else:
            assert isinstance(handler, logging.StreamHandler)
            handler.stream = log
        loops = []
        emit = handler.emit

        def seen(record: logging.LogRecord) -> None:
            if record.exc_info:
                loops.append(asyncio.get_running_loop())  # raises on any other thread
            emit(record)

        monkeypatch.setattr(handler, "emit", seen)
        async with Client(server, mode="legacy") as client:
            result = await client.call_tool("divide", {"a": 1, "b": 0})
        assert result.is_error
        assert text_of(result) == "Error executing tool divide"
        assert len(loops) == 1
        assert "ZeroDivisionError: " in log.getvalue()
        return log.getvalue().splitlines()

    try:
        drawn = await log_of_a_crash()
        program("serving").log_briefly()
        brief = await log_of_a_crash()
    finally:
        root.setLevel(level)
    assert len(drawn) > 100
    assert len(brief) < 50


# --- Progress, live -----------------------------------------------------------------------


async def test_progress_is_shown_while_the_tool_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool does not go on before the client's program has printed the first line."""
    calculator = program("calculator")
    seen = threading.Event()
    steps = 0

    async def held(seconds: float) -> None:
        nonlocal steps
        steps += 1
        if steps > 1:
            assert await asyncio.to_thread(seen.wait, 20), "nothing was shown meanwhile"

    monkeypatch.setattr(calculator, "asyncio", SimpleNamespace(sleep=held))
    with serving(calculator.server.sse_app()) as url:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FOLDER / "watch_progress.py"),
            f"{url}/sse",
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert client.stdout is not None
        first = (await client.stdout.readline()).decode()
        assert "1 of 3: 1 so far" in first
        assert steps <= 2
        seen.set()
        rest = (await client.stdout.read()).decode()
        assert await client.wait() == 0
    assert "2 of 3: 3 so far" in rest
    assert "3 of 3: 6 so far" in rest
    assert rest.endswith("The result: 6.0\n")


async def test_without_a_token_nobody_is_told(calculator: str) -> None:
    """Progress goes only to a client that asked for it: the call carries a progressToken."""
    call = {"name": "add_slowly", "arguments": {"numbers": [1, 2], "seconds": 0}}
    with session(calculator) as opened:
        before = len(opened.stream.events)
        opened.post(request(8, "tools/call", call), seconds=10)
        assert opened.reply(8, seconds=10)
        assert len(opened.stream.events) == before + 1
        token = {"_meta": {"progressToken": "abc"}}
        opened.post(request(9, "tools/call", {**call, **token}), seconds=10)
        assert opened.reply(9, seconds=10)
        first = opened.stream.events[before + 1].data
        assert '"method":"notifications/progress"' in first
        assert '"progressToken":"abc"' in first
        assert len(opened.stream.events) == before + 4


# --- The checks of lesson 05, on all of them ----------------------------------------------


def table_after(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the lesson, its head first."""
    text = TEXT.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1]
    section = text.partition("\n## ")[0]
    table: str = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    ]
    return [cells[0], *cells[2:]]


SERVERS = {
    "by hand": ("05_sse_server/sse_server.py", "/sse", signal.SIGTERM),
    "`calculator.py`": ("06_sdk_server/calculator.py", "/sse", signal.SIGTERM),
    "low-level": ("06_sdk_server/lowlevel_calculator.py", "/sse", signal.SIGINT),
    "mounted": ("06_sdk_server/mounted_calculator.py", "/calculator/sse", signal.SIGTERM),
    "`run` on 0.0.0.0": ("06_sdk_server/smallest_server.py", "/sse", signal.SIGINT),
}
# On all addresses, these are guarded as before.
EVERYWHERE = {
    "calculator": ("06_sdk_server/calculator.py", "/sse", signal.SIGTERM),
    "low-level": ("06_sdk_server/lowlevel_calculator.py", "/sse", signal.SIGINT),
    "mounted": ("06_sdk_server/mounted_calculator.py", "/calculator/sse", signal.SIGTERM),
}


def test_the_checks_of_lesson_05_and_a_clean_end() -> None:
    """The text says what the checks find. Then each leaves with a stream open."""
    reports: dict[str, Report] = {}
    servers = {**SERVERS, **{f"{name} on 0.0.0.0": each for name, each in EVERYWHERE.items()}}
    with ExitStack() as stack:
        started: dict[str, tuple[Program, str, signal.Signals]] = {}
        for name, (path, stream, how) in servers.items():
            options = ("--host", "0.0.0.0") if name.endswith(" on 0.0.0.0") else ()
            server = stack.enter_context(running(ROOT / "scripts" / path, *options))
            started[name] = (server, f"{server.url}{stream}", how)
        for name, (_, url, _) in started.items():
            reports[name] = check_url(suite, url)
        # Lesson 06's own checks fit any server that is guarded.
        for name in ("by hand", "mounted"):
            report = check_url(lesson_06.suite, started[name][1])
            assert report.ok, report.as_json()
            assert len(report.results) == 3
        for name, (server, url, how) in started.items():
            if name == "by hand":
                continue  # lesson 05's own tests
            assert server.output.startswith("Serving MCP on http://127.0.0.1:")
            with Server(url).open("", seconds=10) as open_stream:
                endpoint = open_stream.event(lambda event: event.type == "endpoint", seconds=10)
                assert endpoint is not None
                if name != "`run` on 0.0.0.0":
                    # Nor does a client that stops in the middle of a message keep it.
                    stack.enter_context(half_a_post(server.port, endpoint.data))
                took = server.stop(how)
                assert server.process.returncode == 0, server.output
                assert took < stretched(2)
                # The ValueErrors are the SDK's remarks on requests that it refused.
                assert "Expected ASGI message" not in server.output
    for name in EVERYWHERE:
        assert reports[f"{name} on 0.0.0.0"].ok, reports[f"{name} on 0.0.0.0"].as_json()
    mark = {"passed": "✓", "failed": "✗"}
    found = [["The server…", *SERVERS]]
    for each in reports["by hand"].results:
        states = [
            mark[next(r.state for r in reports[name].results if r.id == each.id)]
            for name in SERVERS
        ]
        if len(set(states)) > 1:
            found.append([each.title.replace("|", "\\|"), *states])
    assert table_after("Who may come in") == found
    everything = len(reports["by hand"].results)
    assert f"\nAll {everything} checks passed in " in TEXT.read_text(encoding="utf-8")


def half_a_post(port: int, path: str) -> socket.socket:
    """A connection on which the first byte of a message was sent, and no more."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
    )
    return client


def test_run_waits_for_the_rest_of_a_message() -> None:
    with running(SMALLEST) as server:
        with Server(f"{server.url}/sse").open("", seconds=10) as stream:
            endpoint = stream.event(lambda event: event.type == "endpoint", seconds=10)
            assert endpoint is not None
            with half_a_post(server.port, endpoint.data):
                # Answered after it, so the half was read before.
                assert Server(server.url).request("GET", "/", seconds=10).status == 404
                server.process.send_signal(signal.SIGTERM)
                server.wait_for_output("Waiting for connections to close")
                assert stream.wait_closed(seconds=10)
                assert server.process.poll() is None
        assert server.process.wait(10) == 0


CALCULATORS = {
    "calculator": "/sse",
    "lowlevel_calculator": "/sse",
    "mounted_calculator": "/calculator/sse",
}


@contextmanager
def started_by_uvicorn(name: str, *options: str, **env: str) -> Iterator[Program]:
    """`cd scripts/06_sdk_server && uvicorn NAME:app`, as a cloud does it."""
    port = free_port()
    where = ("--host", "0.0.0.0", "--port", str(port))
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"{name}:app", *where, *options],
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(env),
    )
    started = Program(process, port)
    try:
        started.wait_until_listening(seconds=30)
        yield started
    finally:
        started.stop(seconds=3)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("name", CALCULATORS)
def test_the_same_server_started_by_uvicorn(name: str) -> None:
    """Guarded, with names from the environment; and gone with streams open, quietly."""
    env = {"ALLOWED_HOSTS": "tea.example, 10.0.0.5:*", "ALLOWED_ORIGINS": "https://tea.example"}
    with started_by_uvicorn(name, "--timeout-graceful-shutdown", "1", **env) as server:
        web, path = Server(server.url), CALCULATORS[name]
        for host, origin in (
            ("localhost", "http://localhost"),
            (f"127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}"),
            (f"[::1]:{server.port}", "http://[::1]:3000"),
            ("tea.example", "https://tea.example"),
            ("10.0.0.5:80", "https://tea.example"),
        ):
            with web.open(path, {"Host": host, "Origin": origin}, seconds=10) as stream:
                assert stream.status == 200, (host, origin)
        for headers, status in (
            ({"Host": "evil.example"}, 421),
            ({"Host": "tea.example:8006"}, 421),
            ({"Origin": "http://evil.example"}, 403),
        ):
            assert web.request("GET", path, None, headers, seconds=10).status == status
        with web.open(path, seconds=10) as stream:
            endpoint = stream.event(lambda event: event.type == "endpoint", seconds=10)
            assert endpoint is not None
            with half_a_post(server.port, endpoint.data):
                assert server.stop() < 2
        # The log is brief: no frames around tracebacks. And the end has none.
        assert "╭" not in server.output
        assert "Expected ASGI message" not in server.output


def test_every_server_looks_at_its_port_and_leaves_quietly() -> None:
    servers = [
        path
        for path in FOLDER.glob("*.py")
        if path.name != "serving.py"
        and ("import begin" in (text := path.read_text("utf-8")) or " serve(" in text)
    ]
    assert len(servers) >= 14
    for path in servers:
        text = path.read_text(encoding="utf-8")
        assert "ArgumentParser" not in text, path
        if path.stem.endswith("_broken"):
            assert text.startswith('"""Broken: '), path
        if path.stem.endswith("_fixed"):
            assert text.startswith('"""Fixed: '), path


def test_every_program_is_in_the_index() -> None:
    section = TEXT.read_text(encoding="utf-8").split("\n## Appendix: the programs of", 1)[1]
    named = re.findall(r"`(\w+\.py)`", section.partition("\n## ")[0])
    programs = {path.name for path in FOLDER.glob("*.py")} - {"exercise.py"}
    assert sorted(set(named)) == sorted(programs)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("watch_progress", "calculator.py"),
        ("two_clients", "blocking_broken.py"),
        ("negotiation", "asking_calculator.py"),
    ],
)
def test_a_client_says_in_one_line_that_nothing_listens(client: str, server: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/sse"
    done = run_client(client, url)
    assert done.returncode == 1
    wanted = f"Nothing listens at {url}. In another terminal, start: "
    assert done.stderr == f"{wanted}uv run scripts/06_sdk_server/{server}\n"
    usage = run_client(client)
    assert usage.stderr.startswith(f"Usage: {client}.py http://127.0.0.1:80")


def run_client(client: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / f"{client}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )


def test_a_client_says_in_one_line_that_this_is_not_the_url(calculator: str) -> None:
    for url, why in (
        (calculator.removesuffix("/sse"), "Client error '404 Not Found'"),
        (calculator.removeprefix("http://"), "Request URL is missing an 'http://'"),
    ):
        done = run_client("watch_progress", url)
        assert done.returncode == 1
        assert done.stderr.startswith(f"No event stream at {url}: {why}")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nobody_connects_while_the_port_is_tried(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the server would: its connection is closed before the server listens."""
    monkeypatch.setattr(socket.socket, "listen", lambda *_: pytest.fail("it listens"))
    program("serving").check_port(host, free_port())


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, str(CALCULATOR), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
        assert done.returncode == 1
        wanted = f"Port {port} is in use. Choose another: --port {port + 1}\n"
        assert done.stdout + done.stderr == wanted
        serving_module = program("serving")
        with pytest.raises(SystemExit) as left:
            serving_module.check_port("127.0.0.1", port)
        assert left.value.code == wanted.strip()
    for host, wrong in (("127.0.0.1", 70_000), ("192.0.2.1", 8000)):
        with pytest.raises(SystemExit) as left:
            serving_module.check_port(host, wrong)
        assert str(left.value.code).startswith(f"Cannot listen on {host}, port {wrong}: ")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8006"),
        ("0.0.0.0", "http://127.0.0.1:8006"),
        ("::", "http://[::1]:8006"),
        ("example.org", "http://example.org:8006"),
    ],
)
def test_where_to_reach_it(host: str, url: str) -> None:
    assert program("serving").url_of(host, 8006) == url


RUN_ALONE = """
import sys
from mcp.server import MCPServer

MCPServer("calculator").run(transport="sse", port=int(sys.argv[-1]))
"""


def test_without_preparation_a_server_leaves_with_a_traceback(tmp_path: Path) -> None:
    """What `serving.py` is for: `run` alone, told to leave while a stream is open."""
    program = tmp_path / "run_alone.py"
    program.write_text(RUN_ALONE, encoding="utf-8")
    with running(program) as server:
        with Server(f"{server.url}/sse").open("", seconds=10) as stream:
            assert stream.event(lambda event: event.type == "endpoint", seconds=10)
            server.stop(signal.SIGTERM)
        assert server.process.returncode == -signal.SIGTERM
        assert "Expected ASGI message 'http.response.body'" in server.output


def test_the_mounted_one_beside_its_routes() -> None:
    with serving(program("mounted_calculator").app) as url:
        server = Server(url)
        # Only the mounted app looks at Host and Origin.
        stranger = {"Host": "evil.example"}
        health = server.request("GET", "/health", None, stranger, seconds=10)
        assert health.json() == {"status": "ok"}
        index = server.request("GET", "/", None, stranger, seconds=10)
        assert index.json() == {"calculator": "/calculator/sse"}
        for headers, status in ((stranger, 421), ({"Origin": "http://evil.example"}, 403)):
            refused = server.request("GET", "/calculator/sse", None, headers, seconds=10)
            assert refused.status == status
        with server.open("/calculator/sse", seconds=10) as stream:
            event = stream.event(lambda event: event.type == "endpoint", seconds=10)
            assert event is not None
            assert event.data.startswith("/calculator/messages/?session_id=")


# --- Where the answers differ -------------------------------------------------------------

CALL = {"name": "add", "arguments": {"a": 1, "b": "2"}}
# What a client of revision 2026-07-28 sends with each request.
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
SENT: dict[str, tuple[object, dict[str, str]]] = {
    "`[]`, a batch": (b"[]", {}),
    '`{"jsonrpc": "2.0", `': (b'{"jsonrpc": "2.0", ', {}),
    "`Content-Type: text/plain`": (request(9, "ping"), {"Content-Type": "text/plain"}),
    "`server/discover`, asked first": (request(9, "server/discover", {"_meta": ENVELOPE}), {}),
    "a request before `initialize`": (request(9, "tools/list"), {}),
    "a call to a tool that does not exist": (request(9, "tools/call", {"name": "no"}), {}),
    '`"b": "2"` instead of `2`': (request(9, "tools/call", CALL), {}),
}


def described(message: dict[str, Any]) -> str:
    """A JSON-RPC message that came, in a word or two."""
    if "error" in message:
        return f"error {message['error']['code']}"
    return "a result with `isError`" if message["result"].get("isError") else "a result"


def answer_to(url: str, what: str) -> str:
    """What came back for one of SENT: the status, and the message in response or stream."""
    body, headers = SENT[what]
    first = what in ("`server/discover`, asked first", "a request before `initialize`")
    with session(url, initialize=not first) as opened:
        seen = len(opened.stream.events)
        answer = opened.post(body, headers, seconds=10)
        if answer.body.startswith(b"{"):
            return f"{answer.status}, {described(answer.json())}"
        # What follows on the stream, if anything does, comes before the answer to this.
        opened.post(request("last", "ping"), seconds=10)
        assert opened.reply("last", after=seen, seconds=10)
        found = parsed(opened.replies(seen)[0]) or {}
        if found.get("id") == "last":
            return f"{answer.status}"
        return f"{answer.status}, {described(found)} on the stream"


def test_where_the_answers_differ(calculator: str, lowlevel: str) -> None:
    with (
        running(ROOT / "scripts/05_sse_server/sse_server.py") as by_hand,
        logged("mcp.server.sse") as log,
    ):
        urls = (f"{by_hand.url}/sse", calculator, lowlevel)
        found = [[what, *(answer_to(url, what) for url in urls)] for what in SENT]
    print("\n".join("| " + " | ".join(row) + " |" for row in found))
    # Each body that is no message is a traceback in the log: two of them, to two servers.
    assert len([record for record in log if record.exc_info]) == 4
    head = ["To…", "by hand", "`calculator.py`", "low-level"]
    assert table_after("Appendix: where the answers differ") == [head, *found]
