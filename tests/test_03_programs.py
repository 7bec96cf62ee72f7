"""Lesson 03's programs: how they end, and what Nagle's algorithm costs."""

from __future__ import annotations

import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hub_parts import FOLDER, running_hub
from tests.turns import takes_less_than
from workshop.running import Program, environment, free_port

pytestmark = pytest.mark.usefixtures("warm")

# Linux waits 40 ms before it acknowledges alone.
linux = pytest.mark.skipif(sys.platform != "linux", reason="delayed ACKs differ elsewhere")


@pytest.fixture(scope="module")
def hub() -> Iterator[Program]:
    with running_hub("--heartbeat", "60") as (_, program):
        yield program


def start_in_the_background(command: list[str], log: Path) -> int:
    """Start as a script does, with `sh -c 'python … &'`: its process id.

    The shell makes such a program ignore SIGINT.
    """
    line = f"{shlex.join(command)} >{shlex.quote(str(log))} 2>&1 & echo $!"
    done = subprocess.run(
        ["sh", "-c", line], stdout=subprocess.PIPE, env=environment(), timeout=20, check=True
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        ("hub_server.py --port {free}", "Event hub on"),
        ("faulty_proxy.py --port {free}", "Faulty proxy on"),
        ("sse_client.py orders --url {hub}", "Listening to"),
        ("demo.py --port {free}", "Three streams are open"),
        ("benchmark.py --subscribers 1 --rounds 1000", "subscribers"),
        ("owner_fixed.py --port {hub_port}", "Subscribed."),
        ("exercise.py {hub}/events/orders", "following"),
    ],
    ids=lambda each: each.partition(".")[0],
)
def test_started_by_a_script_it_ends_on_sigterm(
    hub: Program, tmp_path: Path, arguments: str, first_line: str
) -> None:
    free, port = free_port(), hub.port
    program, *rest = arguments.format(free=free, hub=hub.url, hub_port=port).split()
    log = tmp_path / "log"
    process = psutil.Process(
        start_in_the_background([sys.executable, str(FOLDER / program), *rest], log)
    )
    family = [process]
    try:
        deadline = time.monotonic() + 20
        while first_line not in log.read_text("utf-8"):
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.02)
        family += process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, 5)
        assert alive == []
        assert "Traceback" not in log.read_text("utf-8")
    finally:
        for each in family:
            if each.is_running():
                each.kill()


def test_a_task_that_owns_its_connection_ends_on_ctrl_c_without_a_traceback(
    hub: Program,
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "owner_fixed.py"), "--port", str(hub.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"Subscribed.\n"
    assert process.stdout.readline().startswith(b"id: ")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"Traceback" not in rest


def bodies_after(program: str) -> list[float]:
    """Milliseconds until the body of each answer after the first had come."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    rows = re.findall(r"^ +\d+ +([0-9.]+) ms +([0-9.]+) ms$", done.stdout, re.MULTILINE)
    assert len(rows) == 5, done.stdout
    return [float(body) for _, body in rows[1:]]


@linux
def test_naming_the_protocol_turns_nagles_algorithm_off() -> None:
    # The machine may be busy: the clearest of three runs counts.
    assert any(statistics.median(bodies_after("nagle_broken.py")) > 30 for _ in range(3))
    fixed = lambda: min(statistics.median(bodies_after("nagle_fixed.py")) for _ in range(3))  # noqa: E731
    assert takes_less_than(10, fixed)
