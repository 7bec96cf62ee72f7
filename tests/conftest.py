"""What every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.lessons_summary import pytest_terminal_summary as pytest_terminal_summary
from tests.parts import CHROMIUM_FLAGS, require
from tests.turns import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.turns import pytest_runtest_protocol as pytest_runtest_protocol
from tests.turns import take_turns as take_turns
from tests.warm import Parents

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real Chromium, one for the tests of a module."""
    path = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def parents() -> Iterator[Parents]:
    """Starts programs without their imports; see tests/warm.py."""
    with Parents() as parents:
        yield parents


@pytest.fixture(scope="module")
def warm(parents: Parents) -> Iterator[None]:
    """For a whole module, as its `pytestmark`: Python programs start without their imports."""
    with parents.starting():
        yield
