"""A test that fails beside others has a second try, at the end and alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workshop.course import ROOT

CONFTEST = """
from tests.turns import pytest_runtest_protocol, pytest_runtestloop, take_turns
"""
TESTS = """
import os
from pathlib import Path

import pytest

LOG = Path(__file__).with_name("log")


def log(word):
    with LOG.open("a") as file:
        file.write(word + "\\n")
    return LOG.read_text().split()


@pytest.fixture(scope="module")
def number():
    log("begins")
    yield 1
    log("ends")


def test_crowded(number):
    assert log("crowded").count("crowded") == 2


def test_broken(number):
    log("broken")
    assert number == 2


@pytest.mark.parametrize("n", range(3))
def test_other(n, number):
    log("other")
"""


def test_a_second_try_comes_after_all_others(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    outside = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n1", "--reruns=1", "-rR"],
        cwd=tmp_path,
        env={**outside, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 4 passed, 2 rerun" in done.stdout, done.stdout + done.stderr
    assert "PASSED test_some.py::test_crowded" in done.stdout
    log = (tmp_path / "log").read_text(encoding="utf-8").split()
    first = ["begins", "crowded", "broken", *["other"] * 3, "ends"]
    # Whatever the first try left broken is made again.
    assert log == [*first, "begins", "crowded", "broken", "ends"]
