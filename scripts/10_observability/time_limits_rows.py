"""The rows of time_limits.py: each limit, and how it is tried."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
import httpx2
import idle_proxy
from mcp import Client
from mcp.client.sse import sse_client
from time_limits_server import Kind, Site

LIMIT = 0.8  # what each of them is set to, in seconds
WATCHED = 2.4  # how long a stream is watched: if it is open then, the limit does not end it
LARGE = 1024 * 1024  # bytes in an event, to fill all buffers between two sockets

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout {milliseconds}ms;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Outcome:
    """`call`: the call was given up, but the stream went on. `missing`: it can't be tried."""

    what: Literal["open", "cut", "call", "missing"]
    seconds: float | None = None  # until then


Measure = Callable[[Site, Kind], Awaitable[Outcome]]


@dataclass(frozen=True)
class Row:
    group: str
    name: str
    default: str
    measure: Measure
    site: Callable[[], Site] = Site  # the server, with the limit if it is one of the server's


async def watch(reading: Awaitable[object]) -> Outcome:
    """Whether a stream ends while it is read, in whatever way, and when."""
    began = time.monotonic()
    task = asyncio.ensure_future(reading)
    await asyncio.wait({task}, timeout=WATCHED)
    if task.done():
        task.exception()  # with some limits it ends with an exception
        return Outcome("cut", time.monotonic() - began)
    task.cancel()
    await asyncio.wait({task})
    return Outcome("open")


# --- On the server: the reader has no limit -----------------------------------------------


async def read(base: str, kind: Kind) -> None:
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request_for(kind))
        while chunk := await reader.read(65_536):
            if chunk.endswith(b"0\r\n\r\n"):  # the last chunk is empty
                return
    finally:
        writer.close()


def request_for(kind: Kind) -> bytes:
    return f"GET /{kind}/sse HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


async def awake(site: Site, kind: Kind) -> Outcome:
    return await watch(read(site.base, kind))


async def asleep(site: Site, kind: Kind) -> Outcome:
    """A reader that takes nothing: only the server can see the end of such a stream."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", int(site.base.rpartition(":")[2])))
        reader.sendall(request_for(kind))
        return await watch(asyncio.shield(asyncio.wrap_future(site.ended[kind])))


async def asleep_on_linux(site: Site, kind: Kind) -> Outcome:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return Outcome("missing")
    return await asleep(site, kind)


# --- In the client ------------------------------------------------------------------------


def with_aiohttp(limits: aiohttp.ClientTimeout) -> Measure:
    async def measure(site: Site, kind: Kind) -> Outcome:
        async def read_all() -> None:
            async with http.get(f"{site.base}/{kind}/sse") as response:
                await response.read()

        async with aiohttp.ClientSession(timeout=limits) as http:
            return await watch(read_all())

    return measure


def without_tls(
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
) -> httpx2.AsyncClient:
    # Reading the certificates of all authorities would block all other rows for 0.1 s.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=nobody)


async def with_httpx2(site: Site, kind: Kind) -> Outcome:
    async with without_tls(timeout=httpx2.Timeout(None, read=LIMIT)) as http:
        return await watch(http.get(f"{site.base}/{kind}/sse"))


async def with_urllib(site: Site, kind: Kind) -> Outcome:
    def read_all() -> None:
        with urllib.request.urlopen(f"{site.base}/{kind}/sse", timeout=LIMIT) as response:
            response.read()

    return await watch(asyncio.to_thread(read_all))


async def with_sdk(site: Site, kind: Kind) -> Outcome:
    async def read_all() -> None:
        url = f"{site.base}/{kind}/sse"
        transport = sse_client(url, sse_read_timeout=LIMIT, httpx_client_factory=without_tls)
        async with transport as (messages, _):
            async for message in messages:
                if isinstance(message, Exception):
                    return

    return await watch(read_all())


async def sdk_call(site: Site, kind: Kind) -> Outcome:
    transport = sse_client(f"{site.base}/{kind}/sse", httpx_client_factory=without_tls)
    async with Client(transport, mode="legacy") as client:
        call = client.call_tool("lasts_for_ever", read_timeout_seconds=LIMIT)
        outcome = await watch(call)
        # The SDK's client raises an exception if an event comes while it leaves.
        site.silent.add(kind)
        await client.list_tools()  # the stream is still open: this reply comes
        return Outcome("call", outcome.seconds) if outcome.seconds else outcome


# --- In between ---------------------------------------------------------------------------


async def behind_idle_proxy(site: Site, kind: Kind) -> Outcome:
    upstream = site.base.removeprefix("http://")
    async with await idle_proxy.start("127.0.0.1", 0, upstream, LIMIT) as proxy:
        host, port = proxy.sockets[0].getsockname()
        return await watch(read(f"http://{host}:{port}", kind))


async def behind_nginx(site: Site, kind: Kind) -> Outcome:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        return Outcome("missing")
    async with running_nginx(nginx, site.base) as base:
        return await watch(read(base, kind))


@asynccontextmanager
async def running_nginx(nginx: str, upstream: str) -> AsyncIterator[str]:
    """nginx in front of a server, until the block ends. Yields the base of its URLs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "nginx.conf"
        conf.write_text(
            NGINX.format(
                folder=folder, port=port, upstream=upstream, milliseconds=int(1000 * LIMIT)
            ),
            encoding="utf-8",
        )
        process = await asyncio.create_subprocess_exec(
            nginx, "-p", folder, "-e", f"{folder}/log", "-c", str(conf)
        )
        try:
            while not await listens(port):
                if process.returncode is not None:
                    raise RuntimeError((Path(folder) / "log").read_text("utf-8"))
                await asyncio.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


SERVER = "On the server"
LEAVING = "On the server, told to leave by SIGTERM"
SLEEPING = "On the server, for a reader that takes nothing"
CLIENT, BETWEEN = "In the client", "In between"

ROWS = (
    Row(
        SERVER,
        "uvicorn timeout_keep_alive",
        "5 s",
        awake,
        lambda: Site(timeout_keep_alive=LIMIT),
    ),
    Row(SERVER, "an age limit of our own", "none", awake, lambda: Site(max_age=LIMIT)),
    Row(LEAVING, "no time limit", "", awake, lambda: Site(leaves=True)),
    Row(
        LEAVING,
        "timeout_graceful_shutdown",
        "none",
        awake,
        lambda: Site(leaves=True, timeout_graceful_shutdown=LIMIT),
    ),
    Row(SLEEPING, "no limit", "", asleep, lambda: Site(large=LARGE)),
    Row(
        SLEEPING,
        "a limit for each send",
        "none",
        asleep,
        lambda: Site(large=LARGE, send_seconds=LIMIT),
    ),
    Row(
        SLEEPING,
        "TCP_USER_TIMEOUT",
        "none",
        asleep_on_linux,
        lambda: Site(large=LARGE, tcp_user_timeout=LIMIT),
    ),
    Row(CLIENT, "aiohttp total", "300 s", with_aiohttp(aiohttp.ClientTimeout(total=LIMIT))),
    Row(
        CLIENT,
        "aiohttp sock_read",
        "none",
        with_aiohttp(aiohttp.ClientTimeout(total=None, sock_read=LIMIT)),
    ),
    Row(CLIENT, "httpx2 read", "5 s", with_httpx2),
    Row(CLIENT, "urllib timeout", "none", with_urllib),
    Row(CLIENT, "SDK sse_read_timeout", "300 s", with_sdk),
    Row(CLIENT, "SDK read_timeout_seconds", "none", sdk_call),
    Row(BETWEEN, "idle_proxy.py --silence", "60 s", behind_idle_proxy),
    Row(BETWEEN, "nginx proxy_read_timeout", "60 s", behind_nginx),
)
