"""Breaks: the server's memory and its open files, with one customer's streams.

A limit on how often one may open a stream would not help: a stream that stays was opened once.
With STREAMS in the environment, Mallory opens that many.
"""

import os
from contextlib import AsyncExitStack

from attacks.finding import Finding
from attacks.target import Refused, Server, call
from attacks.wire import connected, memory

AGAINST = "server"
CASE = ""

STREAMS = int(os.environ.get("STREAMS", "500"))


async def attack(server: Server) -> Finding:
    before = memory(server.pid)
    refused = ""
    async with AsyncExitStack() as stack:
        for number in range(1, STREAMS + 1):
            wire = await stack.enter_async_context(connected(server))
            try:
                await wire.open_stream(server.mallory)
            except Refused as answer:
                refused = f"stream {number}: {str(answer).rpartition(' ')[2]}"
                break
        after = memory(server.pid)
        async with server.open(server.alice) as alice:
            await alice.initialize()
            await alice.send(call(1, "echo", message="Still there?"))
            await alice.reply(1)
    if refused:
        return Finding(False, f"{refused}; Alice gets in, and her reply")
    grew = ""
    if before and after:
        grew = f": memory +{(after - before) // 1024 // STREAMS} KiB for each"
    return Finding(True, f"{STREAMS} streams for one customer{grew}")
