"""Many clients at once: each opens a stream, sends messages, and leaves after some seconds.

    uv run scripts/10_observability/clients.py http://127.0.0.1:8030 --clients 10 --seconds 11

A server's metrics should agree with what they see.
"""

import argparse
import asyncio
import sys
import time
from urllib.parse import urljoin

import aiohttp

MESSAGE = {"jsonrpc": "2.0", "method": "notifications/initialized"}


async def stay(
    http: aiohttp.ClientSession, url: str, messages: int, seconds: float, took: list[float]
) -> None:
    """One client. `took` has the seconds until each message was answered."""
    async with http.get(urljoin(url, "/sse")) as stream:
        stream.raise_for_status()
        # The first event of every such stream is the endpoint, and its data is one line.
        await stream.content.readuntil(b"data:")
        endpoint = (await stream.content.readline()).decode().strip()
        for _ in range(messages):
            began = time.perf_counter()
            async with http.post(urljoin(url, endpoint), json=MESSAGE) as answer:
                answer.raise_for_status()
            took.append(time.perf_counter() - began)
        await asyncio.sleep(seconds)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Many clients at once.")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--messages", type=int, default=10, help="that each of them sends")
    parser.add_argument("--seconds", type=float, default=0.0, help="that it stays after that")
    chosen = parser.parse_args()

    connector = aiohttp.TCPConnector(limit=0)  # by default, no more than 100 at once
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        took: list[float] = []
        everybody = [
            stay(http, chosen.url, chosen.messages, chosen.seconds, took)
            for _ in range(chosen.clients)
        ]
        try:
            await asyncio.gather(*everybody)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            sys.exit(f"{chosen.url}: {error}")
    longest = 1000 * max(took, default=0.0)
    print(f"{len(took)} messages from {chosen.clients} clients, longest {longest:.1f} ms")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
