"""Every exercise: its starter fails, its solution passes, its mistakes are all found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.warm import Parents
from workshop.checks import suite_of
from workshop.checks.engine import COMMON_HINTS, check_program
from workshop.checks.gallery import Mistake, load_gallery
from workshop.course import ROOT, Course

SLUGS = sorted(path.parent.name for path in (ROOT / "solutions").glob("*/exercise.toml"))
GALLERIES = {slug: load_gallery(ROOT / "solutions" / slug / "exercise.toml") for slug in SLUGS}
COURSE = Course.load()


REPORT = """
import sys
from pathlib import Path
from workshop.checks import suite_of
from workshop.checks.engine import check_program
print(check_program(suite_of(sys.argv[1]), Path(sys.argv[2])).as_json())
"""


def report(slug: str, room: str) -> dict[str, Any]:
    """What `workshop check --json` says of a room's exercise, as a learner starts it: cold."""
    file = ROOT / room / slug / "exercise.py"
    # Of a process of its own: here the checks have more patience than a learner has.
    env = {**os.environ, "WORKSHOP_PATIENCE": "1"}
    command = [sys.executable, "-c", REPORT, slug, str(file)]
    return json.loads(subprocess.run(command, env=env, capture_output=True, check=True).stdout)


@pytest.mark.quiet
@pytest.mark.parametrize("slug", SLUGS)
def test_the_starter_fails_the_solution_passes_and_both_within_three_seconds(slug: str) -> None:
    with ThreadPoolExecutor() as both:
        reports = list(both.map(report, (slug, slug), ("scripts", "solutions")))
    # Importing the SDK takes almost two, and openai-agents almost three.
    limit = {"06_sdk_server": 4, "08_agent": 6}.get(slug, 3)
    for _ in range(3):
        starter, solution = reports
        failed = [check for check in starter["checks"] if check["state"] == "failed"]
        assert failed, "the starter passes: nothing is left to do"
        assert all(check["todo"] is not None for check in failed), starter
        assert failed[0]["todo"] == 1, "the first failure must be about the first TODO"
        assert starter["complaints"] == [], "Python finds no fault with it"
        assert solution["passed"], solution
        if max(starter["seconds"], solution["seconds"]) < limit:
            return
        # Side by side they take longer than a learner waits for one.
        reports = [report(slug, "scripts"), report(slug, "solutions")]
    pytest.fail(f"{starter['seconds']} s, {solution['seconds']} s: the best of three is longer")


@pytest.mark.waits
@pytest.mark.parametrize(
    ("slug", "mistake"),
    [
        pytest.param(slug, mistake, id=f"{slug}-{mistake.id}")
        for slug, gallery in GALLERIES.items()
        for mistake in gallery.mistakes
    ],
)
def test_a_mistake_fails_its_own_check_with_its_own_hint(
    slug: str, mistake: Mistake, tmp_path: Path, parents: Parents
) -> None:
    solution = ROOT / "solutions" / slug
    # The learner's folder holds whatever files lie beside the exercise.
    for path in (ROOT / "scripts" / slug).iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    wrong = tmp_path / "exercise.py"
    wrong.write_text(
        mistake.apply((solution / "exercise.py").read_text(encoding="utf-8")), encoding="utf-8"
    )
    with parents.starting():
        report = check_program(suite_of(slug), wrong)
    found = [
        (result.id, result.failure.hint)
        for result in report.results
        if result.failure is not None
    ]
    assert found == [(mistake.check, mistake.hint)], report.as_json()
    blamed = [result.todo for result in report.results if result.failure is not None]
    assert mistake.todo in (None, *blamed), report.as_json()


@pytest.mark.parametrize("slug", SLUGS)
def test_every_check_and_every_hint_has_a_mistake(slug: str) -> None:
    shown = {(mistake.check, mistake.hint) for mistake in GALLERIES[slug].mistakes}
    wanted = {(check.id, hint) for check in suite_of(slug).checks for hint in check.hints}
    assert wanted - shown == set(), "hints that no mistake brings out"
    common = {(check.id, hint) for check in suite_of(slug).checks for hint in COMMON_HINTS}
    assert shown - wanted - common == set(), "mistakes about checks or hints that do not exist"


@pytest.mark.parametrize("slug", SLUGS)
def test_every_todo_has_hints_and_a_check(slug: str) -> None:
    todos = {todo.number: todo for todo in GALLERIES[slug].todos}
    checked = {check.todo for check in suite_of(slug).checks if check.todo is not None}
    assert checked == set(todos)
    assert all(len(todo.hints) >= 2 for todo in todos.values())


@pytest.mark.parametrize("slug", SLUGS)
def test_every_check_sends_the_learner_to_a_heading_that_exists(slug: str) -> None:
    text = (ROOT / "lessons" / f"{slug}.md").read_text(encoding="utf-8")
    headings = {line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")}
    assert {check.read for check in suite_of(slug).checks} <= headings


@pytest.mark.parametrize("slug", SLUGS)
def test_the_gallery_is_as_large_as_promised(slug: str) -> None:
    promised = COURSE.lesson(slug).least_mistakes
    assert promised, "least_mistakes is missing in lessons/lessons.toml"
    assert len(GALLERIES[slug].mistakes) >= promised
