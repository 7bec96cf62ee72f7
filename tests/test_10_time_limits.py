"""Lesson 10: what each time limit does to a stream, as time_limits.py shows it."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import aiohttp
import httpx2
import pytest
import uvicorn
from mcp.client.sse import sse_client

from tests.folder_modules import modules_in
from tests.parts import require
from workshop.course import ROOT
from workshop.running import environment

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/10_observability"
PROGRAM = FOLDER / "time_limits.py"
MODULES = modules_in(
    FOLDER, ["serving", "idle_proxy", "time_limits_server", "time_limits_rows", "time_limits"]
)
LIMIT, WATCHED = 0.8, 2.4

OPEN = ("open", "open", "open")
CUT = ("cut", "cut", "cut")
SILENCE = ("open", "cut", "open")  # heartbeats save a stream from what cuts silence
FULL = ("cut", "open", "open")  # heartbeats are too small to fill a socket

# On a stream with events, on a silent one, and on one with heartbeats.
WANTED = {
    "uvicorn timeout_keep_alive": OPEN,
    "an age limit of our own": CUT,
    "no time limit": OPEN,
    "timeout_graceful_shutdown": CUT,
    "no limit": OPEN,
    "a limit for each send": FULL,
    "TCP_USER_TIMEOUT": FULL,
    "aiohttp total": CUT,
    "aiohttp sock_read": SILENCE,
    "httpx2 read": SILENCE,
    "urllib timeout": SILENCE,
    "SDK sse_read_timeout": SILENCE,
    "SDK read_timeout_seconds": ("call", "call", "call"),
    "idle_proxy.py --silence": SILENCE,
    "nginx proxy_read_timeout": SILENCE,
}


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env=environment(),
    )
    return done.returncode, done.stdout, done.stderr


def test_what_each_limit_does() -> None:
    """In one test: side by side, each process of the tests would run the program again."""
    status, printed, errors = run("--json")
    assert (status, errors) == (0, "")
    table: dict[str, Any] = json.loads(printed)
    seen = {
        name: tuple(outcome["what"] for outcome in row.values()) for name, row in table.items()
    }
    here = dict(WANTED)
    if sys.platform != "linux":
        here["TCP_USER_TIMEOUT"] = ("missing", "missing", "missing")
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"):
        here["nginx proxy_read_timeout"] = ("missing", "missing", "missing")
    assert seen == here
    for name, row in table.items():
        for outcome in row.values():
            # Not before its time. On a busy machine it may be much later.
            took = outcome["seconds"]
            assert took is None or LIMIT * 0.95 <= took <= WATCHED + 1, name
    require("nginx")


def test_the_table_for_people_fits_a_terminal() -> None:
    status, printed, errors = run("--row", "aiohttp")
    assert (status, errors) == (0, "")
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert (
        lines[0]
        == "Set to 0.8 s                   default   events      nothing     heartbeats"
    )
    assert lines[2] == "In the client"
    assert lines[3].startswith("  aiohttp total                300 s     cut ")
    assert lines[4].startswith("  aiohttp sock_read            none      open        cut ")
    assert lines[4].endswith("open")


async def test_without_nginx_its_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = MODULES["time_limits_rows"]
    monkeypatch.setattr(rows.shutil, "which", lambda *_, **__: None)
    outcome = await rows.behind_nginx(rows.Site(), "idle")
    assert MODULES["time_limits"].text_of(outcome) == "not here"


def test_a_row_that_is_not_there() -> None:
    assert run("--row", "what") == (1, "", "No row has 'what' in its name.\n")


def test_the_defaults_that_the_table_shows() -> None:
    def default(function: Any, name: str) -> Any:
        return inspect.signature(function).parameters[name].default

    assert default(uvicorn.Config, "timeout_keep_alive") == 5
    assert default(uvicorn.Config, "timeout_graceful_shutdown") is None
    assert aiohttp.client.DEFAULT_TIMEOUT.total == 300
    assert aiohttp.client.DEFAULT_TIMEOUT.sock_read is None
    assert httpx2.Client().timeout.read == 5
    assert default(sse_client, "sse_read_timeout") == 300
