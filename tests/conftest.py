"""What every test may use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

# Beside other tests, everything takes longer. (The checks read it as they are imported.)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("WORKSHOP_PATIENCE", "3")
# Each of lesson 11's mistakes would be built and run: tests/test_11_checks_engine.py does it.
os.environ["WORKSHOP_ENGINE"] = "0"

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.lessons_summary import keep_chosen
from tests.lessons_summary import pytest_addoption as pytest_addoption
from tests.lessons_summary import pytest_configure as pytest_configure
from tests.lessons_summary import pytest_ignore_collect as pytest_ignore_collect
from tests.lessons_summary import pytest_terminal_summary as pytest_terminal_summary
from tests.parts import CHROMIUM_FLAGS, require
from tests.turns import in_order
from tests.turns import pytest_runtest_protocol as pytest_runtest_protocol
from tests.turns import take_turns as take_turns
from tests.warm import Parents

# Nothing that is imported or collected is garbage: looking for it takes a sixth of the time.
gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The lessons that were asked for, in the order that takes least time."""
    keep_chosen(config, items)
    in_order(items)


def pytest_collection_finish() -> None:
    """From here on there may be garbage, but not in what is there already."""
    gc.freeze()
    gc.enable()


# Chromium obeys only the last list of features that it gets, so what Playwright turns off comes
# first. The last three, on beside each page of a test, are more work than the page itself: two
# pages for suggestions below the address bar, and a process for a page that may come next.
FEATURES_OFF = [
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real Chromium, one for the tests of a module."""
    path = require("chromium")
    with sync_playwright() as playwright:
        flags = [*CHROMIUM_FLAGS, "--disable-features=" + ",".join(FEATURES_OFF)]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
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
