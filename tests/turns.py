"""Tests run side by side; what measures time can have the machine to itself.

Every test holds one lock shared, and one marked `@pytest.mark.quiet` holds it for itself. A
second lock is the gate in front: who waits for the first holds the gate, so that a quiet test
does not wait for ever while others come and go.

Few tests need that. What ends in time beside other tests does so alone, too: `takes_less_than`
measures again, alone, only what took too long. No test is run again because it failed: one that
fails beside others and not alone has a bug, or has found one.

Many tests wait for most of their time, but not all of them. The last processes are there for
these times only: each begins a test when the processors have something to spare.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import psutil
import pytest

ALWAYS_AT_WORK = 5  # processes: on two processors, what they run seldom takes too long
BUSY = 80.0  # percent of all processors
LOOK = 0.2  # seconds

NEXT = pytest.StashKey[pytest.Item | None]()
KEPT: list[ExitStack] = []  # the turn of a quiet test, kept for the quiet test that follows
HELD: list[tuple[TextIO, TextIO]] = []  # the gate and the lock of the test that runs


def take(gate: TextIO, mine: TextIO, *, alone: bool) -> None:
    """Wait for this test's turn. Whatever it holds it must have let go before."""
    # Only here: Windows has no fcntl, and no need of it unless tests run side by side.
    import fcntl

    fcntl.flock(gate, fcntl.LOCK_EX)
    fcntl.flock(mine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    fcntl.flock(gate, fcntl.LOCK_UN)


def let_go(mine: TextIO) -> None:
    import fcntl

    fcntl.flock(mine, fcntl.LOCK_UN)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait for this test's turn among the processes that share `folder`."""
    with (folder / "gate").open("w") as gate, (folder / "turn").open("w") as mine:
        take(gate, mine, alone=alone)
        HELD.append((gate, mine))
        yield
        HELD.remove((gate, mine))


@contextmanager
def alone() -> Iterator[None]:
    """In a test: meanwhile no other runs. A no-op without pytest-xdist."""
    if not HELD:
        yield
        return
    gate, mine = HELD[-1]
    let_go(mine)  # else two tests that both want this would wait for each other
    take(gate, mine, alone=True)
    yield
    let_go(mine)
    take(gate, mine, alone=False)


def wait_for_room() -> None:
    """In one of the last processes, wait until the processors are not busy."""
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    while number >= ALWAYS_AT_WORK and psutil.cpu_percent(LOOK) > BUSY:
        pass


def takes_less_than(seconds: float, measure: Callable[[], float]) -> bool:
    """Whether the seconds that `measure` returns are fewer: if not at once, then alone."""
    if measure() < seconds:
        return True
    with alone():
        return measure() < seconds


def is_quiet(item: pytest.Item) -> bool:
    return item.get_closest_marker("quiet") is not None


def in_order(items: list[pytest.Item]) -> None:
    """Quiet tests first, in a row: all others wait for them once, not for each of them.

    Long ones next: else one would begin last, and the other processes wait for its end. Of the
    others, each process has its share of those that mostly wait, and every second process
    begins with them: at any time, some wait while others compute.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    quiet = [item for item in items if is_quiet(item)]
    long = [item for item in items if item not in quiet and item.get_closest_marker("long")]
    waiting = [item for item in items if item.get_closest_marker("waits")]
    rest = [item for item in items if item not in {*quiet, *long, *waiting}]
    ordered: list[pytest.Item] = []
    # Each process begins with a stretch of its own of the list, all of one length.
    for process in range(processes):
        length = (len(items) - len(ordered)) // (processes - process)
        first = (quiet if process == 0 else []) + long[process::processes]
        share = waiting[process::processes]
        others = max(0, length - len(first) - len(share))
        computing, rest = rest[:others], rest[others:]
        ordered += first + (share + computing if process % 2 else computing + share)
    items[:] = ordered + rest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Note which test follows: `take_turns` asks."""
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
    if KEPT:
        stack = KEPT.pop()
    else:
        if not is_quiet(item):
            wait_for_room()
        stack = ExitStack()
        folder = tmp_path_factory.getbasetemp().parent
        stack.enter_context(turn(folder, alone=is_quiet(item)))
    yield
    following = item.stash[NEXT]
    if is_quiet(item) and following is not None and is_quiet(following):
        KEPT.append(stack)
    else:
        stack.close()
