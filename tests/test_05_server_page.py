"""Lesson 05's page in Chromium: an EventSource that listens, a fetch that speaks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page_parts import complaints, open_page
from workshop.course import ROOT
from workshop.running import Program, running

pytestmark = pytest.mark.usefixtures("warm")

SERVER = ROOT / "scripts/05_sse_server/sse_server.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with running(SERVER, "--heartbeat", "0.2") as program:
        yield program


@pytest.fixture
def page(chromium: Browser, server: Program) -> Iterator[Page]:
    with open_page(chromium, width=1000, height=900) as page:
        page.goto(server.url)
        yield page


def initialize(page: Page) -> None:
    page.get_by_role("button", name="initialize").click()
    expect(page.locator("#state")).to_have_text("connected and initialized")


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/lesson_05_{name}.png")


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

    heads = page.locator("#conversation .head").all_text_contents()
    assert heads[:5] == [
        "event: endpoint",
        "event: connected",
        "POST initialize id 1",
        "event: message id 1",
        "POST notifications/initialized notification",
    ]
    badges = page.locator("#conversation .badge").all_text_contents()
    assert badges == [str(number + 1) for number in range(len(heads))]
    # A request and its reply name each other; a notification has none.
    asked = page.locator(".row.client", has_text="id 4")
    replied = page.locator(".row.server", has_text="id 4")
    expect(asked.locator(".back")).to_have_text("202")
    expect(asked.locator(".far a")).to_have_text(replied.locator(".badge").inner_text())
    expect(replied.locator(".far a")).to_have_text(asked.locator(".badge").inner_text())
    expect(page.locator(".row.client", has_text="initialized").locator(".far")).to_have_text(
        "gets no reply"
    )
    expect(page.locator(".row.server").locator(".chip.error")).to_have_count(1)
    # Heartbeats are seen, those in a row in one row.
    expect(page.locator(".beat").last).to_contain_text(
        re.compile(r"heartbeat × ([2-9]|\d\d+), last at")
    )
    screenshot(page, "wide")


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


def test_it_fits_and_can_be_read(page: Page) -> None:
    initialize(page)
    page.locator("#echo input").fill("a long word, " * 100)
    page.get_by_role("button", name="echo").click()
    long = page.locator(".row", has_text="id 2").get_by_role("button", name="show all")
    expect(long).to_have_count(2)
    expect(page.locator(".beat").last).to_be_visible()
    assert complaints(page) == []
    # The call button is below the conversation, both in sight.
    page.set_viewport_size({"width": 390, "height": 844})
    talk = page.locator(".talk").bounding_box()
    button = page.get_by_role("button", name="add").bounding_box()
    assert talk is not None and button is not None
    assert talk["y"] + talk["height"] <= button["y"] <= 844 - button["height"]
    screenshot(page, "phone")


def test_it_works_behind_a_proxy_that_strips_a_prefix(chromium: Browser) -> None:
    """The page asks only for paths below its own: the prefix is kept."""
    with running(SERVER, "--root-path", "/my tools") as server:
        context = chromium.new_context()

        def strip(route: Route) -> None:
            assert "/my%20tools/" in route.request.url
            route.continue_(url=route.request.url.replace("/my%20tools", ""))

        context.route("**/*", strip)
        page = context.new_page()
        page.goto(f"{server.url}/my tools/")
        initialize(page)
        colour = page.evaluate("getComputedStyle(document.querySelector('.lane')).color")
        assert colour == "rgb(11, 92, 173)"
        context.close()


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
