"""What the lab measures: each function takes a `Site` and returns a `Finding`."""

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from held_stream import EVENTS, Upstream

IDLE = 4.0  # seconds: how long an idle stream is watched
STREAMS = 30


@dataclass(frozen=True)
class Finding:
    """`text` is the same on every machine; `first`, the seconds to the first event, is not."""

    text: str
    first: float | None = None


@dataclass(frozen=True)
class Site:
    """nginx as a client sees it: its two URLs, and how to trust the second."""

    url: str
    tls_url: str
    trust: ssl.SSLContext
    upstream: Upstream
    process: int
    """The process to send signals to."""


@asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a limit on a stream's total time, or on connections."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=15)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
        yield client


# --- Is the stream alive? -----------------------------------------------------------------


async def live(site: Site, *, tls: bool = False, accept: str = "identity") -> Finding:
    """How many of the events arrive while the stream is open."""
    name, watch = site.upstream.watch()
    url = f"{site.tls_url if tls else site.url}/sse?watch={name}"
    headers = {"Accept-Encoding": accept}
    began = time.monotonic()
    first: float | None = None
    received = b""
    async with session() as client, client.get(url, ssl=site.trust, headers=headers) as answer:
        async for piece in answer.content.iter_any():
            if first is None:
                first = time.monotonic() - began
            received += piece
            watch.client_has(received.count(b"\n\n"))
    assert watch.got == EVENTS, "nothing is lost, with any of the files"
    return Finding(f"{watch.live} of {EVENTS}", first)


async def live_over_tls(site: Site) -> Finding:
    return await live(site, tls=True)


async def live_with_gzip(site: Site) -> Finding:
    return await live(site, accept="gzip")


async def idle_stream(site: Site, *, reload: bool = False) -> Finding:
    """When a stream is cut if nothing is sent after its first event."""
    async with session() as client, client.get(f"{site.url}/idle") as answer:
        await answer.content.readuntil(b"\n\n")
        began = time.monotonic()
        if reload:
            os.kill(site.process, signal.SIGHUP)
        try:
            async with asyncio.timeout(IDLE):
                await answer.content.read()
        except TimeoutError:
            return Finding(f"open after {IDLE:.0f} s")
        except aiohttp.ClientPayloadError:  # it ends without its last chunk
            pass
        return Finding(f"cut after {time.monotonic() - began:.0f} s")


async def stream_after_reload(site: Site) -> Finding:
    """The same, with `nginx -s reload` after the first event."""
    return await idle_stream(site, reload=True)


async def streams(site: Site) -> Finding:
    """How many idle streams are open at once, and what the next one gets."""
    async with session() as client, AsyncExitStack() as opened:
        for number in range(STREAMS):
            try:
                async with asyncio.timeout(2):
                    answer = await opened.enter_async_context(client.get(f"{site.url}/idle"))
                    if answer.status != 200:
                        return Finding(f"{number}, then {answer.status}")
                    await answer.content.readuntil(b"\n\n")
            except TimeoutError:
                return Finding(f"{number}, then silence")
            except (OSError, aiohttp.ClientError) as error:
                return Finding(f"{number}, then {type(error).__name__}")
        return Finding(f"{STREAMS} of {STREAMS}")


WAIT = (
    live,
    live_over_tls,
    live_with_gzip,
    idle_stream,
    stream_after_reload,
)  # seconds, on purpose


# --- What reaches the server --------------------------------------------------------------


async def connection_header(site: Site) -> Finding:
    """The headers Connection and Upgrade of a GET, as they reach the server."""
    async with session() as client, client.get(f"{site.url}/head") as answer:
        head = dict(line.split(": ") for line in (await answer.text()).splitlines())
    return Finding(f"{head.get('Connection', 'none')}, {head.get('Upgrade', 'none')}")


async def connections(site: Site) -> Finding:
    """How many connections to the server ten POSTs take, one after another."""
    name, watch = site.upstream.watch()
    async with session() as client:
        for _ in range(10):
            async with client.post(f"{site.url}/?watch={name}", data=b"{}") as answer:
                assert answer.status == 202, answer.status
    return Finding(str(len(watch.ports)))


async def large_body(site: Site) -> Finding:
    """The status of a POST of 2 MiB."""
    body = b" " * 2 * 1024 * 1024
    async with session() as client, client.post(site.url, data=body) as answer:
        return Finding(str(answer.status))


# --- What the SDK's server answers --------------------------------------------------------


async def stream_status(site: Site) -> Finding:
    """The status of GET /sse."""
    async with session() as client, client.get(f"{site.url}/sse") as answer:
        return Finding(str(answer.status))


async def post_to_endpoint(site: Site) -> Finding:
    """The status of a POST where the endpoint event says, after GET /terminal/sse."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with session() as client, client.get(f"{site.url}/terminal/sse") as answer:
        if answer.status != 200:
            return Finding(f"GET: {answer.status}")
        event = (await answer.content.readuntil(b"\r\n\r\n")).decode()
        path = event.split("data: ")[1].strip()
        async with client.post(site.url + path, json=ping) as posted:
            return Finding(f"POST: {posted.status}")


async def redirect(site: Site) -> Finding:
    """Where GET /sse/ over TLS, with one slash too many, is redirected to."""
    async with (
        session() as client,
        client.get(f"{site.tls_url}/sse/", ssl=site.trust, allow_redirects=False) as answer,
    ):
        where = answer.headers["Location"]
        return Finding(where.replace(site.tls_url.partition("://")[2], "…"))
