"""Ruff and the type checker find nothing, and nothing names a package registry's host."""

from __future__ import annotations

import hashlib
import os
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
    ],
)
def test_the_code_is_clean(command: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_types_fit(pytestconfig: pytest.Config) -> None:
    """Checked once for each state of the code: it takes most of a minute of computing."""
    read = [ROOT / "pyproject.toml", ROOT / "uv.lock"]
    for room in ("workshop", "scripts", "solutions", "tests"):
        found = (ROOT / room).rglob("*.py")
        read += sorted(path for path in found if "node_modules" not in path.parts)
    digest = hashlib.sha256(sys.version.encode())
    for path in read:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    cache = pytestconfig.cache
    always = cache is None or os.environ.get("WORKSHOP_ALL_PARTS") == "1"
    if not always and cache.get("workshop/types", "") == digest.hexdigest():
        return
    run = subprocess.run(
        [sys.executable, "-m", "basedpyright"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    if cache is not None:
        cache.set("workshop/types", digest.hexdigest())


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
