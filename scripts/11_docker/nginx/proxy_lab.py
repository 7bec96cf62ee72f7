"""Compare each wrong nginx file with the right one: what it does to a stream, measured.

    uv run scripts/11_docker/nginx/proxy_lab.py
    uv run scripts/11_docker/nginx/proxy_lab.py buffering gzip

The servers behind nginx run in this program, so it knows what they have sent. Each event is
held until the client has the one before it. If that does not arrive, something is buffering:
then the next one is sent after a while anyway, and in the end all arrive at once.

The files are those in this folder. run_nginx.py says which four things are replaced in a copy.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import experiments as try_
from experiments import Finding, Site
from held_stream import Upstream
from run_nginx import HERE, find_nginx, free_port, running_nginx


@dataclass(frozen=True)
class Row:
    """A wrong file, what to measure, and what is right. `behind`: see `Servers`."""

    file: str
    what: str
    measure: Callable[[Site], Awaitable[Finding]]
    behind: str = "plain"
    right: str = "nginx.conf"
    right_behind: str = ""

    @property
    def wrong_site(self) -> tuple[str, str]:
        return self.file, self.behind

    @property
    def right_site(self) -> tuple[str, str]:
        return self.right, self.right_behind or self.behind


ROWS = (
    Row("wrong/http_10.conf", "events while open", try_.live),
    Row("wrong/buffering.conf", "events while open", try_.live),
    Row("wrong/buffering.conf", "the same over TLS", try_.live_over_tls),
    Row("wrong/gzip.conf", "events while open", try_.live_with_gzip),
    Row("wrong/read_timeout.conf", "an idle stream", try_.idle_stream),
    Row("wrong/shutdown_timeout.conf", "a stream after a reload", try_.stream_after_reload),
    Row("wrong/few_connections.conf", "streams at once", try_.streams),
    Row("wrong/few_files.conf", "streams at once", try_.streams),
    Row("wrong/host.conf", "GET /sse", try_.stream_status, "sdk"),
    Row("wrong/host_missing.conf", "GET /sse", try_.stream_status, "sdk"),
    Row("wrong/forwarded_proto.conf", "/sse/ redirects to", try_.redirect, "sdk"),
    Row("wrong/body_size.conf", "POST of 2 MiB", try_.large_body),
    Row("wrong/connection.conf", "connections, 10 POSTs", try_.connections),
    Row("wrong/upgrade.conf", "Connection, Upgrade", try_.connection_header),
    Row("wrong/upgrade.conf", "events while open", try_.live),
    Row(
        "wrong/prefix_kept.conf",
        "below /terminal/",
        try_.post_to_endpoint,
        "sdk, told",
        "prefix.conf",
    ),
    Row(
        "prefix.conf",
        "server not told",
        try_.post_to_endpoint,
        "sdk",
        "prefix.conf",
        "sdk, told",
    ),
)


@dataclass(frozen=True)
class Result:
    row: Row
    wrong: Finding
    right: Finding


@contextlib.contextmanager
def sdk_server(root_path: str = "") -> Iterator[str]:
    """A server of the SDK, with the SDK's own guard, in a thread; yields host:port."""
    # Not at the top: these imports take a second or two.
    import uvicorn
    from mcp.server import MCPServer

    port = free_port()
    app = MCPServer("lab", log_level="ERROR").sse_app()
    config = uvicorn.Config(
        app,
        port=port,
        root_path=root_path,
        log_config=None,  # all servers here share one log: a second one would set it up again
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.asynccontextmanager
async def servers(upstream: Upstream) -> AsyncIterator[dict[str, str]]:
    """What can be behind nginx: a plain stream; the SDK's server, told its prefix or not."""
    async with upstream.serving() as plain:
        with sdk_server() as sdk, sdk_server("/terminal") as told:
            yield {"plain": plain, "sdk": sdk, "sdk, told": told}


class Sites:
    """One nginx for each file and server, started when it is first asked for."""

    def __init__(self, upstream: Upstream, addresses: dict[str, str]) -> None:
        self._upstream = upstream
        self._addresses = addresses
        self._sites: dict[tuple[str, str], Site] = {}
        self._running = contextlib.ExitStack()

    def __enter__(self) -> "Sites":
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    async def get(self, file: str, behind: str) -> Site:
        if (file, behind) not in self._sites:
            await asyncio.sleep(0)  # Ctrl-C takes effect here: the rest waits for nginx
            conf = (HERE / file).read_text(encoding="utf-8")
            started = running_nginx(conf, self._addresses[behind])
            nginx = self._running.enter_context(started)
            trust = ssl.create_default_context(cafile=nginx.ca)
            site = Site(nginx.url, nginx.tls_url, trust, self._upstream, nginx.process.pid)
            self._sites[file, behind] = site
        return self._sites[file, behind]


async def measure(rows: list[Row]) -> list[Result]:
    """First what is quick, one after another; then, all at once, what mostly waits."""
    upstream = Upstream()
    async with servers(upstream) as addresses:
        with Sites(upstream, addresses) as sites:
            pairs = [
                (await sites.get(*row.wrong_site), await sites.get(*row.right_site))
                for row in rows
            ]
            found: dict[Row, list[Finding]] = {
                row: [await row.measure(site) for site in pair]
                for row, pair in zip(rows, pairs, strict=True)
                if row.measure not in try_.WAIT
            }

            async def wait(row: Row, pair: tuple[Site, Site]) -> None:
                found[row] = await asyncio.gather(*(row.measure(site) for site in pair))

            await asyncio.gather(
                *(
                    wait(row, pair)
                    for row, pair in zip(rows, pairs, strict=True)
                    if row not in found
                )
            )
    return [Result(row, *found[row]) for row in rows]


def table(results: list[Result]) -> str:
    lines = [("the wrong file", "measured", "wrong", "right")]
    for result in results:
        wrong, right = result.wrong, result.right
        lines.append(
            (result.row.file.removeprefix("wrong/"), result.row.what, wrong.text, right.text)
        )
        if wrong.first is not None and right.first is not None:
            first = f"{wrong.first:.2f} s", f"{right.first:.2f} s"
            lines.append(("", "  the first after", *first))
    return "\n".join("{:<23} {:<24} {:<15} {}".format(*line).rstrip() for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what wrong nginx files do.")
    parser.add_argument("name", nargs="*", help="a part of a file's name (default: all files)")
    names: list[str] = parser.parse_args().name

    rows = [row for row in ROWS if not names or any(name in row.file for name in names)]
    if not rows:
        known = ", ".join(dict.fromkeys(row.file for row in ROWS))
        sys.exit(f"No file has such a name. There are: {known}")
    # Streams break here on purpose, and at Ctrl-C: don't print a traceback for each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    # SIGTERM ends it as Ctrl-C does, and every nginx with it. A program started with `&` in a
    # script ignores Ctrl-C unless it says otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    try:
        find_nginx()
        print(table(asyncio.run(measure(rows))))
    except (FileNotFoundError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"\n{len(rows)} rows in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
