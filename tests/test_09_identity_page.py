"""Lesson 09: the page that asks the user works in a browser."""

# In a file of its own: Playwright's event loop is in the way of tests that are coroutines.

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser

from tests.oauth_by_hand import IDENTITY, Lab, laboratory
from workshop.running import environment

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def lab(warm: None) -> Iterator[Lab]:
    with laboratory() as urls:
        yield urls


@contextmanager
def asking(lab: Lab) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The client, waiting for its user. Yields it, and the address that it wants opened."""
    with subprocess.Popen(
        [sys.executable, str(IDENTITY / "oauth_client.py"), f"{lab.diary}/sse"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as client:
        assert client.stdout is not None
        try:
            address = next(line.strip() for line in client.stdout if "/authorize?" in line)
            yield client, address
        finally:
            client.kill()


@pytest.mark.parametrize(
    ("button", "status", "ends_with"),
    [("Let it in", 0, "The diary of bob: tea with Bob at five."), ("No", 1, "access_denied")],
)
def test_the_page_works_in_a_browser(
    lab: Lab, chromium: Browser, button: str, status: int, ends_with: str
) -> None:
    with asking(lab) as (client, address):
        page = chromium.new_page()
        page.goto(address)
        page.get_by_label("You are").select_option("bob")
        page.get_by_role("button", name=button).click()
        page.get_by_text("You can close this page").wait_for()
        printed, errors = client.communicate(timeout=60)
        assert client.returncode == status
        assert (printed + errors).rstrip().endswith(ends_with)
        page.close()
