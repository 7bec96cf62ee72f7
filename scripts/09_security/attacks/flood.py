"""Breaks: the server's time, with as many messages as fit into a second, and as many streams.

A message costs Mallory less than it costs the server. She opens streams as well, one after
another and never two at once: a limit on how many are open does not see that.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator

import httpx2

from attacks.finding import Finding
from attacks.target import Refused, Server, Stream, call
from attacks.wire import connected

AGAINST = "server"
CASE = ""

SECONDS = 1.0
CONNECTIONS = 4
AT_ONCE = 25  # messages on each
OPENS = 100


async def attack(server: Server) -> Finding:
    async with server.open(server.alice) as alice, server.open(server.mallory) as mallory:
        await alice.initialize()
        await mallory.initialize()
        before = len(mallory.events)
        end = time.monotonic() + SECONDS
        numbers = itertools.count(1)
        floods = [
            asyncio.create_task(flood(server, mallory.session_id, numbers, end))
            for _ in range(CONNECTIONS)
        ]
        answered = await alice_is_answered(alice)
        answers = sum(await asyncio.gather(*floods), Counter[int]())
        # They were not only accepted: each call was run.
        replies = answers[202]
        await mallory.next(lambda _: len(mallory.events) >= before + replies, server.patience)
    opened, refused = await open_one_after_another(server)
    if not answered:
        return Finding(True, f"Alice gets no reply beside {answers.total()} messages")
    if not answers[429] or not refused:
        return Finding(True, f"{answers[202]} calls were run, and {opened} streams opened")
    limits = f"after {answers[202]} messages 429, after {opened} streams {refused}"
    return Finding(False, f"{limits}; Alice gets her reply")


async def alice_is_answered(alice: Stream) -> bool:
    """During the flood, Alice sends a request."""
    try:
        await alice.send(call("hers", "echo", message="Still there?"))
        await alice.reply("hers", alice.server.patience)
    except (httpx2.TimeoutException, TimeoutError):
        return False
    return True


async def flood(
    server: Server, session_id: str, numbers: Iterator[int], end: float
) -> Counter[int]:
    answers: Counter[int] = Counter()
    async with connected(server) as wire:
        while time.monotonic() < end:
            calls = [call(next(numbers), "echo", message="x") for _ in range(AT_ONCE)]
            # One after another, without waiting for the answers in between.
            await wire.send(
                b"".join(wire.message(session_id, each, server.mallory) for each in calls)
            )
            for _ in calls:
                status, _ = await wire.answer()
                answers[status] += 1
    return answers


async def open_one_after_another(server: Server) -> tuple[int, str]:
    """How many could be opened, and what refused the next one."""
    for opened in range(OPENS):
        async with connected(server) as wire:
            try:
                await wire.open_stream(server.mallory)
            except Refused as answer:
                return opened, str(answer).rpartition(" ")[2]
    return OPENS, ""
