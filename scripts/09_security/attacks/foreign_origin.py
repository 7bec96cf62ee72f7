"""Steals: the use of a server, from a page on another site.

A browser sends a page's requests anywhere, and says in Origin whose page it is. The answer's
Access-Control-Allow-Origin says who may read it. With allow_origins=["*"] and credentials the
open server lets in every page there is.
"""

import httpx2

from attacks.finding import Finding
from attacks.target import Refused, Server, bearer, call

AGAINST = "server"
CASE = ""
ORIGIN = "https://evil.example"
# With a cookie, a browser shows an answer only to an origin that the answer names: * won't do.
PAGE = {"Origin": ORIGIN, "Cookie": "a=b"}


async def attack(server: Server) -> Finding:
    # The page even has Alice's token: only its origin stands in the way.
    done: list[str] = []
    refused: list[str] = []
    try:
        async with server.open(server.alice, headers=PAGE) as stream:
            await stream.endpoint()
            done.append(f"GET ({may_read(stream.headers)})")
    except Refused as refusal:
        refused.append(str(refusal))
    async with server.open(server.alice) as alice:
        await alice.initialize()
        message = call("forged", "echo", message="x")
        answer = await server.post(alice.session_id, message, bearer(server.alice) | PAGE)
        if answer.status_code == 202:
            await alice.reply("forged")
            done.append(f"POST ({may_read(answer.headers)})")
        else:
            refused.append(f"POST /message: {answer.status_code}")
    if done:
        return Finding(True, f"{ORIGIN}: {', '.join(done + refused)}")
    return Finding(False, f"{ORIGIN}: {', '.join(refused)}")


def may_read(headers: httpx2.Headers) -> str:
    """Whether a browser would show the answer to the page, by the answer's headers."""
    named = headers.get("Access-Control-Allow-Origin") == ORIGIN
    with_credentials = headers.get("Access-Control-Allow-Credentials") == "true"
    return "readable" if named and with_credentials else "not readable"
