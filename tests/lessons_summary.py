"""Which lesson a test is about: `--lesson 05` runs its tests, and a summary names the broken.

A test belongs to a lesson by its file's name, test_05_…, or by the lesson's slug or number
among its parameters. `.ci/newest` runs the tests with the newest releases; the summary at the
end names the lessons that those break.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from workshop.course import Course

OTHER = "no single lesson"


def lesson_of(nodeid: str, slugs: Iterable[str]) -> str:
    """The slug of the lesson that a test is about, or OTHER."""
    known = {slug[:2]: slug for slug in slugs}
    file, _, rest = nodeid.partition("::")
    if found := re.search(r"test_(\d\d)_[^/]*$", file):
        return known.get(found[1], OTHER)
    parameters = rest.partition("[")[2].removesuffix("]")
    numbers = [known[part] for part in parameters.split("-") if part in known]
    return next((slug for slug in known.values() if slug in parameters), [*numbers, OTHER][0])


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lesson 05`, as often as one likes."""
    parser.addoption(
        "--lesson",
        action="append",
        default=[],
        metavar="NN",
        help="only the tests of this lesson, by its number; give it again for another one",
    )


def chosen_slugs(config: pytest.Config) -> set[str]:
    """The slugs of the lessons asked for with `--lesson`; empty when all tests should run.

    Raises pytest.UsageError for a lesson that does not exist.
    """
    slugs = {lesson.number: lesson.slug for lesson in Course.load().lessons}
    numbers: list[str] = config.getoption("--lesson") or []
    for number in numbers:
        if number not in slugs:
            known = ", ".join(sorted(slugs))
            raise pytest.UsageError(f"--lesson {number}: no such lesson. There are {known}.")
    return {slugs[number] for number in numbers}


def pytest_configure(config: pytest.Config) -> None:
    """Say at once that a lesson does not exist."""
    chosen_slugs(config)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't even import the files of other lessons."""
    found = re.match(r"test_(\d\d)_", collection_path.name)
    numbers: list[str] = config.getoption("--lesson") or []
    return True if found and numbers and found[1] not in numbers else None


def keep_chosen(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the tests of other lessons, if `--lesson` chose some."""
    if chosen := chosen_slugs(config):
        slugs = [lesson.slug for lesson in Course.load().lessons]
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            (kept if lesson_of(item.nodeid, slugs) in chosen else dropped).append(item)
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each lesson with failed tests."""
    failed = {
        report.nodeid
        for outcome in ("failed", "error")
        for report in terminalreporter.stats.get(outcome, [])
    }
    if not failed:
        return
    slugs = [lesson.slug for lesson in Course.load().lessons]
    counts = Counter(lesson_of(nodeid, slugs) for nodeid in failed)
    terminalreporter.section("lessons that are broken")
    for slug in sorted(counts, key=lambda slug: (slug == OTHER, slug)):
        count = counts[slug]
        terminalreporter.write_line(f"{slug}: {count} test{'s' if count > 1 else ''} failed")
