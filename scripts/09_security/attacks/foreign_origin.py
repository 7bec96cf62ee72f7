"""Steals: the use of a server, from a page on another site.

A browser says in Origin whose page sends a request. Before a page may send JSON or a token to
another site, the browser asks that site (a preflight), and the header
Access-Control-Allow-Origin of an answer says which pages may read it. With allow_origins=["*"]
and allow_credentials=True the open server allows any site that asks.
"""

import httpx2

from attacks.finding import Finding
from attacks.target import SOON, TRUST, Refused, Server, bearer, call

AGAINST = "server"
CASE = ""
PAGE = {"Origin": "https://evil.example"}


async def attack(server: Server) -> Finding:
    # The page even has Alice's token: only its origin is in the way.
    done: list[str] = []
    refused: list[str] = []
    try:
        async with server.open(server.alice, headers=PAGE) as stream:
            await stream.endpoint()
            done.append(f"GET ({may_read(stream.headers)})")
    except Refused as refusal:
        refused.append(str(refusal))
    asked = await preflight(server)
    granted = asked.is_success and may_read(asked.headers) == "readable"
    (done if granted else refused).append(f"preflight: {asked.status_code}")
    async with server.open(server.alice) as alice:
        await alice.initialize()
        message = call("forged", "echo", message="x")
        answer = await server.post(alice.session_id, message, bearer(server.alice) | PAGE)
        if answer.status_code == 202:
            await alice.reply("forged")
            done.append(f"POST ({may_read(answer.headers)})")
        else:
            refused.append(f"POST /message: {answer.status_code}")
    return Finding(bool(done), f"evil.example: {', '.join(done + refused)}")


async def preflight(server: Server) -> httpx2.Response:
    """What a browser asks before it sends a page's message."""
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with httpx2.AsyncClient(timeout=SOON, verify=TRUST) as client:
        return await client.options(server.post_url, headers=PAGE | asked)


def may_read(headers: httpx2.Headers) -> str:
    """Whether a browser would show the answer to the page."""
    named = headers.get("Access-Control-Allow-Origin") == PAGE["Origin"]
    return "readable" if named else "not readable"
