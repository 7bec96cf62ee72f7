"""Lesson 06: its broken programs break as they say, and the fixed ones do not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import urljoin

import anyio
import pytest
from fastapi import FastAPI
from mcp import Client
from mcp.client.sse import sse_client
from mcp.server import MCPServer
from mcp.server.sse import SseServerTransport
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.sdk_parts import FOLDER, logged, post, program, serving, session, text_of
from workshop.checks.mcp_session import request
from workshop.raw_client import Server

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def lowlevel() -> Iterator[str]:
    with serving(program("lowlevel_calculator").app) as url:
        yield url


def legacy(url: str, **options: Any) -> Client:
    return Client(sse_client(url), mode="legacy", read_timeout_seconds=20, **options)


# --- A tool that blocks everybody ---------------------------------------------------------


class Gate:
    """Stands in for `time` in a program: its `sleep` lasts until the gate is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = threading.Semaphore(0)

    def sleep(self, seconds: float) -> None:
        self.inside.release()
        assert self.open.wait(20)


@contextmanager
def held(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(module, "time", gate)
    try:
        yield gate
    finally:
        gate.open.set()


@pytest.mark.parametrize(("name", "served"), [("broken", False), ("fixed", True)])
async def test_blocking_in_async_def_stops_everybody(
    name: str, served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one tool is at work for certain, is the other session answered?"""
    module = program(f"blocking_{name}")
    monkeypatch.setattr(EventSourceResponse, "DEFAULT_PING_INTERVAL", 0.3)
    with (
        held(module, monkeypatch) as gate,
        serving(module.server.sse_app()) as url,
        Server(f"{url}/sse").open("", seconds=10) as silent,
    ):
        async with legacy(f"{url}/sse") as busy, legacy(f"{url}/sse") as other:
            call = asyncio.create_task(busy.call_tool("work", {"seconds": 2}))
            assert await asyncio.to_thread(gate.inside.acquire, timeout=20)
            pings = silent.raw.count(b": ping")
            with anyio.move_on_after(20 if served else 1.5) as waited:
                await other.list_tools()
            assert waited.cancelled_caught is not served
            # No heartbeat goes out either.
            if served:
                more = functools.partial(
                    silent.wait, lambda silent: silent.raw.count(b": ping") > pings, seconds=20
                )
                assert await asyncio.to_thread(more)
            else:
                assert silent.raw.count(b": ping") <= pings + 1  # one may have been on its way
            gate.open.set()
            assert not (await call).is_error


def test_ruff_finds_it() -> None:
    ruff = [sys.executable, "-m", "ruff", "check", "--ignore-noqa", "--output-format=concise"]
    path = str(FOLDER / "blocking_broken.py")
    done = subprocess.run([*ruff, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ASYNC251" in done.stdout


async def test_forty_threads_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain functions run on the default threads of anyio: the 41st call waits for one."""
    module = program("blocking_fixed")
    with held(module, monkeypatch) as gate, serving(module.server.sse_app()) as url:
        async with legacy(f"{url}/sse") as client, asyncio.TaskGroup() as calls:
            for _ in range(41):
                calls.create_task(client.call_tool("work", {"seconds": 1}))

            def forty_inside() -> bool:
                return all(gate.inside.acquire(timeout=20) for _ in range(40))

            assert await asyncio.to_thread(forty_inside)
            # The answer to a later request says that the 41st had been taken in too.
            await client.list_tools()
            assert not gate.inside.acquire(blocking=False)
            gate.open.set()


# --- The prefix and the slash -------------------------------------------------------------


def first_post(url: str) -> tuple[str, int, str]:
    """The path in the endpoint event, and what a POST there is answered: status, Location."""
    with session(url, initialize=False) as opened:
        answer = post(urljoin(url, opened.endpoint), request(1, "ping"))
        path = opened.endpoint.partition("?")[0]
        return path, answer.status, answer.headers.get("location", "")


@pytest.mark.parametrize(
    ("name", "stream", "endpoint", "status"),
    [
        ("prefix_broken", "/calculator/sse", "/messages/", 404),
        ("prefix_twice_broken", "/calculator/sse", "/calculator/calculator/messages/", 404),
        ("transport_per_request_broken", "/sse", "/messages/", 404),
        ("slash_broken", "/sse", "/messages", 307),
        ("lowlevel_calculator", "/sse", "/messages/", 202),
    ],
)
async def test_where_the_first_post_goes(
    name: str, stream: str, endpoint: str, status: int
) -> None:
    with logged("mcp.server.sse") as log, serving(program(name).app) as url:
        path, got, location = first_post(f"{url}{stream}")
        assert (path, got) == (endpoint, status)
        if status == 307:
            assert location.startswith(f"{url}/messages/?session_id=")
        if status == 404:
            # The SDK's client connects, and then waits for a reply that never comes.
            with anyio.move_on_after(1.5) as waited:
                async with legacy(f"{url}{stream}"):
                    pass
            assert waited.cancelled_caught
        lines = [record.getMessage() for record in log]
        if name == "transport_per_request_broken":
            assert lines
            assert all(line.startswith("Could not find session for ID") for line in lines)
        else:
            assert lines == []


async def test_an_sdk_client_follows_the_redirect() -> None:
    """So the missing slash works, at the price of a second POST for each."""
    with logged("uvicorn.access") as access, serving(program("slash_broken").app) as url:
        async with legacy(f"{url}/sse") as client:
            assert text_of(await client.call_tool("add", {"a": 1, "b": 2})) == "3"
    answers = [(path.partition("?")[0], status) for path, status in posts(access)]
    assert len(answers) >= 6
    assert set(answers[::2]) == {("/messages", 307)}
    assert set(answers[1::2]) == {("/messages/", 202)}


def test_behind_https_the_redirect_leads_to_http() -> None:
    """Unless uvicorn trusts the proxy that says X-Forwarded-Proto. It trusts 127.0.0.1."""
    app = program("slash_broken").app
    for trusted, scheme in (("127.0.0.1", "https"), ("10.0.0.1", "http")):
        with serving(app, forwarded_allow_ips=trusted) as url:
            proxy = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"}
            answer = Server(url).request("POST", "/messages", b"{}", proxy, seconds=10)
            assert answer.status == 307
            assert answer.headers["location"].startswith(f"{scheme}://")


def test_mounted_at_the_streams_own_url() -> None:
    """`app.mount("/sse", server.sse_app())`: the stream is at /sse/sse, and /sse/ is 404."""
    app = FastAPI()
    app.mount("/sse", MCPServer("x").sse_app())
    with serving(app) as url:
        server = Server(url)
        answer = server.request("GET", "/sse", seconds=10)
        assert answer.status == 307
        assert answer.headers["location"] == f"{url}/sse/"
        assert server.request("GET", "/sse/", seconds=10).status == 404
        assert first_post(f"{url}/sse/sse")[:2] == ("/sse/messages/", 202)


def test_behind_a_proxy_that_takes_the_prefix_off() -> None:
    """`--root-path` tells uvicorn, uvicorn tells the transport."""
    app = program("lowlevel_calculator").app
    with (
        serving(app, root_path="/calculator") as url,
        Server(f"{url}/sse").open("", seconds=10) as stream,
    ):
        event = stream.event(lambda event: event.type == "endpoint", seconds=10)
        assert event is not None
        assert event.data.startswith("/calculator/messages/?session_id=")


def test_a_bound_method_is_no_endpoint() -> None:
    """`Route` calls a method with one argument, a request: only Mount takes it for an app."""
    transport = program("lowlevel_calculator").transport
    app = Starlette(
        routes=[Route("/messages", transport.handle_post_message, methods=["POST"])]
    )
    with serving(app) as url:
        answer = post(f"{url}/messages", {})
        assert answer.status == 500


# --- The end of a stream ------------------------------------------------------------------


@pytest.fixture
def errors() -> Iterator[list[logging.LogRecord]]:
    """What uvicorn reports: `tracebacks` picks what it reports with one."""
    with logged("uvicorn.error") as records:
        yield records


def tracebacks(records: list[logging.LogRecord]) -> list[str]:
    """The last line of each traceback."""
    return [str(record.exc_info[1]) for record in records if record.exc_info]


def posts(records: list[logging.LogRecord]) -> list[tuple[str, int]]:
    """Path and status of each POST in uvicorn's access log."""
    found = (re.search(r'"POST (\S+) HTTP/1.1" (\d+)', each.getMessage()) for each in records)
    return [(match[1], int(match[2])) for match in found if match]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("no_response_broken", "'NoneType' object is not callable"),
        ("lowlevel_calculator", None),
        ("middleware_broken", "Unexpected message: {'type': 'http.response.start'"),
        ("middleware_fixed", None),
    ],
)
async def test_what_the_log_says_when_a_client_leaves(
    name: str, wanted: str | None, errors: list[logging.LogRecord]
) -> None:
    with serving(program(name).app) as url:
        async with legacy(f"{url}/sse") as client:
            assert float(text_of(await client.call_tool("add", {"a": 1, "b": 2}))) == 3
        signature = Server(url).request("GET", "/", seconds=10).headers.get("x-served-by")
        assert signature == ("lesson 06" if name.startswith("middleware") else None)
    found = tracebacks(errors)
    if wanted is None:
        assert found == []
    else:
        assert found
        assert all(each.startswith(wanted) for each in found)


async def test_fastapi_answers_none_itself(errors: list[logging.LogRecord]) -> None:
    """Of what an endpoint returns, FastAPI makes a response: None is `null`."""
    low = program("no_response_broken")
    app = FastAPI()
    app.get("/sse", response_model=None)(low.open_stream)
    app.mount("/messages/", low.transport.handle_post_message)
    with serving(app) as url:
        async with legacy(f"{url}/sse") as client:
            assert (await client.list_tools()).tools
    assert tracebacks(errors) == []


# --- What still falls to you --------------------------------------------------------------


def test_a_ping_every_fifteen_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK has no option for it; its event streams have a default for all of them."""
    assert EventSourceResponse.DEFAULT_PING_INTERVAL == 15
    monkeypatch.setattr(EventSourceResponse, "DEFAULT_PING_INTERVAL", 0.2)
    with (
        serving(program("lowlevel_calculator").app) as url,
        Server(f"{url}/sse").open("", seconds=10) as stream,
    ):
        assert stream.wait(lambda stream: stream.raw.count(b"\n: ping - ") >= 2, seconds=10)


def test_a_body_of_more_than_four_mebibytes() -> None:
    with (
        serving(program("lowlevel_calculator").app) as url,
        session(f"{url}/sse") as opened,
    ):
        # The rest is blanks, which JSON allows.
        ping = b'{"jsonrpc":"2.0","id":9,"method":"ping"}'
        assert opened.post(ping.ljust(4 * 1024 * 1024), seconds=10).status == 202
        assert opened.reply(9, seconds=10)
        assert opened.post(ping.ljust(4 * 1024 * 1024 + 1), seconds=10).status == 413


@pytest.mark.parametrize(
    "takes_it", [MCPServer.sse_app, MCPServer.run_sse_async, SseServerTransport.__init__]
)
def test_the_limit_can_be_set(takes_it: Any) -> None:
    assert "max_request_body_size" in inspect.signature(takes_it).parameters


def test_as_many_streams_as_anybody_likes() -> None:
    with serving(program("lowlevel_calculator").app) as url:
        streams = [Server(f"{url}/sse").open("", seconds=10) for _ in range(100)]
        for stream in streams:
            assert stream.event(lambda event: event.type == "endpoint", seconds=20)
        for stream in streams:
            stream.close()


def test_who_knows_the_session_may_speak_in_it() -> None:
    """And uvicorn's access log tells the session to everyone who reads it."""
    with (
        logged("uvicorn.access") as access,
        serving(program("lowlevel_calculator").app) as url,
        session(f"{url}/sse") as victim,
    ):
        (path,) = {path for path, _ in posts(access)}
        assert path == victim.endpoint
        assert post(f"{url}{path}", request(99, "ping")).status == 202
        assert victim.reply(99, seconds=10)


def test_with_authentication_a_session_has_an_owner() -> None:
    """Another user who knows the session is told that there is none."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    app = program("lowlevel_calculator").app

    async def signed_in(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            name = dict(scope["headers"])[b"x-user"].decode()
            token = AccessToken(token=name, client_id=name, scopes=[])
            scope = {**scope, "user": AuthenticatedUser(token)}
        await app(scope, receive, send)

    alice, mallory = {"X-User": "alice"}, {"X-User": "mallory"}
    with (
        serving(signed_in) as url,
        Server(url).open("/sse", alice, seconds=10) as stream,
    ):
        event = stream.event(lambda event: event.type == "endpoint", seconds=10)
        assert event is not None
        path = f"{url}{event.data}"
        assert post(path, request(1, "ping"), alice).status == 202
        answer = post(path, request(1, "ping"), mallory)
        assert (answer.status, answer.body) == (404, b"Could not find session")


def test_a_session_is_known_to_one_process_only() -> None:
    """Two apps stand for two workers: what one opened, the other does not know."""
    app = program("lowlevel_calculator").app
    other_app = MCPServer("other worker").sse_app()
    with (
        serving(app) as url,
        serving(other_app) as other_url,
        session(f"{url}/sse") as opened,
    ):
        answer = post(f"{other_url}{opened.endpoint}", request(1, "ping"))
        assert (answer.status, answer.body) == (404, b"Could not find session")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "localhost.evil.example:1"}, 421),
        ({"Origin": "http://localhost:1"}, 200),
        ({"Origin": "https://localhost:1"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_hosts_and_origins(header: dict[str, str], status: int, lowlevel: str) -> None:
    if status == 200:
        with Server(lowlevel).open("/sse", header, seconds=10) as stream:
            assert stream.event(lambda event: event.type == "endpoint", seconds=10)
    else:
        assert (
            Server(lowlevel).request("GET", "/sse", None, header, seconds=10).status == status
        )


@pytest.mark.parametrize(
    ("host", "guarded"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("shop.example", False),
        (None, False),
    ],
)
def test_where_the_sdk_guards_a_server_by_itself(host: str | None, guarded: bool) -> None:
    """Not on other addresses; and a bare transport, None, never does."""
    if host is None:
        post_message = SseServerTransport("/messages/").handle_post_message
        app = Starlette(routes=[Mount("/messages/", app=post_message)])
    else:
        app = MCPServer("x").sse_app(host=host)
    path = "/messages/?session_id=00000000000000000000000000000000"
    answer = TestClient(app, base_url="http://evil.example").post(path, json={})
    assert answer.status_code == (421 if guarded else 404)


def test_any_port_is_not_a_missing_one() -> None:
    """`sse_app` itself knows `localhost:*` only, so a bare `localhost` is refused."""
    with serving(MCPServer("x").sse_app()) as url:
        bare = {"Host": "localhost"}
        assert Server(url).request("GET", "/sse", None, bare, seconds=10).status == 421


def test_a_refused_stream_is_a_traceback(errors: list[logging.LogRecord]) -> None:
    with serving(program("lowlevel_calculator").app) as url:
        answer = Server(url).request("GET", "/sse", None, {"Host": "evil.example"}, seconds=10)
        assert answer.status == 421
    assert tracebacks(errors) == ["Request validation failed"]
