"""Breaks: the server's patience, with messages that come a byte at a time.

The head is complete, so a limit on heads does not help. The server knows how many bytes will
come, and waits for them.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from attacks.finding import Finding
from attacks.target import Server
from attacks.wire import connected

AGAINST = "server"
CASE = ""

CONNECTIONS = 20


async def attack(server: Server) -> Finding:
    async with server.open(server.mallory) as mallory, AsyncExitStack() as stack:
        path = await mallory.endpoint()
        wires = [await stack.enter_async_context(connected(server)) for _ in range(CONNECTIONS)]
        for wire in wires:
            lines = ("Content-Type: application/json", "Content-Length: 1000000")
            await wire.send(wire.head("POST", path, *lines, token=server.mallory) + b"\r\n")
        answers = Counter(
            await asyncio.gather(*(wire.trickle(server.patience) for wire in wires))
        )
    if answers[None]:
        held = f"{answers[None]} of {CONNECTIONS} requests are held"
        return Finding(True, f"after {server.patience:g} s {held}")
    [(answer, count)] = answers.most_common(1)
    return Finding(False, f"{count} of {CONNECTIONS} closed: {answer}")
