"""Breaks: the server for everybody else, with one customer's streams.

A limit on how often one may open a stream would not help: a stream that stays open was opened
once. Each takes memory and an open file. On many machines, a process may have 1024 open files.
"""

import asyncio
from contextlib import AsyncExitStack

from attacks.finding import Finding
from attacks.target import Refused, Server, call
from attacks.wire import connected, memory

AGAINST = "server"
CASE = ""

STREAMS = 500


async def attack(server: Server) -> Finding:
    before = memory(server.pid)
    async with AsyncExitStack() as stack:
        opened, end = await open_many(server, stack)
        after = memory(server.pid)
        served = await alice_is_served(server)
    if not served:
        return Finding(True, f"after {opened} streams, Alice gets no answer")
    if end:
        return Finding(False, f"stream {opened + 1}: {end}; Alice gets in, and her reply")
    grew = ""
    if before and after:
        grew = f": memory +{(after - before) // 1024 // STREAMS} KiB for each"
    return Finding(True, f"{STREAMS} streams for one customer{grew}")


async def open_many(server: Server, stack: AsyncExitStack) -> tuple[int, str]:
    """How many could be opened, and how the next one ended."""
    for opened in range(STREAMS):
        try:
            wire = await stack.enter_async_context(connected(server))
            async with asyncio.timeout(server.patience):
                await wire.open_stream(server.mallory)
        except Refused as answer:
            return opened, str(answer).rpartition(" ")[2]
        except TimeoutError:
            return opened, "no answer"
    return STREAMS, ""


async def alice_is_served(server: Server) -> bool:
    try:
        async with asyncio.timeout(server.patience), server.open(server.alice) as alice:
            await alice.initialize()
            await alice.send(call(1, "echo", message="Still there?"))
            await alice.reply(1)
    except TimeoutError:
        return False
    return True
