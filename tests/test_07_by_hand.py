"""Lesson 07: the client by hand beside the SDK's, many clients, and a server that restarts."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import Implementation

from workshop.checks.mcp_session import notification, request
from workshop.course import ROOT
from workshop.loading import load
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

SCRIPTS = ROOT / "scripts/07_sdk_client"
BY_HAND = SCRIPTS / "inside_the_client.py"
MANY = SCRIPTS / "many_clients.py"
SERVER_05 = ROOT / "scripts/05_sse_server/sse_server.py"
SERVER_06 = ROOT / "scripts/06_sdk_server/calculator.py"
SERVERS = Path(__file__).parent / "servers"
CROSSING = SERVERS / "crossing_replies.py"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Program, int]]:
    """Lesson 05's server, and a port under which it may be spoken to, too."""
    port = free_port()
    with running(SERVER_05, "--allow-host", f"127.0.0.1:{port}") as program:
        yield program, port


@pytest.fixture(scope="module")
def server_05(proxied: tuple[Program, int]) -> Program:
    return proxied[0]


@pytest.fixture(scope="module")
def server_06() -> Iterator[Program]:
    with running(SERVER_06) as program:
        yield program


@pytest.fixture(scope="module")
def strange() -> Iterator[Program]:
    with running(SERVERS / "strange_sse.py") as program:
        yield program


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=environment(),
        check=False,
    )


# --- inside_the_client.py ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["server_05", "server_06"])
def test_the_transcript_is_a_whole_conversation(
    which: str, request: pytest.FixtureRequest
) -> None:
    server: Program = request.getfixturevalue(which)
    done = run(BY_HAND, f"{server.url}/sse", "add", '{"a": 2, "b": 7}')
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    entries = [line for line in lines if re.match(r" ?\d+ (->|<-) ", line)]
    assert [int(line[:2]) for line in entries] == list(range(1, len(entries) + 1))
    # Lesson 05's server also greets; and a reply may overtake the answer to its POST.
    said = [line[3:] for line in entries if "event connected" not in line]
    assert said[0] == f"-> GET {server.url}/sse"
    assert said[1] == "<- 200 OK, text/event-stream"
    assert said[2].startswith("<- event endpoint /message")
    shape = [line[:4] for line in said[3:]]
    assert shape.count("-> P") == 4
    assert shape.count("<- 2") == 4  # 202
    assert shape.count("<- e") == 3  # a notification has no reply
    assert said[-1] == "-> close"
    assert lines[-1] in ("add says: 9", "add says: 9.0")


def test_a_long_message_is_cut_unless_told_otherwise(server_06: Program) -> None:
    assert " …\n" in run(BY_HAND, f"{server_06.url}/sse").stdout
    whole = run(BY_HAND, f"{server_06.url}/sse", "--whole").stdout
    assert "…" not in whole
    text = re.sub(r"\n {6}", "", whole)
    replies = [json.loads(data) for data in re.findall(r"<- event message (.*)", text)]
    assert [reply["id"] for reply in replies] == [1, 2, 3]
    assert "divide" in [tool["name"] for tool in replies[1]["result"]["tools"]]


class Recorder:
    """Passes bytes on to a server and keeps the requests, byte for byte."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[bytearray] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        kept = bytearray()
        self.connections.append(kept)

        async def pass_on(
            source: asyncio.StreamReader, target: asyncio.StreamWriter, keep: bytearray
        ) -> None:
            while piece := await source.read(65_536):
                keep += piece
                target.write(piece)
                await target.drain()
            target.close()

        try:
            await asyncio.gather(
                pass_on(reader, to_server, kept), pass_on(upstream, writer, bytearray())
            )
        except (OSError, asyncio.CancelledError):
            pass  # one of them has gone, or the test is over
        finally:
            to_server.close()
            writer.close()

    def requests(self) -> list[tuple[str, dict[str, str], bytes]]:
        """Method, headers and body of each request, in the order of each connection."""
        found: list[tuple[str, dict[str, str], bytes]] = []
        for raw in self.connections:
            rest = bytes(raw)
            while rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                line, *fields = head.decode().split("\r\n")
                headers = {
                    name.lower(): value
                    for name, _, value in (field.partition(": ") for field in fields)
                }
                size = int(headers.get("content-length", 0))
                found.append((line.split(" ")[0], headers, rest[:size]))
                rest = rest[size:]
        return found


async def test_it_says_byte_for_byte_what_the_sdks_client_says(
    proxied: tuple[Program, int],
) -> None:
    server, port = proxied
    url = f"http://127.0.0.1:{port}/sse"
    by_hand, by_sdk = Recorder(server.port), Recorder(server.port)

    async with await asyncio.start_server(by_hand.serve, "127.0.0.1", port):
        done = await asyncio.to_thread(run, BY_HAND, url)
        assert done.returncode == 0, done.stderr
    async with await asyncio.start_server(by_sdk.serve, "127.0.0.1", port):
        info = Implementation(name="inside-the-client", version="1.0.0")
        async with Client(sse_client(url), mode="legacy", client_info=info) as client:
            await client.list_tools()
            await client.call_tool("add", {"a": 2, "b": 5})

    bodies = [body for method, _, body in by_hand.requests() if method == "POST"]
    assert bodies == [body for method, _, body in by_sdk.requests() if method == "POST"]
    assert len(bodies) == 4
    for recorder in (by_hand, by_sdk):
        methods = [(method, headers) for method, headers, _ in recorder.requests()]
        (get,) = [headers for method, headers in methods if method == "GET"]
        assert (get["accept"], get["cache-control"]) == ("text/event-stream", "no-store")
        kinds = {headers["content-type"] for method, headers in methods if method == "POST"}
        assert kinds == {"application/json"}


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ModuleType]:
    """inside_the_client.py as a module, with the parser that lies beside it."""
    kept = sys.modules.pop("event_stream", None)
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("inside_the_client")
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in ("inside_the_client", "event_stream"):
            sys.modules.pop(name, None)
        if kept is not None:
            sys.modules["event_stream"] = kept


async def refused(module: ModuleType, url: str, seconds: float = 10.0) -> str:
    """Why the conversation could not be had."""
    transcript = module.Transcript(whole=False)
    arguments = {"text": "hello"}
    with pytest.raises(module.ConversationError) as caught:
        await module.converse(url, "repeat", arguments, transcript, seconds)
    return str(caught.value)


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("404", "404 Not Found: no"),
        ("307", "307 Temporary Redirect: it is at http://elsewhere.example/sse"),
        ("html", "answers with text/html, which is not an event stream"),
        ("ends", "The stream ended before it named an endpoint"),
        ("cut", "The stream broke"),
        ("no-endpoint", "No event `endpoint` within 0.5 s"),
        ("elsewhere", "The endpoint http://127.0.0.2:1/collect is not on http://127.0.0.1"),
        ("post-404", "The POST was refused: 404 Not Found"),
        ("mute", "No reply to initialize within 0.5 s"),
    ],
)
async def test_it_says_why_it_can_not_go_on(
    by_hand: ModuleType, strange: Program, way: str, why: str
) -> None:
    # The short limit is only for those where it has to run out.
    seconds = 0.5 if "0.5 s" in why else 10.0
    assert why in await refused(by_hand, f"{strange.url}/{way}/sse", seconds)


async def test_it_says_that_nothing_listens(by_hand: ModuleType) -> None:
    url = f"http://127.0.0.1:{free_port()}/sse"
    assert await refused(by_hand, url) == f"Nothing listens at {url}: is the server running?"
    assert "not a URL like http://" in await refused(by_hand, "127.0.0.1:8000/sse")


def test_a_failure_is_one_line_and_status_1() -> None:
    done = run(BY_HAND, f"http://127.0.0.1:{free_port()}/sse")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_the_transcript(unbuffered: str) -> None:
    words = [sys.executable, str(BY_HAND), f"http://127.0.0.1:{free_port()}/sse"]
    env = environment({"PYTHONUNBUFFERED": unbuffered})
    reader, writer = os.pipe()
    os.close(reader)  # before it begins: otherwise it may be quicker
    try:
        done = subprocess.run(
            words, env=env, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


class Scripted:
    """A server in this process: what follows the endpoint is for the test to say."""

    def __init__(self) -> None:
        self.posted: asyncio.Queue[Json] = asyncio.Queue()
        self.stream: web.StreamResponse | None = None
        self.ended = asyncio.Event()

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await self.stream.prepare(request)
        await self.stream.write(b"event: endpoint\ndata: ?session=1\n\n")
        await self.ended.wait()
        return self.stream

    async def post(self, request: web.Request) -> web.Response:
        await self.posted.put(await request.json())
        return web.Response(status=202)

    async def say(self, *messages: Json | str) -> None:
        assert self.stream is not None
        for message in messages:
            data = message if isinstance(message, str) else json.dumps(message)
            await self.stream.write(f"data: {data}\n\n".encode())

    async def hear(self, method: str | None) -> Json:
        async with asyncio.timeout(10):
            message = await self.posted.get()
        assert message.get("method") == method
        return message

    async def shake_hands(self) -> None:
        hello = await self.hear("initialize")
        await self.say(result(hello, {"protocolVersion": "2024-11-05"}))
        await self.hear("notifications/initialized")
        await self.say(result(await self.hear("tools/list"), {"tools": []}))


def result(asked: Json, value: Any) -> Json:
    return {"jsonrpc": "2.0", "id": asked["id"], "result": value}


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    server = Scripted()
    app = web.Application()
    app.router.add_get("/sse", server.get)
    app.router.add_post("/sse", server.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield server, f"http://127.0.0.1:{runner.addresses[0][1]}/sse"
    finally:
        server.ended.set()
        await runner.cleanup()


async def test_it_answers_the_servers_questions_and_matches_replies_by_their_id(
    by_hand: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scripted() as (server, url):
        talk = asyncio.create_task(
            by_hand.converse(url, "t", {}, by_hand.Transcript(whole=False), 10.0)
        )
        await server.shake_hands()
        call = await server.hear("tools/call")
        ping = request("p", "ping")
        await server.say(
            notification("notifications/progress"),
            ping,
            request(9, "roots/list"),
            {"jsonrpc": "2.0", "id": call["id"] + 1, "result": {"not": "for you"}},
            {"jsonrpc": "2.0", "id": str(call["id"]), "result": {"not": "for you"}},
        )
        assert await server.hear(None) == result(ping, {})
        assert (await server.hear(None))["error"]["code"] == -32601
        await server.say(result(call, {"content": [{"text": "\x1b[2J and \n more"}]}))
        assert await talk == {"content": [{"text": "\x1b[2J and \n more"}]}
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("x" * 1_100_000, "The stream broke: An event is over"),
        ("{oops", "Not a message: '{oops'"),
        ("[]", "Not a message: '[]'"),
        ("", "The stream ended"),
    ],
    ids=["too large", "no JSON", "no object", "the end"],
)
async def test_whoever_waits_hears_of_the_streams_end(
    by_hand: ModuleType, data: str, why: str
) -> None:
    async with scripted() as (server, url):
        talk = asyncio.create_task(refused(by_hand, url))
        await server.shake_hands()
        await server.hear("tools/call")
        if data:
            await server.say(data)
        else:
            server.ended.set()
        assert (await talk).startswith(why)


async def test_a_result_that_is_no_object_is_a_failure(by_hand: ModuleType) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        by_hand.json_object("[" * 100_000)
    async with scripted() as (server, url):
        talk = asyncio.create_task(refused(by_hand, url))
        await server.shake_hands()
        call = await server.hear("tools/call")
        await server.say(result(call, "done"))
        assert await talk == "tools/call failed: null"


def test_what_a_server_says_steers_no_terminal(
    by_hand: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def says(*_: object) -> Json:
        return {"content": [{"text": "\x1b[2J\nmore\u202e"}]}

    async def fails(*_: object) -> Json:
        raise by_hand.ConversationError("It is at \x1b[2J")

    monkeypatch.setattr(sys, "argv", ["inside_the_client.py", "http://127.0.0.1/sse"])
    monkeypatch.setattr(by_hand.signal, "signal", lambda *_: None)
    monkeypatch.setattr(by_hand, "converse", says)
    by_hand.main()
    assert capsys.readouterr().out == "\nadd says: \\x1b[2J\nmore\\u202e\n"
    monkeypatch.setattr(by_hand, "converse", fails)
    with pytest.raises(SystemExit, match=r"It is at \\x1b\[2J"):
        by_hand.main()


async def test_an_error_and_an_unknown_revision_are_said(by_hand: ModuleType) -> None:
    async with scripted() as (server, url):
        talk = asyncio.create_task(refused(by_hand, url))
        await server.shake_hands()
        call = await server.hear("tools/call")
        error = {"code": -32602, "message": "No such tool"}
        await server.say({"jsonrpc": "2.0", "id": call["id"], "error": error})
        assert await talk == f"tools/call failed: {json.dumps(error)}"
    async with scripted() as (server, url):
        talk = asyncio.create_task(refused(by_hand, url))
        hello = await server.hear("initialize")
        await server.say(result(hello, {"protocolVersion": "2030-01-01"}))
        assert await talk == "The server speaks 2030-01-01, which we don't"


async def test_silence_has_a_limit_and_the_whole_has_none(
    by_hand: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert by_hand.SILENT_SECONDS == 60
    monkeypatch.setattr(by_hand, "SILENT_SECONDS", 0.5)
    async with scripted() as (server, url):
        talk = asyncio.create_task(refused(by_hand, url))
        await server.shake_hands()
        assert server.stream is not None
        for _ in range(4):  # longer than the limit, and never silent for so long
            await asyncio.sleep(0.2)
            await server.stream.write(b": heartbeat\n\n")
        assert not talk.done()
        assert await talk == "Not a byte for 0.5 s"


# --- many_clients.py --------------------------------------------------------------------


def many_clients(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[str, str]:
    """Run the program in this process, which has the SDK already: (printed, why it failed)."""
    monkeypatch.setattr(sys, "argv", ["many_clients.py", *arguments])
    logger = logging.getLogger("mcp.client.sse")
    level = logger.level
    why = ""
    try:
        load(MANY).main()
    except SystemExit as error:
        why = str(error.code)
    finally:
        logger.setLevel(level)
    return capsys.readouterr().out, why


@pytest.mark.parametrize("which", ["server_05", "server_06"])
def test_twenty_clients_at_once_get_their_own_replies(
    which: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server: Program = request.getfixturevalue(which)
    printed, why = many_clients(monkeypatch, capsys, f"{server.url}/sse", "--timeout", "30")
    assert why == "", printed
    head, *rows = printed.splitlines()[:21]
    assert head == "client  session  its sums"
    assert len({row.split()[1] for row in rows}) == 20
    for number, row in enumerate(rows, start=1):
        sums = [float(text) for text in row.split()[2:]]
        assert sums == [number * 1000 + turn for turn in range(5)]
    assert "20 clients, 20 sessions, 100 calls in" in printed
    assert max(map(len, printed.splitlines())) <= 80
    if which == "server_06":
        # The lesson shows this, in a block that no replay goes through.
        lesson = (ROOT / "lessons/07_sdk_client.md").read_text(encoding="utf-8")
        command = "$ uv run scripts/07_sdk_client/many_clients.py http://127.0.0.1:8006/sse\n"
        shown = re.escape(lesson.partition(command)[2].partition("```")[0])
        assert re.fullmatch(shown.replace("…", ".+"), printed, re.DOTALL)


def test_a_server_that_crosses_replies_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(CROSSING) as server:
        options = (f"{server.url}/sse", "--clients", "5", "--calls", "2")
        printed, why = many_clients(monkeypatch, capsys, *options)
    wrong = int(why.split()[0])
    assert wrong > 0
    assert printed.count("!") == wrong
    assert "5 clients, 5 sessions, 10 calls in" in printed


def test_many_clients_say_what_is_wrong_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}/sse"
    printed, why = many_clients(monkeypatch, capsys, url, "--clients", "3")
    assert (printed, why) == ("", f"Can't talk to {url}: All connection attempts failed")


# --- The exercise, as its reader runs it ------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [{"error": {"code": -32602, "message": "no"}}, {"error": "no"}, {"result": None}, {}],
)
async def test_a_reply_of_any_wrong_shape_is_an_rpc_error(
    reply: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "solutions/07_sdk_client"))
    exercise = load(ROOT / "solutions/07_sdk_client/exercise.py")
    async with aiohttp.ClientSession() as http:
        client = exercise.Client(http, "http://127.0.0.1/sse", exercise.Settings())

        async def post(message: dict[str, object]) -> None:
            await client.take({"jsonrpc": "2.0", "id": message["id"], **reply})

        client.post = post
        with pytest.raises(exercise.RpcError, match="tools/call failed: "):
            await client.request("tools/call")


def test_the_exercise_survives_a_real_restart() -> None:
    port = free_port()
    exercise = ROOT / "solutions/07_sdk_client/exercise.py"
    # With one client it is a good server, and its tool says nothing of being repeated.
    with running(CROSSING, port=port) as server:
        process = subprocess.Popen(
            [sys.executable, str(exercise), f"{server.url}/sse", "--every", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        client = Program(process, 0)
        client.wait_for_output("add says: 7", seconds=20)
        # Calls follow each other, and each takes a while: it is stopped within one.
        server.wait_for_output("Call 3", seconds=20)
    try:
        client.wait_for_output("add: Lost: ", seconds=20)
        with running(CROSSING, port=port):
            deadline = time.monotonic() + 20
            while "add says: 7" not in client.output.partition("Lost")[2]:
                assert time.monotonic() < deadline, client.output
                time.sleep(0.02)
        assert "Traceback" not in client.output
    finally:
        client.stop()
        if process.stdout is not None:
            process.stdout.close()
