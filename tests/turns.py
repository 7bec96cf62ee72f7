"""Tests run side by side; one that measures time says `@pytest.mark.quiet` and runs alone.

So does a test that failed beside others, when it is run again: what is promised to a
learner is promised on a machine that does not run four tests at once.

Every test holds one lock shared, a quiet one holds it for itself. A second lock is
the gate in front: who waits for the first holds the gate, so that a quiet test does
not wait for ever while others come and go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

NEXT = pytest.StashKey[pytest.Item | None]()
KEPT: list[ExitStack] = []  # the turn of a quiet test, kept for the quiet test that follows


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait for this test's turn among the processes that share `folder`."""
    # Only here: Windows has no fcntl, and no need of it unless tests run side by side.
    import fcntl

    with (folder / "gate").open("w") as gate, (folder / "turn").open("w") as mine:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(mine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def is_quiet(item: pytest.Item) -> bool:
    return item.get_closest_marker("quiet") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quiet tests first, in a row: all others wait for them once, not for each of them.

    Long ones next: else one would begin last, and the other processes wait for its end.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    quiet = [item for item in items if is_quiet(item)]
    long = [item for item in items if item not in quiet and item.get_closest_marker("long")]
    rest = [item for item in items if item not in quiet and item not in long]
    ordered: list[pytest.Item] = []
    # Each process begins with a stretch of its own of the list, all of one length.
    for process in range(processes):
        length = (len(items) - len(ordered)) // (processes - process)
        stretch = (quiet if process == 0 else []) + long[process::processes]
        others = max(0, length - len(stretch))
        ordered += stretch + rest[:others]
        rest = rest[others:]
    items[:] = ordered + rest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Remember which test comes after this one in this process."""
    item.stash[NEXT] = nextitem


@pytest.fixture(autouse=True)
def take_turns(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let a quiet test run while no other does; a no-op without pytest-xdist."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    item: pytest.Item = request.node
    again = getattr(item, "execution_count", 1) > 1
    if KEPT:
        stack = KEPT.pop()
    else:
        stack = ExitStack()
        folder = tmp_path_factory.getbasetemp().parent
        stack.enter_context(turn(folder, alone=is_quiet(item) or again))
    yield
    following = item.stash[NEXT]
    if is_quiet(item) and following is not None and is_quiet(following):
        KEPT.append(stack)
    else:
        stack.close()
