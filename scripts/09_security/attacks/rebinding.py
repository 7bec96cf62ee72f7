"""Steals: the use of a local server, through its user's browser (DNS rebinding).

A page comes from rebound.example, and then this name changes its address to 127.0.0.1. To the
browser, the local server is now part of the page's own site, so the page may read all answers.
Only the header Host gives it away: it says rebound.example. `rebinding_page` does this with a
real browser. Here only the header is sent, to both endpoints.
"""

from urllib.parse import urlsplit

from attacks.finding import Finding
from attacks.target import Refused, Server, bearer, call

AGAINST = "server"
CASE = "CVE-2025-66416"


async def attack(server: Server) -> Finding:
    # The page even has Alice's token: only its name is in the way.
    host = {"Host": f"rebound.example:{urlsplit(server.url).port}"}
    done: list[str] = []
    refused: list[str] = []
    try:
        async with server.open(server.alice, headers=host) as stream:
            await stream.endpoint()
            done.append("GET gave it a stream")
    except Refused as refusal:
        refused.append(str(refusal))
    async with server.open(server.alice) as alice:
        await alice.initialize()
        message = call("forged", "echo", message="x")
        answer = await server.post(alice.session_id, message, bearer(server.alice) | host)
        if answer.status_code == 202:
            await alice.reply("forged")
            done.append("POST called a tool")
        else:
            refused.append(f"POST /message: {answer.status_code}")
    if done:
        return Finding(True, f"Host: rebound.example, {', '.join(done + refused)}")
    return Finding(False, f"Host: rebound.example, {', '.join(refused)}")
