"""Steals: a token, by measuring how long the server takes to refuse a wrong one.

`!=` ends at the first character that differs, so a guess that begins right takes longer. An
attacker who can measure that finds the token character by character. Here three guesses are
sent in turn: with none, half, and all but one of their characters right. Their times are
compared.

It is not expected to succeed, against either server. In one process, with Python 3.11, `!=`
took 2 ns longer for 42 right characters of 43 than for none, and with hmac.compare_digest there
was no difference. Such a difference is lost in the noise of a socket. Constant time is still
right: it costs one line, and you need not prove that the noise will always be enough.
"""

import asyncio
import random
import statistics
import time
from asyncio import StreamReader, StreamWriter
from urllib.parse import urlsplit

from attacks.finding import Finding
from attacks.target import NotTried, Refused, Server

AGAINST = "server"
CASE = ""
CLAIMED = False  # that it succeeds against the open server
ROUNDS = 300
# Without a difference, three times come in the order of the guesses in one round of six: in 50
# of 300, and in more than 85 once in six million runs, whatever the noise is.
IN_ORDER = 85


async def attack(server: Server) -> Finding:
    if not server.alice:
        raise NotTried("needs a token")
    reader, writer = await asyncio.open_connection(
        urlsplit(server.url).hostname, urlsplit(server.url).port
    )
    token = server.alice
    guesses = {
        right: guess_with(right, token) for right in (0, len(token) // 2, len(token) - 1)
    }
    rounds: list[tuple[float, ...]] = []
    try:
        for _ in range(ROUNDS):
            # In a new order each time, so that whatever slows the machine down affects all of
            # them alike.
            times = {
                right: await time_to_refuse(reader, writer, guesses[right])
                for right in random.sample(list(guesses), len(guesses))
            }
            rounds.append(tuple(times[right] for right in guesses))
    finally:
        writer.close()
    in_order = sum(none < half < most for none, half, most in rounds)
    longer = [(most - none) * 1e6 for none, _, most in rounds]
    cost = statistics.median(longer)
    noise = statistics.median(abs(each - cost) for each in longer)
    measured = f"{cost:+.1f} µs in noise of {noise:.0f} µs, in order {in_order} of {ROUNDS}"
    if in_order > IN_ORDER:
        return Finding(True, f"right letters cost {measured}")
    return Finding(False, f"not measurable: {measured}")


def guess_with(right: int, token: str) -> str:
    """A token of the same length that begins with this many right characters."""
    return token[:right] + "".join("A" if c != "A" else "B" for c in token[right:])


async def time_to_refuse(reader: StreamReader, writer: StreamWriter, guess: str) -> float:
    """Seconds from a request to the head of its answer, on a kept connection."""
    host, port = writer.get_extra_info("peername")[:2]
    head = f"GET /sse HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {guess}\r\n\r\n"
    began = time.perf_counter()
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    took = time.perf_counter() - began
    status = int(answer.split()[1])
    if status != 401:
        raise Refused(f"a wrong token: {status}")
    await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split()[0]))
    return took
