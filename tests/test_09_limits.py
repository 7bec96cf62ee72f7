"""Lesson 09: what exhausts a server or a client, and what stops it.

Each attack succeeds on what is open and fails on what is secure. It succeeds there, too, once
its cure is taken out: nothing else would have stopped it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.folder_modules import Edit, edited_copy, modules_in
from workshop.checks.mcp_session import request
from workshop.course import ROOT
from workshop.running import environment

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/09_security"
MIB = 1024 * 1024

# What each says of the open one, and of the secure one: that is what refused it.
AGAINST_SERVERS = {
    "endless_body": (
        r"took 64 MiB and waits for more: memory \+(\d+) MiB",
        r"413, and closed, after \d+ MiB were on their way",
    ),
    "slow_head": (
        r"after 4 s 50 of 50 connections are held, without a token",
        r"50 of 50 closed: HTTP/1.1 408 Request Timeout",
    ),
    "slow_body": (
        r"after 4 s 20 of 20 requests are held",
        r"20 of 20 closed: HTTP/1.1 408 Request Timeout",
    ),
    "slow_reader": (
        r"48 MiB wait for a client that does not read: memory \+(\d+) MiB",
        r"dropped after \d+ calls of 3 MiB: 404",
    ),
    "hoarded_sessions": (
        r"300 sessions without a client take messages",
        # Many more than she may have at once: each place was given back.
        r"(5\d|60) opened and left, \1 ids get 404; then GET /sse: 429",
    ),
    "many_streams": (
        r"500 streams for one customer: memory \+\d+ KiB for each",
        r"stream 11: 429; Alice gets in, and her reply",
    ),
    "flood": (
        r"\d+ calls were run, and 100 streams opened",
        r"after \d+ messages 429, after \d+ streams 429; Alice gets her reply",
    ),
}
AGAINST_CLIENTS = {
    "endless_event": (
        r"keeps 64 MiB and waits for more: memory \+(\d+) MiB",
        r"Refused: An event is over 1048576 characters",
    ),
    "foreign_endpoint": (
        r"another server got: Bearer alices-token-for-another-server",
        r"Refused: the endpoint is elsewhere: http://127\.0\.0\.1:\d+/collect",
    ),
}

# The cures: in which file, what, and what it is without them.
CURES: dict[str, tuple[str, list[Edit]]] = {
    "endless_body": (
        "endless_body",
        [("door.py", "if len(body) > MAX_BODY:", "if False:")],
    ),
    "slow_head": (
        "slow_head",
        [("connection.py", "call_later(HEAD_SECONDS,", "call_later(3600,")],
    ),
    "slow_body": (
        "slow_body",
        [("door.py", "asyncio.timeout(seconds)", "asyncio.timeout(None)")],
    ),
    "slow_reader": (
        "slow_reader",
        [
            (
                "secure_server.py",
                "self.waiting.full() or self.waiting_bytes + len(event) > MAX_WAITING_BYTES",
                "False",
            )
        ],
    ),
    "hoarded_sessions": (
        "hoarded_sessions",
        [("secure_server.py", "self.sessions.pop(self.id, None)", "pass")],
    ),
    "many_streams": (
        "many_streams",
        [
            (
                "limiting.py",
                "if self.open_streams[principal] >= self.settings.streams:",
                "if False:",
            ),
            # It would take her some minutes otherwise.
            ("settings.py", 'parse("60/minute")', 'parse("6000/minute")'),
        ],
    ),
    "flood, messages": (
        "flood",
        [
            (
                "limiting.py",
                'return await self.window.hit(self.settings.messages, "messages", principal)',
                "return True",
            )
        ],
    ),
    "flood, streams": (
        "flood",
        [
            (
                "limiting.py",
                'if not await self.window.hit(self.settings.opens, "opens", principal):',
                "if False:",
            )
        ],
    ),
    "endless_event": (
        "endless_event",
        [("secure_client.py", "max_event_size=MAX_EVENT", "max_event_size=2**40")],
    ),
    "foreign_endpoint": (
        "foreign_endpoint",
        [
            (
                "secure_client.py",
                "if origin(endpoint) != origin(stream) or endpoint.userinfo:",
                "if False:",
            )
        ],
    ),
}

SHARED = ("finding", "target", "wire", "evil", "lab")
MODULES = modules_in(
    FOLDER,
    [
        "event_stream",
        "secure_client",
        "attacks",
        *(f"attacks.{name}" for name in (*SHARED, *AGAINST_SERVERS, *AGAINST_CLIENTS)),
    ],
)
started = MODULES["attacks.lab"].started
wire = MODULES["attacks.wire"]
evil = MODULES["attacks.evil"]


def attack(name: str) -> Any:
    return MODULES[f"attacks.{name}"]


@pytest.fixture(scope="module")
def server(warm: None) -> Iterator[Callable[[str, str], Any]]:
    """The open or the secure server, for an attack. Each is started once it is needed."""
    with ExitStack() as stack:
        servers: dict[str, Callable[[str], Any]] = {}

        def of(target: str, name: str) -> Any:
            which = f"{target}_server.py"
            alone = name if getattr(MODULES[f"attacks.{name}"], "ALONE", False) else ""
            if which + alone not in servers:
                start = started(FOLDER / which, list(AGAINST_SERVERS))
                servers[which + alone] = stack.enter_context(start)
            return servers[which + alone](name)

        yield of


@pytest.mark.parametrize("name", AGAINST_SERVERS)
async def test_it_succeeds_on_the_open_server(
    name: str, server: Callable[[str, str], Any]
) -> None:
    finding = await attack(name).attack(server("open", name))
    assert finding.succeeded, finding
    found = re.fullmatch(AGAINST_SERVERS[name][0], finding.evidence)
    assert found, finding
    assert len(finding.evidence) <= 70
    # What it was sent, it keeps.
    assert all(int(mib) > 30 for mib in found.groups())


@pytest.mark.parametrize("name", AGAINST_SERVERS)
async def test_it_fails_on_the_secure_server(
    name: str, server: Callable[[str, str], Any]
) -> None:
    target = server("secure", name)
    before = psutil.Process(target.pid).memory_info().rss
    finding = await attack(name).attack(target)
    assert not finding.succeeded, finding
    assert re.fullmatch(AGAINST_SERVERS[name][1], finding.evidence), finding
    assert len(finding.evidence) <= 70
    assert psutil.Process(target.pid).memory_info().rss - before < 48 * MIB


@pytest.mark.parametrize("name", AGAINST_CLIENTS)
async def test_it_succeeds_on_the_open_client(name: str) -> None:
    finding = await attack(name).attack(FOLDER / "open_client.py")
    assert finding.succeeded, finding
    found = re.fullmatch(AGAINST_CLIENTS[name][0], finding.evidence)
    assert found, finding
    assert len(finding.evidence) <= 70
    assert all(int(mib) > 30 for mib in found.groups())


@pytest.mark.parametrize("name", AGAINST_CLIENTS)
async def test_it_fails_on_the_secure_client(name: str) -> None:
    finding = await attack(name).attack(FOLDER / "secure_client.py")
    assert not finding.succeeded, finding
    assert re.fullmatch(AGAINST_CLIENTS[name][1], finding.evidence), finding
    assert len(finding.evidence) <= 70


@pytest.mark.parametrize("cure", CURES)
async def test_without_its_cure_it_succeeds_again(cure: str, tmp_path: Path) -> None:
    name, edits = CURES[cure]
    folder = edited_copy(FOLDER, edits, tmp_path)
    if name in AGAINST_CLIENTS:
        finding = await attack(name).attack(folder / "secure_client.py")
    else:
        with started(folder / "secure_server.py", [name]) as server_for:
            finding = await attack(name).attack(server_for(name))
    assert finding.succeeded, finding


# --- The server -------------------------------------------------------------------------

HEALTH = ("GET", "/health")
POST = ("POST", "/message", "Content-Length: 1000000")


@pytest.mark.parametrize(
    ("first", "then", "piece"),
    [
        (HEALTH, b"GET /health HTTP/1.1\r\nX-Slow: ", b"a"),
        (HEALTH, b"GET /hea", b""),
        (HEALTH, b"\r\n", b"\r\n"),
        (HEALTH, b"\r\n", b""),
        # Answered at once. The rest of its body may still come, but not for ever.
        (POST, b"a", b"a"),
        (POST, b"a", b""),
    ],
    ids=[
        "a slow head",
        "half a head",
        "empty lines",
        "one empty line",
        "the body of a refused request",
        "a byte of it",
    ],
)
async def test_nor_is_a_kept_connection_held(
    first: tuple[str, ...], then: bytes, piece: bytes, server: Callable[[str, str], Any]
) -> None:
    target = server("secure", "slow_head")
    async with wire.connected(target) as kept:
        await kept.send(kept.head(*first) + b"\r\n")
        status, headers = await kept.answer()
        assert status == (200 if first == HEALTH else 401)
        assert "connection" not in headers
        await kept.send(then)
        # uvicorn's own limit, of five seconds, ended when that came.
        assert await kept.trickle(target.patience, piece) == "HTTP/1.1 408 Request Timeout"


@pytest.mark.parametrize("trailer", [b"a: b\r\n", b"a"], ids=["many", "one that never ends"])
@pytest.mark.parametrize("token", ["alice", "nobody"])
async def test_trailers_have_an_end(
    trailer: bytes, token: str, server: Callable[[str, str], Any]
) -> None:
    target = server("secure", "endless_body")
    before = wire.memory(target.pid)
    async with wire.connected(target) as one:
        lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        token = target.alice if token == "alice" else ""
        await one.send(one.head("POST", "/message", *lines, token=token) + b"\r\n0\r\na: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(16):
                await one.send(trailer * (MIB // len(trailer)))
        async with asyncio.timeout(target.patience):
            await one.closed()
    if before is not None:
        assert (wire.memory(target.pid) - before) < 32 * MIB


async def answer_to(target: Any, session_id: str, body: bytes) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=10) as http:
        return await http.post(
            f"{target.url}/message",
            params={"session_id": session_id},
            content=body,
            headers={
                "Authorization": f"Bearer {target.alice}",
                "Content-Type": "application/json",
            },
        )


async def test_what_is_slow_to_read_is_not_read(server: Callable[[str, str], Any]) -> None:
    target = server("secure", "slow_body")
    async with target.open(target.alice) as stream:
        await stream.endpoint()
        for bracket in (b"[],", b"{},"):
            answer = await answer_to(target, stream.session_id, b"[" + bracket * MIB + b"1]")
            assert answer.status_code == 413


async def test_calls_that_wait_do_not_keep_long_messages(
    server: Callable[[str, str], Any],
) -> None:
    target = server("secure", "slow_body")
    long = {"name": "wait", "arguments": {"seconds": 60}, "_meta": {"long": "x" * 3 * MIB}}
    message = request(1, "tools/call", long)
    async with target.open(target.alice) as stream:
        await stream.initialize()
        assert [await stream.send(message) for _ in range(4)] == [202, 202, 429, 429]
        message["params"] = {"name": "echo", "arguments": {"message": "short"}}
        assert await stream.send(message) == 202


async def test_an_id_with_half_a_character_is_no_failure(
    server: Callable[[str, str], Any],
) -> None:
    target = server("secure", "slow_body")
    async with target.open(target.alice) as stream:
        await stream.endpoint()
        answer = await answer_to(target, stream.session_id, rb'{"id": "\ud800"}')
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert rb'"id":"\ud800"' in answer.content


async def test_a_refused_message_says_when_to_try_again(
    server: Callable[[str, str], Any],
) -> None:
    target = server("secure", "flood")
    async with wire.connected(target) as one:
        message = one.message("none", {}, target.mallory)
        await one.send(message * 200)
        answers = [await one.answer() for _ in range(200)]
    refused = [headers for status, headers in answers if status == 429]
    assert refused
    assert all(headers["retry-after"] == "1" for headers in refused)


@pytest.mark.long
async def test_more_streams_than_a_process_may_have_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On most machines 1024, until somebody raises it. Then memory is the limit."""
    streams = 1_200
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = streams + 500
    if most != resource.RLIM_INFINITY and most < needed:
        pytest.skip(f"A process may have {most} open files here: `ulimit -Hn {needed}`")
    monkeypatch.setattr(attack("many_streams"), "STREAMS", streams)
    with started(FOLDER / "open_server.py", ["many_streams"]) as server_for:
        target = server_for("many_streams")
        process = psutil.Process(target.pid)
        if not hasattr(process, "rlimit"):
            pytest.skip("Only Linux sets the limit of another process.")
        process.rlimit(psutil.RLIMIT_NOFILE, (max(soft, needed), most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))
        try:
            finding = await attack("many_streams").attack(target)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    assert finding.succeeded
    found = re.fullmatch(
        r"1200 streams for one customer: memory \+(\d+) KiB for each", finding.evidence
    )
    assert found, finding
    assert 10 < int(found[1]) < 100


async def test_streams_use_up_what_others_need() -> None:
    with started(FOLDER / "open_server.py", ["many_streams"]) as server_for:
        target = server_for("many_streams")
        process = psutil.Process(target.pid)
        if not hasattr(process, "rlimit"):
            pytest.skip("Only Linux sets the limit of another process.")
        _, most = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (200, most))
        finding = await attack("many_streams").attack(target)
    assert finding.succeeded
    assert re.fullmatch(r"after 1\d\d streams, Alice gets no answer", finding.evidence)


# --- The clients ------------------------------------------------------------------------

client = MODULES["secure_client"]
HERE = "http://127.0.0.1:8019"


@pytest.mark.parametrize("target", ["open", "secure"])
@pytest.mark.parametrize("program", ["open_client.py", "secure_client.py"])
def test_the_clients_work(program: str, target: str, server: Callable[[str, str], Any]) -> None:
    at = server(target, "slow_head")
    printed = run_client(program, f"{at.url}/sse", at.alice)
    assert printed == "Tools: echo, wait, read_note, count_lines\necho: Hello\n"


def run_client(program: str, url: str, token: str) -> str:
    return subprocess.run(
        [sys.executable, str(FOLDER / program), url, "--token", token],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        env=environment(),
    ).stdout


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("/message?session_id=1", f"{HERE}/message?session_id=1"),
        ("message", f"{HERE}/message"),
        (f"{HERE}/message", f"{HERE}/message"),
        ("HTTP://127.0.0.1:8019/message", f"{HERE}/message"),
        # Not what they look like: the request goes to us.
        ("http:evil", f"{HERE}/evil"),
        ("http:/evil", f"{HERE}/evil"),
        ("///evil/message", f"{HERE}/evil/message"),
        ("/.//evil", f"{HERE}//evil"),
    ],
)
def test_an_endpoint_on_the_same_origin_is_taken(told: str, url: str) -> None:
    endpoint = client.endpoint_of(client.httpx2.URL(f"{HERE}/sse"), told)
    assert str(endpoint) == url
    assert endpoint.netloc == b"127.0.0.1:8019"


@pytest.mark.parametrize(
    "told",
    [
        "//evil/message",
        "//evil:8019/message",
        "////evil/message",
        "http://127.0.0.1/message",
        "http://127.0.0.1:8020/message",
        "https://127.0.0.1:8019/message",
        "http://localhost:8019/message",
        "http://127.0.0.1:8019@evil/message",
        "http://127.0.0.1:8019.evil/message",
        "http://alice:secret@127.0.0.1:8019/message",
        "http://2130706433:8019/message",
        "http://[::ffff:127.0.0.1]:8019/message",
        "\\\\evil/message",
        "/\\evil/message",
        "http://127.0.0.1:8019\\@evil/message",
        "h\nttp://evil/message",
        "http://evil\t/message",
        "/a message",
        "file:///etc/passwd",
        "javascript:1",
    ],
)
def test_an_endpoint_elsewhere_is_refused(told: str) -> None:
    with pytest.raises(client.Refused):
        client.endpoint_of(client.httpx2.URL(f"{HERE}/sse"), told)


async def refusal_at(answers: Callable[[str, str], bytes], client: Path) -> tuple[str, int]:
    """How a client leaves a server that answers GET and POST so, and what elsewhere gets."""
    got = asyncio.Event()
    count = 0

    async def collect(request: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        got.set()

    async with evil.evil_server(collect) as collector:

        async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(answers(request[0].split()[0], collector))
            await writer.drain()
            await asyncio.Event().wait()

        async with (
            evil.evil_server(answer) as url,
            evil.client_of(url, client) as victim,
        ):
            return await victim.refusal(got), count


def moved(status: str, collector: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {collector}/x\r\nContent-Length: 0\r\n\r\n".encode()


def get_is_moved(method: str, collector: str) -> bytes:
    return moved("302 Found", collector)


def post_is_moved(method: str, collector: str) -> bytes:
    if method == "POST":
        return moved("307 Temporary Redirect", collector)
    return evil.STREAM + b"event: endpoint\ndata: /message\n\n"


@pytest.mark.parametrize("answers", [get_is_moved, post_is_moved])
async def test_a_redirect_is_not_followed(answers: Callable[[str, str], bytes]) -> None:
    method = "GET" if answers is get_is_moved else "POST"
    line, count = await refusal_at(answers, FOLDER / "secure_client.py")
    assert line.startswith(f"Refused: {method} is answered with a redirect to 'http://127.")
    assert count == 0
    # The open one goes there.
    line, count = await refusal_at(answers, FOLDER / "open_client.py")
    assert (line, count) == ("", 1)


async def test_a_redirect_to_nowhere_is_refused() -> None:
    def nowhere(method: str, collector: str) -> bytes:
        return b"HTTP/1.1 304 Not Modified\r\n\r\n"

    line, _ = await refusal_at(nowhere, FOLDER / "secure_client.py")
    assert line == "Refused: GET is answered with a redirect to ''"


async def test_a_compressed_stream_is_refused() -> None:
    def compressed(method: str, collector: str) -> bytes:
        return evil.STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    line, _ = await refusal_at(compressed, FOLDER / "secure_client.py")
    assert line == "Refused: the stream is compressed, although we did not ask for that"


@pytest.mark.parametrize(
    ("after", "refusal"),
    [
        (b"", "Refused: no endpoint within 1 s"),
        (b"event: endpoint\ndata: /message\n\n", "Refused: no answer to a message within 1 s"),
    ],
)
async def test_waiting_has_an_end(after: bytes, refusal: str, tmp_path: Path) -> None:
    edit = ("secure_client.py", "SECONDS = 10.0", "SECONDS = 1.0")
    folder = edited_copy(FOLDER, [edit], tmp_path)

    def silent(method: str, collector: str) -> bytes:
        return evil.STREAM + after if method == "GET" else b""

    line, _ = await refusal_at(silent, folder / "secure_client.py")
    assert line == refusal
