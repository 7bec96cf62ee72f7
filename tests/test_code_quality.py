"""Ruff and the type checker find nothing, and nothing names a package registry's host."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from workshop.course import ROOT

# A rule of flake8-bandit, or all of them: SIM105 is another's.
SECURITY = re.compile(r"S\d*$")


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


def exceptions() -> list[tuple[str, str, list[str]]]:
    """The security linter's: a pattern of paths, a rule, and the comment lines above it.

    Entries without a comment between them share the one above the first.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.partition("[tool.ruff.lint.per-file-ignores]\n")[2].partition("\n[")[0]
    found: list[tuple[str, str, list[str]]] = []
    comment: list[str] = []
    entry_before = False
    for line in table.splitlines():
        if line.startswith("#"):
            comment = [line] if entry_before else [*comment, line]
        elif line:
            pattern, rules = tomllib.loads(line).popitem()
            found += [(pattern, rule, comment) for rule in rules if SECURITY.match(rule)]
        entry_before = bool(line) and not line.startswith("#")
    return found


def paths_of(pattern: str) -> list[str]:
    """The pattern without braces: `{a,b}/c` is `a/c` and `b/c`."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inside, _, after = rest.partition("}")
    return [path for one in inside.split(",") for path in paths_of(before + one + after)]


def test_each_exception_of_the_security_linter_has_its_reason() -> None:
    found = exceptions()
    assert len(found) >= 10
    for pattern, rule, comment in found:
        reasons = [line for line in comment if line.startswith(f"# {rule}: ")]
        assert len(reasons) == 1, f"{pattern}: say why {rule} is no fault there"
        assert len(reasons[0]) > 40, f"{pattern}: {rule} needs a reason, not a word"


def test_the_programs_have_no_other_exceptions_and_none_in_vain() -> None:
    """`ruff check` is clean, so what it finds without exceptions is what they are for."""
    command = ["ruff", "check", "--isolated", "--select=S", "--ignore-noqa"]
    run = subprocess.run(
        [sys.executable, "-m", *command, "--output-format=json", "scripts", "solutions"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    used: set[tuple[str, str]] = set()
    unexplained: list[str] = []
    allowed = [(one, rule, path) for one, rule, _ in exceptions() for path in paths_of(one)]
    for finding in json.loads(run.stdout):
        name = Path(finding["filename"]).relative_to(ROOT).as_posix()
        fitting = {
            (rule, path)
            for _, rule, path in allowed
            if rule == finding["code"] and fnmatch(name, path)
        }
        used |= fitting
        if not fitting:
            unexplained.append(f"{name}:{finding['location']['row']}: {finding['code']}")
    assert unexplained == []
    of_programs = {
        (rule, path) for _, rule, path in allowed if path.startswith(("scripts", "solutions"))
    }
    assert of_programs - used == set()


@pytest.mark.long
def test_the_types_fit(pytestconfig: pytest.Config) -> None:
    """Checked once for each state of the code: it takes ten seconds of computing."""
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
    command = ["pyrefly", "check", "--python-interpreter-path", sys.executable]
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
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
