"""Lesson 07's client against real servers: at its prompt, in a pipe, once, and in trouble."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pydantic
import pytest
import uvicorn
from mcp.server import Server
from mcp_types import Tool, jsonrpc_message_adapter

from tests.parts import NO_MODEL, require
from tests.test_all_servers import Silent
from tests.test_file_changes import Terminal
from workshop.course import ROOT
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/07_sdk_client"
CLIENT = FOLDER / "client_sse.py"
STRANGE = ROOT / "tests/servers/strange_sse.py"
CHARACTERS = "é€"  # two and three bytes


def load_client() -> dict[str, ModuleType]:
    """The client's modules, without leaving their plain names behind for other lessons."""
    names = (
        "sdk_failures",
        "connection",
        "offline_words",
        "plain_language",
        "typed",
        "client_sse",
    )
    sys.path.insert(0, str(FOLDER))
    try:
        __import__("client_sse")
        return {name: sys.modules.pop(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))


modules = load_client()
client_sse, typed = modules["client_sse"], modules["typed"]
Connection, Problem = modules["connection"].Connection, modules["connection"].Problem


@pytest.fixture(scope="module")
def calculator() -> Iterator[Program]:
    with running(ROOT / "scripts/06_sdk_server/calculator.py") as server:
        yield server


@pytest.fixture(scope="module")
def by_hand() -> Iterator[Program]:
    with running(ROOT / "scripts/05_sse_server/sse_server.py") as server:
        yield server


@pytest.fixture(scope="module")
def strange() -> Iterator[Program]:
    with running(STRANGE) as server:
        yield server


def seen(server: Program) -> list[dict[str, Any]]:
    return httpx2.get(f"{server.url}/seen").json()


def methods(server: Program) -> list[str]:
    return [message["method"] for message in seen(server)]


async def until(ready: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(ready):  # noqa: ASYNC110 - it gives no signal
            await asyncio.sleep(0.01)


def start(*words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CLIENT), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(env or NO_MODEL),
    )


async def once(url: str, request: str, *options: str) -> int:
    """What the program does with these words, but in this process: it starts faster."""
    return await client_sse.run(client_sse.parse([url, "--once", request, *options]))


# --- One request, and a pipe --------------------------------------------------------------


async def test_once_in_a_script(
    calculator: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    right = start(f"{calculator.url}/sse", "--once", "add 2 5")
    assert right.communicate(timeout=30) == ("7.0\n", "")
    assert right.returncode == 0
    assert await once(f"{calculator.url}/sse", "divide 1 0") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("divide failed: ") and "Division by zero" in err


def test_a_conversation_in_a_pipe(calculator: Program) -> None:
    requests = f"""\
add 2 5
call add {{"a": 2, "b": 5.5}}

add_slowly [1,2,3] 0.01
call divide {{"{CHARACTERS}": 1, "b": }}
divide 1 0
add two 5
add 1
root 2
call root
call add [1]
call add {{"a": NaN}}
help
quit
add 100 100
"""
    client = start(f"{calculator.url}/sse")
    said, complaints = client.communicate(requests, timeout=30)
    assert client.returncode == 1, "something went wrong on the way"
    lines = said.splitlines()
    assert lines[0] == "Connected to calculator 1.0.0, MCP 2025-11-25"
    assert lines[1:4] == ["5 tools:", "  add(a: number, b: number)", "      Add two numbers."]
    assert "  add_slowly(numbers: array, seconds: number = 1.0)" in lines
    answers = lines[lines.index("7.0") :]
    assert answers[:3] == ["7.0", "7.5", "6.0"]
    assert answers[3:] == client_sse.HELP.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  progress 2 of 3: 3 so far\n" in complaints
    bad = complaints.index("Not JSON")
    assert complaints[bad:].splitlines()[:3] == [
        "Not JSON: Expecting value, at byte 18",
        '  {"é€": 1, "b": }',
        "                 ^",
    ]
    for complaint in (
        "divide failed: ",
        "a must be a value of type number, not 'two'.",
        "add(a: number, b: number) takes 2 words, not 1.",
        "'root' is not a tool; the tools are: add, ",
        "The offline model found no tool for it.",
        "There is no tool 'root'.",
        "Arguments are one JSON object",
        "Not JSON: NaN is not JSON.",
    ):
        assert complaint in complaints, complaint
    assert "Traceback" not in complaints


async def test_what_a_server_refuses_is_said_in_one_line(
    by_hand: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    request = 'call add {"a": 1, "b": "2"}'
    assert await once(f"{by_hand.url}/sse", request) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "add: the server refuses: The argument 'b' must be a number (-32602)\n"


async def test_pages_of_tools_and_results_of_all_kinds(
    strange: Program, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{strange.url}/fine/sse"
    assert await once(url, "tools") == 0
    assert capsys.readouterr().out == (
        "2 tools:\n"
        "  repeat(text: string, times: integer = 1)\n      repeat it.\n"
        "  wait(text: string, times: integer = 1)\n      wait it.\n"
    )
    assert await once(url, "repeat 'two words' 3") == 0
    assert seen(strange)[-1]["params"]["arguments"] == {"text": "two words", "times": 3}
    assert capsys.readouterr().out == (
        "two words\n(image, not shown)\nmore: http://127.0.0.1/more\n"
    )
    # A script gets what the server sent. A terminal is not steered by it.
    escape = 'call repeat {"text": "\\u001b[31mred"}'
    assert await once(url, escape) == 0
    assert capsys.readouterr().out.startswith("\x1b[31mred\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert await once(url, escape) == 0
    assert capsys.readouterr().out.startswith("\\x1b[31mred\n")


async def test_pages_of_tools_have_an_end(
    strange: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await once(f"{strange.url}/endless/sse", "repeat x") == 0
    asked = [message for message in seen(strange) if message["method"] == "tools/list"]
    assert sum("cursor" in message.get("params", {}) for message in asked[-99:]) == 99
    capsys.readouterr()


# --- Servers that are none, or not for you ------------------------------------------------


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("html", "No MCP server over SSE: .* got 'text/html'"),
        ("json", "No MCP server over SSE: .* got 'application/json'"),
        ("no-endpoint", "No MCP server over SSE: no endpoint event in 1 s"),
        ("mute", "No MCP server over SSE: no answer to initialize in 1 s"),
        ("ends", "No MCP server over SSE: the stream ended before an endpoint event"),
        ("cut", "The server is gone: the connection was cut"),
        ("elsewhere", "not to be trusted.*http://127.0.0.2:1/collect"),
        ("307", "307 at .*: it sends elsewhere, to http://elsewhere.example/sse"),
        ("405", "405 at .*: no event stream here; a Streamable HTTP server"),
        ("406", "406 at .*: no event stream here; a Streamable HTTP server"),
        ("401", "401 at .*--header 'Authorization: Bearer TOKEN'"),
        ("403", "403 at .*: you are not let in"),
        ("404", "404 at .*: no such path; most servers have their stream at /sse"),
        ("421", "421 at .*: this Host is not one of its names"),
        ("503", "503 at .*: Service Unavailable"),
    ],
)
async def test_a_server_that_is_none(
    strange: Program, way: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = "1" if way in ("no-endpoint", "mute") else "20"
    began = asyncio.get_running_loop().time()
    assert await once(f"{strange.url}/{way}/sse", "tools", "--timeout", limit) == 1
    assert asyncio.get_running_loop().time() - began < 10
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert re.search(said, err), err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{port}/sse", "Nothing listens at .*: is the server running?"),
        ("127.0.0.1:{port}/sse", "127.0.0.1:.*"),
        ("http://[::1/sse", "Invalid IPv6 URL"),
        ("https://127.0.0.1:{strange}/fine/sse", "Cannot connect to https://.*SSL"),
        ("http://127.0.0.1:{by_hand}/ssee", "404 at .*/ssee"),
        ("http://127.0.0.2:{by_hand}/sse", "Nothing listens at"),
        ("http://127.0.0.1.nip.invalid:{by_hand}/sse", "Cannot connect to"),
    ],
)
async def test_a_url_where_no_server_is(
    by_hand: Program, strange: Program, url: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url.format(port=free_port(), by_hand=by_hand.port, strange=strange.port)
    assert await once(url, "tools") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(said, err), err


@pytest.mark.parametrize(
    ("stateless", "said"),
    [
        (False, "400 at .*: no event stream here; a Streamable HTTP server"),
        (True, "No MCP server over SSE: no endpoint event in 1 s"),
    ],
)
async def test_a_server_of_streamable_http(
    stateless: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = Server("later").streamable_http_app(stateless_http=stateless)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    limit = "1" if stateless else "20"
    assert await once(f"http://127.0.0.1:{port}/mcp", "tools", "--timeout", limit) == 1
    assert re.match(said, capsys.readouterr().err)
    server.should_exit = True
    await serving


async def test_headers_open_the_door(
    strange: Program, by_hand: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    url, token = f"{strange.url}/token/sse", "Authorization: Bearer let-me-in"
    assert await once(url, "tools") == 1
    assert await once(url, "repeat yes", "--header", token) == 0
    assert capsys.readouterr().out.startswith("yes\n")
    # The real guards of lesson 05.
    url = f"{by_hand.url}/sse"
    assert await once(url, "tools", "--header", "Host: other.example") == 1
    assert "421 at" in capsys.readouterr().err
    assert await once(url, "tools", "--header", "Origin: http://other.example") == 1
    assert "403 at" in capsys.readouterr().err


# --- Calls that come to nothing -----------------------------------------------------------


async def test_what_can_not_be_sent_leaves_the_session_as_it_is(calculator: Program) -> None:
    told: list[str] = []
    url = f"{calculator.url}/sse"
    nested = json.loads("[" * 300 + "]" * 300)
    async with Connection(url, headers={}, seconds=10, tell=told.append) as connection:
        for value in ("\ud800", float("inf"), nested):
            with pytest.raises(Problem, match="add: this can't be sent: "):
                await connection.call("add", {"a": value, "b": 1})
        result = await connection.call("add", {"a": 2, "b": 5})
        assert client_sse.text_of(result) == "7.0" and told == []


def test_a_message_that_is_none_ends_a_session_but_not_the_client() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        jsonrpc_message_adapter.validate_json('{"jsonrpc": "2.0", "id": null, "x": "origin"}')
    problem = modules["sdk_failures"].explain(caught.value, "http://127.0.0.1/sse")
    assert str(problem) == "The server sent something that is not a JSON-RPC message."
    assert not problem.final


def test_a_pipe_with_other_bytes_than_utf_8(calculator: Program) -> None:
    words = [sys.executable, str(CLIENT), f"{calculator.url}/sse"]
    client = subprocess.run(
        words,
        input=b"add 2 \xff\nadd 2 5\n",
        capture_output=True,
        env=environment({**NO_MODEL, "PYTHONIOENCODING": "utf-8:strict"}),
        timeout=30,
    )
    assert client.returncode == 1 and client.stdout.endswith(b"\n7.0\n")
    assert client.stderr.decode() == "b must be a value of type number, not '\ufffd'.\n"


def test_ctrl_c_while_it_waits_for_a_line(calculator: Program) -> None:
    client = start(f"{calculator.url}/sse")
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write("add 2 5\n")
    client.stdin.flush()
    assert "7.0\n" in iter(client.stdout.readline, "")
    client.send_signal(signal.SIGINT)
    assert client.wait(timeout=10) == 130
    assert client.communicate() == ("", "")


def test_sigterm_leaves_the_terminal_as_it_was(calculator: Program) -> None:
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    client = subprocess.Popen(
        [sys.executable, str(CLIENT), f"{calculator.url}/sse"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(NO_MODEL),
    )
    shown = b""
    while b"\x1b[?2004h" not in shown:  # the prompt wants to know what is pasted
        shown += os.read(ours, 65_536)
    assert termios.tcgetattr(theirs) != before
    client.send_signal(signal.SIGTERM)
    assert client.wait(timeout=10) == 143
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_sigterm_while_it_connects_is_not_lost() -> None:
    """Raised by the signal's handler, SystemExit was lost in one case of six."""

    def told_to_leave(pause: float) -> int:
        with Silent() as silent:
            client = start(f"{silent.url}/sse")
            assert silent.asked.wait(30)
            threading.Event().wait(pause)
            client.terminate()
            try:
                return client.wait(timeout=15)
            finally:
                client.kill()
                client.communicate()

    # From the moment when the server has the request, through all that the client does then.
    with ThreadPoolExecutor(4) as together:
        statuses = [*together.map(told_to_leave, [number / 4000 for number in range(24)])]
    assert statuses == [143] * 24


def test_nobody_reads_its_output(calculator: Program) -> None:
    client = start(f"{calculator.url}/sse", "--once", "add 2 5")
    assert client.stdout is not None and client.stderr is not None
    client.stdout.close()
    assert client.wait(timeout=30) == 141 and client.stderr.read() == ""


async def test_a_call_without_an_answer(
    strange: Program, calculator: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    before = methods(strange).count("notifications/cancelled")
    assert await once(f"{strange.url}/fine/sse", "wait x", "--timeout", "3") == 1
    assert capsys.readouterr().err == "wait: no answer within 3 s. To wait longer: --timeout\n"
    assert methods(strange).count("notifications/cancelled") == before + 1
    # Progress is no answer, and does not prolong the time.
    slowly = "add_slowly [1,2,3] 1.8"
    assert await once(f"{calculator.url}/sse", slowly, "--timeout", "3") == 1
    assert capsys.readouterr().err.startswith(
        "  progress 1 of 3: 1 so far\nadd_slowly: no answer"
    )


async def test_progress_that_comes_in_one_piece_with_the_result(
    strange: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await once(f"{strange.url}/progress/sse", "repeat x") == 0
    assert capsys.readouterr().err == "  progress 1 of 1\n"


async def test_a_post_that_fails_is_told_at_once(
    strange: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await once(f"{strange.url}/post-413/sse", "repeat x") == 1
    err = capsys.readouterr().err
    assert err.startswith("repeat: lost, not repeated. The server refused the message: 413")


async def test_after_a_post_that_failed_there_is_a_new_session(strange: Program) -> None:
    told: list[str] = []
    other: list[str] = []

    def connect(way: str, tell: Callable[[str], None]) -> Any:
        return Connection(f"{strange.url}/{way}/sse", headers={}, seconds=20, tell=tell)

    async with (
        connect("fine", other.append) as fine,
        connect("post-500", told.append) as connection,
    ):
        for _ in range(2):
            with pytest.raises(Problem, match="refused the message: 500"):
                await connection.call("repeat", {"text": "x"})
            await connection.list_tools()
        await fine.call("repeat", {"text": "x"})
    assert [line.split(" in ")[0] for line in told] == [
        "The server refused the message: 500 Internal Server Error. Connecting again",
        "Connected again,",
    ] * 2
    assert other == [], "the log of the SDK is one for all connections"


# --- A server that goes and comes back ----------------------------------------------------


async def test_a_restart_in_the_middle_of_a_call() -> None:
    port, told = free_port(), list[str]()
    url = f"http://127.0.0.1:{port}/fine/sse"
    with running(STRANGE, port=port) as server:
        async with Connection(url, headers={}, seconds=20, tell=told.append) as connection:
            assert connection.server.startswith("strange 1")
            call = asyncio.create_task(connection.call("wait", {"text": "x"}))
            await until(lambda: "tools/call" in methods(server))
            await asyncio.to_thread(server.stop)
            with pytest.raises(Problem, match=r"wait: lost, not repeated\. The server is gone"):
                await call
            await until(lambda: any("Nothing listens" in line for line in told))
            waiting = asyncio.create_task(connection.call("repeat", {"text": "back"}))
            with running(STRANGE, port=port) as again:
                result = await waiting
                assert result.content[0].text == "back"
                calls = [m for m in seen(again) if m["method"] == "tools/call"]
                assert [call["params"]["name"] for call in calls] == ["repeat"], "no repeating"
                assert methods(again)[0] == "initialize", "a session of its own"
                assert told[-1] == "Connected again, in a new session."
                assert "the connection was cut. Connecting again in 0." in told[0]

            # What comes back is another program: to try for ever would be no use.
            await until(lambda: "Nothing listens" in told[-1])
            with running(ROOT / "scripts/05_sse_server/sse_server.py", port=port):
                problem = await connection.over()
                assert "404 at" in str(problem)
                with pytest.raises(Problem, match="404 at"):
                    await connection.call("repeat", {"text": "x"})


def test_a_client_that_waits_says_that_the_server_has_gone() -> None:
    """Also when the stream ends cleanly, and no call is under way."""
    with running(ROOT / "scripts/05_sse_server/sse_server.py") as server:
        client = start(f"{server.url}/sse")
        assert client.stdout and client.stderr
        while client.stdout.readline() != "      Add two numbers.\n":
            assert client.poll() is None
        server.stop()
        assert client.stderr.readline().startswith(
            "The server ended the stream. Connecting again in 0."
        )
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=10)
    assert client.returncode == 130


def test_waiting_grows_and_is_random() -> None:
    backoff = modules["connection"].backoff
    for failures, longest in [(0, 0.5), (1, 1), (3, 4), (10, 30), (10_000, 30)]:
        drawn = [backoff(failures) for _ in range(200)]
        assert longest / 2 <= min(drawn) and max(drawn) <= longest
        assert max(drawn) - min(drawn) > longest / 4, "clients would come back together"


# --- Plain language -----------------------------------------------------------------------


async def test_plain_language(
    calculator: Program,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real HTTP server plays the model; the library and the tools are the real ones."""
    import agents.mcp

    request, url = "add two numbers 2 and 5 using the tools", f"{calculator.url}/sse"
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with running(ROOT / "tests/servers/scripted_model.py") as model:
        monkeypatch.setenv("OPENAI_API_KEY", "scripted")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1")
        monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "Tiny")
        assert await once(url, request) == 0
        out, err = capsys.readouterr()
        assert out == "Tiny says 7.0.\n"
        assert err == '  calls add {"a": 2.0, "b": 5.0}\n  gets 7.0\n'
        assert await once(url, "ask 40 and 2") == 0
        assert capsys.readouterr().out == "Tiny says 42.0.\n"
        # What is a call stays one: no model is asked.
        assert await once(url, "add 2 5") == 0
        assert capsys.readouterr().out == "7.0\n"
        monkeypatch.setenv("OPENAI_MODEL", "Named")
        assert await once(url, "ask 40 and 2") == 0
        assert capsys.readouterr().out == "Named says 42.0.\n"
        monkeypatch.setenv("OPENAI_MODEL", "broken")
        assert await once(url, request) == 1
        assert capsys.readouterr().err == "The model: Error code: 400 - out of order\n"
    # The other way, lesson 08's, has a limit for each call.
    limit = inspect.signature(agents.mcp.MCPServerSse).parameters[
        "client_session_timeout_seconds"
    ]
    assert limit.default == 5


def test_plain_language_without_a_key(calculator: Program) -> None:
    """The whole program, as a reader runs it who has configured nothing."""
    request = "add two numbers 2 and 5 using the tools"
    client = start(f"{calculator.url}/sse", "--once", request)
    said, told = client.communicate(timeout=60)
    assert client.returncode == 0
    about, answer = said.splitlines()
    assert "not a language model" in about
    assert answer == "add(a=2, b=5): 7.0"
    assert told == '  calls add {"a": 2, "b": 5}\n  gets 7.0\n'


# --- What is typed ------------------------------------------------------------------------


def a_tool(**properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return Tool(name="t", input_schema=schema)


@pytest.mark.parametrize(
    ("schema", "word", "value"),
    [
        ({"type": "number"}, "2", 2),
        ({"type": "number"}, "-2.5e1", -25.0),
        ({"type": "integer"}, "12", 12),
        ({"type": "string"}, "12", "12"),
        ({"type": "boolean"}, "true", True),
        ({"type": "array"}, '["a"]', ["a"]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"type": ["integer", "string"]}, "x", "x"),
        ({"enum": ["red", "green"]}, "red", "red"),
        ({"$ref": "#/$defs/x"}, '{"a": 1}', {"a": 1}),
        ({"type": ["integer", 5]}, "3", 3),
        ({"enum": 5}, "3", 3),
        ({"anyOf": 5}, "3", 3),
        (True, "3", 3),
    ],
)
def test_a_word_becomes_what_the_schema_asks_for(schema: Any, word: str, value: Any) -> None:
    made = typed.read_positional(f"'{word}'", a_tool(x=schema))
    assert made == {"x": value} and type(made["x"]) is type(value)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "number"}, "two"),
        ({"type": "number"}, "NaN"),
        ({"type": "number"}, "-1e999"),
        ({"type": "number"}, "true"),
        ({"type": "integer"}, "2.5"),
        ({"type": "boolean"}, "yes"),
        ({"type": "array"}, "{}"),
        ({"type": "array"}, "[" * 100_000),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
    ],
)
def test_a_word_that_does_not_fit_the_schema(schema: Any, word: str) -> None:
    with pytest.raises(typed.Mistyped, match="x must be a value of type") as caught:
        typed.read_positional(word, a_tool(x=schema))
    assert len(str(caught.value)) < 200
    assert typed.listing([a_tool(x=schema)]).startswith("  t(x: ")


def test_how_many_words_a_tool_takes() -> None:
    tool = a_tool(a={"type": "string"}, b={"type": "integer"})
    assert typed.read_positional("x", tool) == {"a": "x"}
    assert typed.read_positional("'x y' 2", tool) == {"a": "x y", "b": 2}
    assert typed.signature(tool) == "t(a: string, b?: integer)"
    null = Tool(name="t", input_schema={"type": "object", "properties": None, "required": None})
    assert typed.read_positional("", null) == {} and typed.listing([null]) == "  t()"
    for words in ("", "x 1 2"):
        with pytest.raises(typed.Mistyped, match="takes 1 to 2 words"):
            typed.read_positional(words, tool)
    with pytest.raises(typed.Mistyped, match="No closing quotation"):
        typed.read_positional("'x", tool)


def test_a_long_json_text_is_shown_around_its_mistake() -> None:
    text = '{"a": "' + "x" * 500 + '", "b"}' + " " * 500
    with pytest.raises(typed.Mistyped) as caught:
        typed.read_json(text)
    what, around, caret = str(caught.value).splitlines()
    assert what == f"Not JSON: Expecting ':' delimiter, at byte {text.index('}')}"
    assert len(around) <= 80 and around[caret.index("^")] == "}"


# --- The prompt ---------------------------------------------------------------------------


def shown(command: str) -> str:
    """What the lesson shows below a command in a block that no replay goes through."""
    text = (ROOT / "lessons/07_sdk_client.md").read_text(encoding="utf-8")
    found = re.search(rf"^\$ {re.escape(command)}\n(.*?)(?=^\$ |^```$)", text, re.DOTALL | re.M)
    assert found, command
    return found[1]


IN_THE_LESSON = "uv run scripts/07_sdk_client/client_sse.py http://127.0.0.1:8006/sse"


def test_the_prompt_as_the_lesson_shows_it(calculator: Program, tmp_path: Path) -> None:
    env = ["env", *(f"{name}={value}" for name, value in NO_MODEL.items())]
    command = [*env, sys.executable, str(CLIENT), f"{calculator.url}/sse"]
    wanted = shown(IN_THE_LESSON).rstrip()
    terminal = Terminal(require("tmux"), tmp_path / "tmux", command)

    def until(end: int) -> None:
        """All is there to this place in the lesson, what scrolled away included."""
        whole = ("capture-pane", "-p", "-S", "-", "-t", "watch")
        terminal.until(lambda _: terminal(*whole).rstrip() == wanted[:end].rstrip())

    try:
        for line in re.finditer(r"^> (.+)", wanted, re.M):
            until(line.start(1))
            terminal("send-keys", "-t", "watch", "-l", line[1])
            terminal("send-keys", "-t", "watch", "Enter")
        until(wanted.index("^C"))
        terminal("send-keys", "-t", "watch", "C-c")
        until(len(wanted))
    finally:
        terminal("kill-server")


async def test_plain_language_without_a_model_as_the_lesson_shows_it(
    calculator: Program, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NO_MODEL:
        monkeypatch.setenv(name, "")
    request = "what is two and five"
    assert await once(f"{calculator.url}/sse", request) == 1
    assert capsys.readouterr().err == shown(f'{IN_THE_LESSON} --once "{request}"')


@pytest.fixture
def terminal(tmp_path: Path, strange: Program) -> Iterator[Terminal]:
    tmux = require("tmux")
    env = ["env", *(f"{name}={value}" for name, value in NO_MODEL.items())]
    command = [*env, sys.executable, str(CLIENT), f"{strange.url}/fine/sse"]
    opened = Terminal(tmux, tmp_path / "tmux", command)
    yield opened
    opened("kill-server")


def test_the_prompt_in_a_terminal(terminal: Terminal, strange: Program) -> None:
    def press(*keys: str) -> None:
        terminal("send-keys", "-t", "watch", *keys)

    def last(shown: str) -> str:
        return shown.rstrip().rpartition("\n")[2]

    shown = terminal.until(lambda text: last(text) == ">")
    assert "Connected to strange 1\\x1b[31m, MCP 2024-11-05" in shown
    assert "  repeat(text: string, times: integer = 1)" in shown

    press("rep", "Tab")
    terminal.until(lambda text: last(text) == "> repeat")
    press(" ", "hello", "Enter")
    terminal.until(lambda text: "more: http://127.0.0.1/more\n>" in text)
    press("call w", "Tab")
    terminal.until(lambda text: last(text) == "> call wait")
    press("C-c")
    terminal.until(lambda text: text.rstrip().endswith("> call wait\n>"))
    press("Up")
    shown = terminal.until(lambda text: last(text) == "> repeat hello")
    assert shown.count("more:") == 1
    press("Enter")
    terminal.until(lambda text: text.count("more:") == 2 and last(text) == ">")

    cancelled = methods(strange).count("notifications/cancelled")
    calls = methods(strange).count("tools/call")
    press("wait x", "Enter")
    terminal.until(lambda _: methods(strange).count("tools/call") == calls + 1)
    press("C-c")
    terminal.until(lambda text: "Cancelled; the server has been told.\n>" in text)
    # The notification goes its own way, and may arrive after the line.
    terminal.until(lambda _: methods(strange).count("notifications/cancelled") == cancelled + 1)
    press("nonsense", "Enter")
    terminal.until(lambda text: "'nonsense' is not a tool" in text and last(text) == ">")

    press("C-d")
    shown = terminal.until(lambda text: "status" in text)
    assert "status 0" in shown and "Traceback" not in shown


def test_the_prompt_ends_when_the_server_is_gone_for_good(tmp_path: Path) -> None:
    tmux, port = require("tmux"), free_port()
    command = [sys.executable, str(CLIENT), f"http://127.0.0.1:{port}/fine/sse"]
    with running(STRANGE, port=port) as server:
        terminal = Terminal(tmux, tmp_path / "tmux", command)
        try:
            terminal.until(lambda text: text.rstrip().endswith("\n>"))
            server.stop()
            shown = terminal.until(lambda text: "Nothing listens" in text)
            assert "the connection was cut. Connecting again in 0." in shown
            with running(ROOT / "scripts/05_sse_server/sse_server.py", port=port):
                shown = terminal.until(lambda text: "status" in text)
                assert "404 at" in shown and "status 1" in shown
        finally:
            terminal("kill-server")


def test_the_environment_is_documented() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in NO_MODEL:
        assert f"# {name}=" in example
        assert name in modules["plain_language"].HOW_TO_CONFIGURE
