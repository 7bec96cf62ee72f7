"""Lesson 05's server: what it promises, and what it withstands."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import psutil
import pytest

from tests.turns import takes_less_than
from workshop.checks.mcp_session import notification
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/05_sse_server/sse_server.py"
LIMIT = 4 * 1024 * 1024
Json = dict[str, Any]


def load_sse_server() -> ModuleType:
    """The server as a module, in this process. Its neighbours are found as its own folder's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SERVER.parent))
        for neighbour in SERVER.parent.glob("*.py"):
            # Another lesson's file of this name may have been imported before.
            patch.delitem(sys.modules, neighbour.stem, raising=False)
        module = importlib.import_module("sse_server")
        for neighbour in SERVER.parent.glob("*.py"):
            sys.modules.pop(neighbour.stem, None)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(SERVER) as program:
        yield program


class Stream:
    """A raw socket that opened GET /sse; `read_until` gives the bytes so far."""

    def __init__(
        self, server: Program, *, start: bool = True, buffer: int | None = None
    ) -> None:
        self.server = server
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(5)
        self.socket.connect((HOST, server.port))
        self.raw = b""
        self.socket.sendall(f"GET /sse HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode())
        if start:
            found = self.read_until(rb"event: endpoint\ndata: (\S+)\n\n")
            self.endpoint = found.group(1).decode()

    def read_until(self, pattern: bytes) -> re.Match[bytes]:
        while not (found := re.search(pattern, self.raw)):
            piece = self.socket.recv(65_536)
            assert piece, f"The stream ended after {self.raw!r}"
            self.raw += piece
        return found

    def ends(self) -> bool:
        """Whether the server ends the stream, within the socket's 5 s."""
        while piece := self.socket.recv(65_536):
            self.raw += piece
        return True

    def ask(self, message: Json | bytes) -> httpx2.Response:
        return post(self.server, message, self.endpoint)

    def reply(self, request_id: str | int) -> Json:
        wanted = re.escape(json.dumps(request_id).encode())
        found = self.read_until(rb'data: (\{"jsonrpc":"2.0","id":' + wanted + rb",.*\})\n\n")
        return json.loads(found.group(1))

    def initialize(self) -> Json:
        self.ask(request("initialize", {"protocolVersion": "2024-11-05"}, "init"))
        return self.reply("init")["result"]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def request(method: str, params: Any = None, request_id: Any = 1) -> Json:
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else {**message, "params": params}


def call(tool: Any, arguments: Any, request_id: Any = 1) -> Json:
    return request("tools/call", {"name": tool, "arguments": arguments}, request_id)


def post(
    server: Program, message: Json | bytes, path: str = "/message", **headers: str
) -> httpx2.Response:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {"Content-Type": "application/json", **headers}
    return httpx2.post(server.url + path, content=body, headers=headers)


def connections(server: Program) -> int:
    return httpx2.get(f"{server.url}/health").json()["connections"]


def wait_for(true: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It never came true"
        time.sleep(0.01)


# --- The event stream ---------------------------------------------------------------------


def test_the_stream_opens_with_endpoint_then_connected(server: Program) -> None:
    with Stream(server) as stream:
        stream.read_until(rb"event: connected\ndata: .*\n\n")
    head, _, body = stream.raw.partition(b"\r\n\r\n")
    lines = head.decode().lower().splitlines()
    assert lines[0] == "http/1.1 200 ok"
    assert "content-type: text/event-stream" in lines
    assert "cache-control: no-store" in lines
    assert "x-accel-buffering: no" in lines
    kinds = re.findall(rb"event: (\w+)", body)
    assert kinds[:2] == [b"endpoint", b"connected"]
    assert re.fullmatch(r"/message\?session_id=[\w-]{43}", stream.endpoint)


def test_no_two_sessions_have_the_same_endpoint(server: Program) -> None:
    with Stream(server) as one, Stream(server) as other:
        assert one.endpoint != other.endpoint


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        ("event", rb'event: heartbeat\ndata: \{"time":"[^"]+"\}\n\n'),
        ("comment", rb": heartbeat\n\n"),
    ],
)
def test_heartbeats_keep_time_whatever_else_is_sent(style: str, wanted: bytes) -> None:
    arguments = ("--heartbeat", "0.3", "--heartbeat-style", style)
    with running(SERVER, *arguments) as program, Stream(program) as stream:
        stream.initialize()
        began = time.monotonic()
        number = 0
        while len(re.findall(wanted, stream.raw)) < 4:
            number += 1
            stream.ask(request("ping", request_id=number))
            stream.reply(number)
        took = time.monotonic() - began
        assert 0.6 < took < 5
        assert number > 1


def test_the_endpoint_has_the_prefix_that_a_proxy_takes_off() -> None:
    with running(SERVER, "--root-path", "/my tools") as program, Stream(program) as stream:
        assert stream.endpoint.startswith("/my%20tools/message?session_id=")


def test_methods_that_a_path_does_not_have(server: Program) -> None:
    for path, allowed in {"/sse": "GET", "/message": "POST", "/health": "GET"}.items():
        for method in {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"} - {allowed}:
            answer = httpx2.request(method, server.url + path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_health_counts_open_streams(server: Program) -> None:
    wait_for(lambda: connections(server) == 0)
    with Stream(server), Stream(server):
        answer = httpx2.get(f"{server.url}/health").json()
        assert (answer["status"], answer["connections"]) == ("ok", 2)
        assert answer["time"].startswith("20")
    wait_for(lambda: connections(server) == 0)


def test_a_client_that_leaves_before_the_first_byte_is_not_counted(server: Program) -> None:
    for _ in range(100):
        Stream(server, start=False).socket.close()
    wait_for(lambda: connections(server) == 0)
    assert "Traceback" not in server.output


@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_behind_an_open_stream_ends_it(server: Program, at_once: bool) -> None:
    """uvicorn keeps it for later, and tells no longer the stream when its client leaves."""
    with Stream(server, start=not at_once) as stream:
        stream.socket.sendall(
            f"GET /sse HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode()
        )
        with contextlib.suppress(ConnectionResetError):
            assert stream.ends()
    wait_for(lambda: connections(server) == 0)


def test_requests_sent_ahead_are_answered_in_order(server: Program) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
    with socket.create_connection((HOST, server.port), timeout=5) as connection:
        connection.sendall(f"{head}\r\n{head}\r\n{head}Connection: close\r\n\r\n".encode())
        raw = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert raw.count(b"HTTP/1.1 200 OK") == 3


async def test_a_stream_that_never_started_leaves_no_session() -> None:
    module = load_sse_server()
    transport = module.SseTransport(module.Settings())

    async def receive() -> Json:
        return {"type": "http.disconnect"}

    async def broken_send(message: Json) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await module.EventStream(transport)(
            {"type": "http", "root_path": ""}, receive, broken_send
        )
    assert transport.sessions == {}

    sent: list[Json] = []

    async def send(message: Json) -> None:
        sent.append(message)

    await module.EventStream(transport)({"type": "http", "root_path": ""}, receive, send)
    assert transport.sessions == {}


# --- Sessions and POST --------------------------------------------------------------------


def test_a_session_from_start_to_end(server: Program) -> None:
    with Stream(server) as stream:
        welcome = stream.initialize()
        assert welcome["protocolVersion"] == "2024-11-05"
        assert welcome["capabilities"] == {"tools": {}}
        answer = stream.ask(notification("notifications/initialized"))
        assert (answer.status_code, answer.text) == (202, "")
        stream.ask(request("tools/list", request_id="list"))
        tools = stream.reply("list")["result"]["tools"]
        assert [tool["name"] for tool in tools] == ["echo", "add"]
        assert stream.ask(call("echo", {"message": "hello SSE"}, 7)).status_code == 202
        assert stream.reply(7)["result"] == {
            "content": [{"type": "text", "text": "hello SSE"}],
            "isError": False,
        }
    # A closed session is unknown at once, whatever the client still sends.
    wait_for(lambda: connections(server) == 0)
    assert stream.ask(request("ping")).status_code == 404


def test_unknown_sessions(server: Program) -> None:
    for session_id in ("", "no", "%00", "é", "a" * 10_000):
        answer = post(server, request("ping"), f"/message?session_id={session_id}")
        assert answer.status_code == 404


def test_before_initialize_only_ping_is_answered(server: Program) -> None:
    with Stream(server) as stream:
        stream.ask(request("ping", request_id=1))
        assert stream.reply(1)["result"] == {}
        stream.ask(request("tools/list", request_id=2))
        assert stream.reply(2)["error"]["code"] == -32600
        stream.ask(request("server/discover", request_id=3))
        assert stream.reply(3)["error"]["code"] == -32601
        stream.initialize()
        stream.ask(request("tools/list", request_id=4))
        assert "result" in stream.reply(4)


def test_what_gets_no_reply(server: Program) -> None:
    with Stream(server) as stream:
        stream.initialize()
        before = len(stream.raw)
        for message in (
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": [1]},
            {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "echo"}},
            {"jsonrpc": "2.0", "id": 5, "result": {}},
            {"jsonrpc": "2.0", "id": 5, "error": {"code": 1, "message": "no"}},
        ):
            assert stream.ask(message).status_code == 202
        stream.ask(request("ping", request_id="last"))
        stream.reply("last")
        assert stream.raw[before:].count(b"event: message") == 1


def test_replies_never_cross(server: Program) -> None:
    """Thirty sessions ask at once, all with the same ids."""

    def talk(number: int) -> None:
        with Stream(server) as stream:
            stream.initialize()
            for turn in range(10):
                stream.ask(call("echo", {"message": f"{number}-{turn}"}, turn))
            for turn in range(10):
                text = stream.reply(turn)["result"]["content"][0]["text"]
                if text != f"{number}-{turn}":
                    crossed.append(text)
            done.append(number)

    crossed: list[str] = []
    done: list[int] = []
    threads = [threading.Thread(target=talk, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), crossed) == (30, [])


def test_streams_that_close_while_posts_arrive(server: Program) -> None:
    """Each POST is taken or refused, and nothing breaks."""
    statuses: set[int] = set()
    for _ in range(20):
        stream = Stream(server)
        closing = threading.Thread(target=stream.socket.close)
        for turn in range(6):
            if turn == 2:
                closing.start()
            statuses.add(stream.ask(request("ping", request_id=turn)).status_code)
        closing.join()
    assert statuses <= {202, 404}
    wait_for(lambda: connections(server) == 0)
    assert "Traceback" not in server.output


def test_a_stream_that_closes_while_its_post_is_half_sent(server: Program) -> None:
    stream = Stream(server)
    body = json.dumps(request("ping")).encode()
    with socket.create_connection((HOST, server.port), timeout=5) as poster:
        head = (
            f"POST {stream.endpoint} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        poster.sendall(head.encode() + body[:10])
        stream.socket.close()
        wait_for(lambda: connections(server) == 0)
        poster.sendall(body[10:])
        assert poster.recv(65_536).startswith(b"HTTP/1.1 404 ")


def test_a_client_that_vanishes_in_the_middle_of_its_post(server: Program) -> None:
    with socket.create_connection((HOST, server.port)) as poster:
        poster.sendall(
            f"POST /message HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
        )
    assert post(server, request("ping")).status_code == 200
    assert "Traceback" not in server.output


# --- The simplified form ------------------------------------------------------------------


def test_without_a_session_the_reply_is_the_response(server: Program) -> None:
    answer = post(server, call("echo", {"message": "hello SSE"}, "a"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "hello SSE"
    answer = post(server, notification("notifications/initialized"))
    assert (answer.status_code, answer.content) == (202, b"")


# --- JSON-RPC -----------------------------------------------------------------------------

DEEP = b"[" * 100_000

NOT_JSON = [
    b"",
    b"{",
    b"nul",
    b"{'a': 1}",
    b"\xff\xfe{\x00}\x00",
    b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":-Infinity}}',
    b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}',
    DEEP,
    b'{"a":' * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}',
]

# What is JSON and no message, with the id that the error must have.
NOT_JSON_RPC: list[tuple[bytes, Any]] = [
    (b"null", None),
    (b"1", None),
    (b'"ping"', None),
    (b"[]", None),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None),
    (b"{}", None),
    (b'{"id":1,"method":"ping"}', 1),
    (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', "a"),
    (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', 1),
    (b'{"jsonrpc":"2.0","id":1}', 1),
    (b'{"jsonrpc":"2.0","id":1,"method":1}', 1),
    (b'{"jsonrpc":"2.0","id":1,"method":null}', 1),
    (b'{"jsonrpc":"2.0","method":["ping"]}', None),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":1e400,"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', None),
    (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', 1),
    (b'{"jsonrpc":"2.0","result":{}}', None),
]


def wrong(server: Program, body: bytes, code: int, request_id: Any) -> None:
    """In both forms: status 400, and the JSON-RPC error in the response."""
    with Stream(server) as stream:
        for path in ("/message", stream.endpoint):
            answer = post(server, body, path)
            assert answer.status_code == 400
            reply = answer.json()
            assert (reply["error"]["code"], reply["id"]) == (code, request_id)
            assert reply.keys() == {"jsonrpc", "id", "error"}
        stream.ask(request("ping", request_id="after"))
        stream.reply("after")
        assert stream.raw.count(b"event: message") == 1


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:30]))
def test_not_json(server: Program, body: bytes) -> None:
    wrong(server, body, -32700, None)


@pytest.mark.parametrize(("body", "request_id"), NOT_JSON_RPC)
def test_not_json_rpc(server: Program, body: bytes, request_id: Any) -> None:
    wrong(server, body, -32600, request_id)


@pytest.mark.parametrize(
    "request_id", [0, -1, 7, "7", "", "é\u2028\n", 2**53 + 1, 10**4000, "\ud800"], ids=ascii
)
def test_ids_come_back_exactly(server: Program, request_id: Any) -> None:
    with Stream(server) as stream:
        answer = post(server, request("ping", request_id=request_id))
        reply = answer.json()
        assert reply == {"jsonrpc": "2.0", "id": request_id, "result": {}}
        assert type(reply["id"]) is type(request_id)
        stream.ask(request("ping", request_id=request_id))
        found = stream.read_until(rb"event: message\ndata: (.*)\n\n")
        assert json.loads(found.group(1))["id"] == request_id


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request("no/such"), -32601),
        (request("server/discover"), -32601),
        (request("notifications/initialized"), -32601),
        (request(""), -32601),
        (request("ping", [1]), -32602),
        (request("ping", 1), -32602),
        (request("initialize", {"protocolVersion": 1}), -32602),
        (request("tools/list", {"cursor": "next"}), -32602),
        (request("tools/call"), -32602),
        (request("tools/call", {"name": "echo"}), -32602),
        (call("rm", {}), -32602),
        (call(["echo"], {}), -32602),
        (call(None, {}), -32602),
        (call("echo", None), -32602),
        (call("echo", ["hello"]), -32602),
        (call("echo", {"message": 1}), -32602),
        (call("echo", {"message": None}), -32602),
        (call("echo", {"message": "a", "loud": True}), -32602),
        (call("add", {"a": 1}), -32602),
        (call("add", {"a": 1, "b": "2"}), -32602),
        (call("add", {"a": 1, "b": True}), -32602),
        (call("add", {"a": 1, "b": 2, "c": 3}), -32602),
    ],
    ids=lambda value: json.dumps(value)[:70],
)
def test_requests_that_cannot_be_answered(server: Program, message: Json, code: int) -> None:
    answer = post(server, message)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code
    assert answer.json()["id"] == 1


def test_a_number_that_only_python_calls_infinity(server: Program) -> None:
    body = json.dumps(call("add", {"a": 1, "b": "HUGE"})).replace('"HUGE"', "1e999").encode()
    assert post(server, body).json()["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [(2, 3, "5"), (0.5, 0.25, "0.75"), (2**60, 1, str(2**60 + 1)), (-1, 1, "0")],
)
def test_add(server: Program, a: float, b: float, text: str) -> None:
    result = post(server, call("add", {"a": a, "b": b})).json()["result"]
    assert result == {"content": [{"type": "text", "text": text}], "isError": False}


@pytest.mark.parametrize(("a", "b"), [(1e308, 1e308), (10**400, 0.5), (10**4299 * 9, 10**4299)])
def test_a_tool_that_fails_says_so_in_its_result(server: Program, a: float, b: float) -> None:
    result = post(server, call("add", {"a": a, "b": b})).json()["result"]
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith("add failed: ")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "a\nb\r\nc\rd",
        "data: x\n\nevent: endpoint\ndata: /evil",
        "\u2028\x00\x7f",
        "\udfff",
        "🙂" * 99,
    ],
    ids=ascii,
)
def test_echo_says_it_exactly(server: Program, said: str) -> None:
    with Stream(server) as stream:
        stream.initialize()
        stream.ask(call("echo", {"message": said}, "say"))
        assert stream.reply("say")["result"]["content"][0]["text"] == said


def test_versions(server: Program) -> None:
    for wanted in ("2024-11-05", "2025-11-25", "1999-01-01", ""):
        answer = post(server, request("initialize", {"protocolVersion": wanted}))
        assert answer.json()["result"]["protocolVersion"] == "2024-11-05"


# --- Who may come in, and with how much ---------------------------------------------------


def test_hosts_and_origins(server: Program) -> None:
    port = server.port
    own = [f"127.0.0.1:{port}", f"LocalHost:{port}", f"[::1]:{port}"]
    foreign = [
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1:{port}.evil.example",
        f"0.0.0.0:{port}",
        "",
    ]
    for method, path in (("GET", "/health"), ("GET", "/"), ("POST", "/message")):

        def status(method: str = method, path: str = path, **headers: str) -> int:
            headers["Content-Type"] = "application/json"
            body = json.dumps(request("ping")).encode() if method == "POST" else None
            return httpx2.request(
                method, server.url + path, content=body, headers=headers
            ).status_code

        assert {status(Host=host) for host in own} == {200}
        assert {status(Host=host) for host in foreign} == {421}
        assert {status(Origin=f"http://{host}") for host in own} == {200}
        origins = [f"http://{host}" for host in foreign] + ["null", f"https://{own[0]}", own[0]]
        assert {status(Origin=origin) for origin in origins} == {403}


def raw(server: Program, text: str) -> bytes:
    """Send bytes, read until the server closes."""
    with socket.create_connection((HOST, server.port), timeout=5) as client:
        client.sendall(text.replace("\n", "\r\n").encode())
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
        return answer


def test_two_hosts_or_none(server: Program) -> None:
    own = f"Host: {HOST}:{server.port}\n"
    close = "Connection: close\n\n"
    assert b" 421 " in raw(server, f"GET /health HTTP/1.1\n{own}Host: evil.example\n{close}")
    assert b" 421 " in raw(server, f"GET /health HTTP/1.1\n{close}")
    assert b" 421 " in raw(server, f"GET /health HTTP/1.0\n{close}")
    two = f"{own}Origin: http://{HOST}:{server.port}\nOrigin: http://evil.example\n"
    assert b" 403 " in raw(server, f"GET /health HTTP/1.1\n{two}{close}")


def test_a_foreign_page_gets_no_stream(server: Program) -> None:
    own = f"Host: {HOST}:{server.port}\n"
    answer = raw(
        server, f"GET /sse HTTP/1.1\n{own}Origin: http://evil.example\nConnection: close\n\n"
    )
    assert b" 403 " in answer
    assert b"endpoint" not in answer
    assert connections(server) == 0


def test_hosts_and_origins_can_be_allowed() -> None:
    options = ("--allow-host", "MCP.example", "--allow-origin", "https://app.example")
    with running(SERVER, *options) as program:
        url = f"{program.url}/health"
        assert httpx2.get(url, headers={"Host": "mcp.example"}).status_code == 200
        assert httpx2.get(url, headers={"Origin": "https://APP.example"}).status_code == 200
        assert httpx2.get(url, headers={"Origin": "https://mcp.example"}).status_code == 403


def headers_of(answer: httpx2.Response, name: str) -> list[str]:
    """The values of a header that is a list, in lower case."""
    return [value.strip().lower() for value in answer.headers.get(name, "").split(",")]


def test_pages_of_an_allowed_origin_may_read() -> None:
    page, other = "https://app.example", "http://localhost:8007"
    options = ("--allow-origin", page, "--allow-origin", other)
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,mcp-protocol-version",
    }
    with running(SERVER, *options) as program, httpx2.Client(base_url=program.url) as client:

        def ask(origin: str, **headers: str) -> httpx2.Response:
            return client.options("/message", headers={**asks, "Origin": origin, **headers})

        # Before it sends JSON, the browser asks whether it may.
        answer = ask(page)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == page
        assert headers_of(answer, "Access-Control-Allow-Methods") == ["get", "post"]
        wanted = {"content-type", "mcp-protocol-version"}
        assert wanted <= set(headers_of(answer, "Access-Control-Allow-Headers"))
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "origin" in headers_of(answer, "Vary")
        for refused in (
            ask("http://evil.example"),
            ask("null"),
            ask(page, **{"Access-Control-Request-Method": "DELETE"}),
            ask(page, **{"Access-Control-Request-Headers": "authorization"}),
        ):
            assert refused.status_code == 400
        assert "Access-Control-Allow-Origin" not in ask("http://evil.example").headers

        # The stream: its events come one by one, and each origin is told its own name.
        for origin in (page, other):
            with client.stream("GET", "/sse", headers={"Origin": origin}) as stream:
                assert stream.headers["Access-Control-Allow-Origin"] == origin
                assert headers_of(stream, "Vary") == ["origin"]
                assert stream.headers["Content-Type"] == "text/event-stream"
                lines = stream.iter_lines()
                assert next(lines) == "event: endpoint"
                endpoint = next(lines).removeprefix("data: ")
                body = request("initialize", {"protocolVersion": "2024-11-05"})
                answer = client.post(endpoint, json=body, headers={"Origin": origin})
                assert answer.status_code == 202
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                assert next(line for line in lines if '"id":1' in line)

        # Also what is refused can be read, by this page alone.
        gone = client.post("/message?session_id=x", json=body, headers={"Origin": page})
        assert gone.status_code == 404
        assert gone.headers["Access-Control-Allow-Origin"] == page
        host = client.get("/health", headers={"Origin": page, "Host": "evil.example"})
        assert host.status_code == 421
        assert host.headers["Access-Control-Allow-Origin"] == page
        foreign = client.get("/health", headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403
        assert "Access-Control-Allow-Origin" not in foreign.headers


def test_without_an_allowed_origin_nothing_is_said_to_pages(server: Program) -> None:
    own = {"Origin": f"http://{HOST}:{server.port}"}
    asks = {**own, "Access-Control-Request-Method": "POST"}
    answers = (
        httpx2.get(f"{server.url}/health", headers=own),
        httpx2.options(f"{server.url}/message", headers=asks),
    )
    assert [answer.status_code for answer in answers] == [200, 405]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Vary" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/json-patch+json", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_content_types(server: Program, kind: str, status: int) -> None:
    answer = httpx2.post(
        f"{server.url}/message",
        content=json.dumps(request("ping")),
        headers={"Content-Type": kind},
    )
    assert answer.status_code == status


def message_of(size: int) -> bytes:
    """A request of exactly so many bytes."""
    empty = json.dumps(call("echo", {"message": ""})).encode()
    return empty.replace(b'""', b'"%s"' % (b"x" * (size - len(empty))))


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_the_largest_body(server: Program, with_length: bool, connection: str) -> None:
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413), (3 * LIMIT, 413)):
        body = message_of(size)
        assert len(body) == size
        pieces = (body[at : at + 65_536] for at in range(0, size, 65_536))
        answer = httpx2.post(
            f"{server.url}/message",
            content=body if with_length else pieces,
            headers={"Content-Type": "application/json", "Connection": connection},
        )
        assert answer.status_code == status


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_body_without_end_is_refused_while_it_comes(server: Program, connection: str) -> None:
    """The answer is there before the body is, and it is not lost; memory does not grow."""
    memory = psutil.Process(server.process.pid)
    before = memory.memory_info().rss
    with socket.create_connection((HOST, server.port), timeout=5) as client:
        client.sendall(
            f"POST /message HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
            f"Connection: {connection}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        for _ in range(LIMIT // 65_536 + 1):
            client.sendall(piece)
        assert client.recv(65_536).startswith(b"HTTP/1.1 413 ")
        # It goes on sending for a while, as a client does that has not looked yet.
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                client.sendall(piece)
    assert memory.memory_info().rss - before < 8 * LIMIT
    assert "Traceback" not in server.output


def test_the_largest_message_goes_through_a_session(server: Program) -> None:
    with Stream(server) as stream:
        stream.initialize()
        assert stream.ask(message_of(LIMIT)).status_code == 202
        stream.read_until(rb"xxx\"\}\],\"isError\":false\}\}\n\n")


# --- Slow readers -------------------------------------------------------------------------


def test_a_reader_that_takes_nothing_is_dropped_and_delays_nobody(server: Program) -> None:
    def longest_answer() -> float:
        process = psutil.Process(server.process.pid)
        with Stream(server, buffer=4096) as slow, Stream(server) as lively:
            slow.initialize()
            lively.initialize()
            before = process.memory_info().rss
            body = message_of(200_000)
            answers: list[int] = []
            longest = 0.0
            while (status := slow.ask(body).status_code) == 202:
                answers.append(status)
                assert len(answers) < 300, "The slow reader was never dropped"
                began = time.monotonic()
                lively.ask(request("ping", request_id=len(answers)))
                lively.reply(len(answers))
                longest = max(longest, time.monotonic() - began)
            assert status == 404
            wait_for(lambda: connections(server) == 1)
            assert process.memory_info().rss - before < 40_000_000
        wait_for(lambda: "Dropped a reader" in server.output)
        assert "Traceback" not in server.output
        return longest

    assert takes_less_than(1, longest_answer)


def test_a_reader_that_stops_is_dropped_after_a_time(tmp_path: Path) -> None:
    """One event larger than the sockets hold, and then nobody reads."""
    program = tmp_path / "impatient.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(SERVER.parent)!r})\n"
        "import sse_server; sse_server.SEND_SECONDS = 0.5\n"
        "sse_server.serve(sse_server.create_app)\n"
    )
    with running(program, "--heartbeat", "0.2") as server, Stream(server, buffer=4096) as slow:
        slow.initialize()
        slow.ask(message_of(LIMIT))
        wait_for(lambda: connections(server) == 0)
        assert "took nothing for 0.5 s" in server.output
        assert "Traceback" not in server.output


# --- Starting and leaving -----------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_with_fifty_streams_open(how: signal.Signals) -> None:
    def leave() -> float:
        with running(SERVER) as program, contextlib.ExitStack() as stack:
            streams = [stack.enter_context(Stream(program)) for _ in range(50)]
            assert connections(program) == 50
            took = program.stop(how)
            assert program.process.returncode == 0
            assert all(stream.ends() for stream in streams)
            # The last chunk of HTTP's chunked coding: the stream ended, it was not cut off.
            assert all(stream.raw.endswith(b"0\r\n\r\n") for stream in streams)
            assert "Traceback" not in program.output
        return took

    assert takes_less_than(2, leave)


def test_a_second_ctrl_c_changes_nothing() -> None:
    with running(SERVER) as program, Stream(program):
        program.process.send_signal(signal.SIGINT)
        program.wait_for_output("Shutting down")
        assert program.stop(signal.SIGINT) < 2
    assert program.process.returncode == 0
    assert "Traceback" not in program.output


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_whatever_clients_are_doing(how: signal.Signals) -> None:
    """A reader that reads nothing, a half-sent POST, a silent connection, new streams."""

    def leave() -> float:
        with (
            running(SERVER, "--heartbeat", "0.05") as program,
            Stream(program, buffer=4096) as slow,
            socket.create_connection((HOST, program.port)) as half,
            socket.create_connection((HOST, program.port)),
        ):
            slow.initialize()
            slow.ask(message_of(LIMIT))
            half.sendall(
                f"POST /message HTTP/1.1\r\nHost: {HOST}:{program.port}\r\n"
                "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
            )
            leaving = threading.Event()

            def keep_coming() -> None:
                while not leaving.is_set():
                    try:
                        Stream(program)
                    except (OSError, AssertionError):
                        return

            thread = threading.Thread(target=keep_coming)
            thread.start()
            took = program.stop(how)
            leaving.set()
            thread.join()
            assert program.process.returncode == 0
            assert "Traceback" not in program.output
        return took

    # uvicorn gives the half-sent POST one second.
    assert takes_less_than(2, leave)


def test_a_port_in_use(server: Program) -> None:
    done = subprocess.run(
        [sys.executable, str(SERVER), "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=environment(),
    )
    port = server.port
    assert done.returncode == 1
    assert done.stdout + done.stderr == (
        f"Port {port} is in use. Choose another: --port {port + 1}\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "no.such.host.invalid"],
        ["--port", "70000"],
        ["--heartbeat", "0"],
        ["--allow-origin", "*"],
        ["--allow-origin", "null"],
        ["--allow-origin", "http://localhost:8007/"],
    ],
)
def test_what_cannot_be_served(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SERVER), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "LocalHost"])
def test_the_url_that_it_prints_is_let_in(host: str) -> None:
    with running(SERVER, "--host", host) as program:
        url = program.wait_for_output("/sse\n").partition("curl -N ")[2].split()[0]
        health = url.replace("/sse", "/health")
        assert httpx2.get(health).status_code == 200
        origin = {"Origin": url.removesuffix("/sse")}
        assert httpx2.get(health, headers=origin).status_code == 200


def test_what_it_prints(server: Program) -> None:
    assert f"Serving MCP on {server.url}/sse" in server.output
    assert f"curl -N {server.url}/sse" in server.output


def test_no_session_id_stands_in_the_log(server: Program) -> None:
    with Stream(server) as stream:
        stream.ask(request("ping"))
        session_id = stream.endpoint.partition("=")[2]
    assert post(server, b"", f"/message?a=1&session_id={session_id}&b=2").status_code == 404
    assert post(server, b"", f"/message?%73ession_id={session_id}").status_code == 404
    wait_for(lambda: "/message?a=…&session_id=…&b=…" in server.output)
    wait_for(lambda: "/message?%73ession_id=…" in server.output)
    assert session_id not in server.output


def test_it_also_serves_without_httptools() -> None:
    """uvicorn then parses HTTP with h11: a learner may copy the file out and run it so."""

    def leave() -> float:
        port = free_port()
        code = (
            "import runpy, sys; sys.modules['httptools'] = None; "
            f"sys.argv = ['sse_server.py', '--port', '{port}']; "
            f"sys.path.insert(0, {str(SERVER.parent)!r}); "
            f"runpy.run_path({str(SERVER)!r}, run_name='__main__')"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        program = Program(process, port)
        try:
            program.wait_until_listening(seconds=20)
            test_the_largest_body(program, with_length=False, connection="close")
            test_a_body_without_end_is_refused_while_it_comes(program, "close")
            test_a_session_from_start_to_end(program)
            with Stream(program):
                took = program.stop()
            assert process.returncode == 0
            assert os.name == "nt" or "Traceback" not in program.output
        finally:
            program.stop()
        return took

    assert takes_less_than(2, leave)
