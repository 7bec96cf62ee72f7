"""At the end of a test run: which lessons the failed tests are about.

`.ci/newest` runs the tests with the newest releases; this names the lessons that
those break. A test belongs to a lesson by its file's name, test_05_…, or by the
lesson's slug among its parameters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from workshop.course import Course

OTHER = "no single lesson"


def lesson_of(nodeid: str, slugs: Iterable[str]) -> str:
    """The slug of the lesson that a test is about, or OTHER."""
    known = {slug[:2]: slug for slug in slugs}
    file, _, rest = nodeid.partition("::")
    if found := re.search(r"test_(\d\d)_[^/]*$", file):
        return known.get(found[1], OTHER)
    parameters = rest.partition("[")[2]
    return next((slug for slug in known.values() if slug in parameters), OTHER)


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
