"""Ruff and the type checker find nothing, and nothing names a package registry's host."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check"], id="ruff-check"),
        pytest.param(["ruff", "format", "--check"], id="ruff-format"),
        pytest.param(["basedpyright"], id="basedpyright", marks=pytest.mark.long),
    ],
)
def test_the_code_is_clean(command: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_committed_file_names_a_registry() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    # Written so that this file does not name them either.
    hosts = re.compile(r"(pypi|pythonhosted|npmjs|registry\.yarnpkg|debian)\.(org|com)")
    named = [
        name
        for name in files.rstrip("\0").split("\0")
        if (ROOT / name).is_file()
        and hosts.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert named == []
