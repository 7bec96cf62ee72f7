"""Lesson 09: what exhausts a server or a client, and what stops it.

Each attack succeeds on what is open and fails on what is secure. It succeeds there, too, once
its cure is taken out: nothing else would have stopped it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.folder_modules import modules_in
from workshop.course import ROOT

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
        r"60 MiB wait for a client that does not read: memory \+(\d+) MiB",
        r"dropped after \d+ replies of 3 MiB: 404",
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
Edit = tuple[str, str, str]
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
                'return self.window.hit(self.settings.messages, "messages", principal)',
                "return True",
            )
        ],
    ),
    "flood, streams": (
        "flood",
        [
            (
                "limiting.py",
                'if not self.window.hit(self.settings.opens, "opens", principal):',
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
            if target not in servers:
                program = FOLDER / f"{target}_server.py"
                customers = [*AGAINST_SERVERS, "kept"]
                servers[target] = stack.enter_context(started(program, customers))
            return servers[target](name)

        yield of


@pytest.mark.parametrize("name", AGAINST_SERVERS)
async def test_it_succeeds_on_the_open_server(
    name: str, server: Callable[[str, str], Any]
) -> None:
    finding = await attack(name).attack(server("open", name))
    assert finding.succeeded, finding
    found = re.fullmatch(AGAINST_SERVERS[name][0], finding.evidence)
    assert found, finding
    # What it was sent, it keeps.
    assert all(int(mib) > 40 for mib in found.groups())


@pytest.mark.parametrize("name", AGAINST_SERVERS)
async def test_it_fails_on_the_secure_server(
    name: str, server: Callable[[str, str], Any]
) -> None:
    target = server("secure", name)
    before = psutil.Process(target.pid).memory_info().rss
    finding = await attack(name).attack(target)
    assert not finding.succeeded, finding
    assert re.fullmatch(AGAINST_SERVERS[name][1], finding.evidence), finding
    assert psutil.Process(target.pid).memory_info().rss - before < 48 * MIB


@pytest.mark.parametrize("name", AGAINST_CLIENTS)
async def test_it_succeeds_on_the_open_client(name: str) -> None:
    finding = await attack(name).attack(FOLDER / "open_client.py")
    assert finding.succeeded, finding
    found = re.fullmatch(AGAINST_CLIENTS[name][0], finding.evidence)
    assert found, finding
    assert all(int(mib) > 40 for mib in found.groups())


@pytest.mark.parametrize("name", AGAINST_CLIENTS)
async def test_it_fails_on_the_secure_client(name: str) -> None:
    finding = await attack(name).attack(FOLDER / "secure_client.py")
    assert not finding.succeeded, finding
    assert re.fullmatch(AGAINST_CLIENTS[name][1], finding.evidence), finding


@pytest.mark.parametrize("cure", CURES)
async def test_without_its_cure_it_succeeds_again(cure: str, tmp_path: Path) -> None:
    name, edits = CURES[cure]
    folder = without(edits, tmp_path)
    if name in AGAINST_CLIENTS:
        finding = await attack(name).attack(folder / "secure_client.py")
    else:
        with started(folder / "secure_server.py", [name]) as server_for:
            finding = await attack(name).attack(server_for(name))
    assert finding.succeeded, finding


def without(edits: list[Edit], tmp_path: Path) -> Path:
    """A copy of the folder in which these lines are others."""
    folder = tmp_path / FOLDER.name
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in edits:
        text = (folder / file).read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} is not once in {file}"
        (folder / file).write_text(text.replace(old, new), "utf-8")
    return folder
