"""Lesson 05's page in Chromium: an EventSource that listens, a fetch that speaks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import ROOT
from workshop.running import Program, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/05_sse_server/sse_server.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(SERVER, "--heartbeat", "0.2") as program:
        yield program


@pytest.fixture
def page(chromium: Browser, server: Program) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1000, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    yield page
    page.close()
    assert errors == []


def initialize(page: Page) -> None:
    page.get_by_role("button", name="initialize").click()
    expect(page.locator("#state")).to_have_text("connected and initialized")


def test_a_conversation(page: Page) -> None:
    expect(page.get_by_role("button", name="echo")).to_be_disabled()
    initialize(page)
    page.get_by_role("button", name="tools/list").click()
    expect(page.locator("#list output")).to_have_text("echo, add")
    page.get_by_role("button", name="echo").click()
    expect(page.locator("#echo output")).to_have_text("hello SSE")
    page.get_by_role("button", name="add").click()
    expect(page.locator("#add output")).to_have_text("5")
    page.locator("#add input").first.fill("two")
    page.get_by_role("button", name="add").click()
    expect(page.locator("#add output")).to_have_text("The argument 'a' must be a number")

    heads = page.locator("#conversation .who").all_text_contents()
    assert [head.split()[0] for head in heads] == [str(n + 1) for n in range(len(heads))]
    assert "server → client, event endpoint" in heads[0]
    assert "server → client, event connected" in heads[1]
    assert "client → server, POST, answered 202" in heads[2]
    assert sum("event message" in head for head in heads) == 5
    assert sum("client → server" in head for head in heads) == 6
    expect(page.locator("#beats")).to_have_text(re.compile(r"heartbeats: \d+"))
    if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/lesson_05_wide.png", full_page=True)


def test_what_the_server_says_is_text(page: Page) -> None:
    initialize(page)
    evil = (
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    )
    page.locator("#echo input").fill(evil)
    page.get_by_role("button", name="echo").click()
    expect(page.locator("#echo output")).to_have_text(evil)
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "An MCP client in a page"


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    initialize(page)
    page.get_by_role("button", name="echo").click()
    expect(page.locator("#echo output")).to_have_text("hello SSE")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/lesson_05_phone.png", full_page=True)


def test_after_a_restart_the_page_is_in_a_new_session(chromium: Browser) -> None:
    page = chromium.new_page()
    with running(SERVER) as server:
        page.goto(server.url)
        initialize(page)
    expect(page.locator("#state")).to_contain_text("broke")
    expect(page.get_by_role("button", name="echo")).to_be_disabled()
    with running(SERVER, port=server.port):
        expect(page.locator("#state")).to_have_text(
            "connected, not initialized", timeout=10_000
        )
        initialize(page)
        page.get_by_role("button", name="echo").click()
        expect(page.locator("#echo output")).to_have_text("hello SSE")
        page.close()
