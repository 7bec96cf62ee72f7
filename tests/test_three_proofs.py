"""Every exercise: its starter fails, its solution passes, its mistakes are all found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm import Parents
from workshop.checks import suite_of
from workshop.checks.engine import COMMON_HINTS, check_program
from workshop.checks.gallery import Mistake, load_gallery
from workshop.course import ROOT, Course

SLUGS = sorted(path.parent.name for path in (ROOT / "solutions").glob("*/exercise.toml"))
GALLERIES = {slug: load_gallery(ROOT / "solutions" / slug / "exercise.toml") for slug in SLUGS}
COURSE = Course.load()


@pytest.mark.parametrize("slug", SLUGS)
def test_the_starter_fails_and_says_which_todo(slug: str) -> None:
    report = check_program(suite_of(slug), ROOT / "scripts" / slug / "exercise.py")
    failed = [result for result in report.results if result.state == "failed"]
    assert failed, "the starter passes: nothing is left to do"
    assert all(result.todo is not None for result in failed), report.as_json()
    assert failed[0].todo == 1, "the first failure must be about the first TODO"
    assert report.complaints == [], "Python finds no fault with it"


@pytest.mark.parametrize("slug", SLUGS)
def test_the_solution_passes(slug: str) -> None:
    report = check_program(suite_of(slug), ROOT / "solutions" / slug / "exercise.py")
    assert report.ok, report.as_json()


@pytest.mark.quiet
@pytest.mark.parametrize("slug", SLUGS)
def test_feedback_comes_within_three_seconds(slug: str) -> None:
    code = (
        "import sys; from pathlib import Path; from workshop.checks import suite_of\n"
        "from workshop.checks.engine import check_program\n"
        f"suite = suite_of({slug!r})\n"
        "print(max(check_program(suite, Path(file)).seconds for file in sys.argv[1:]))"
    )
    files = [str(ROOT / room / slug / "exercise.py") for room in ("solutions", "scripts")]

    def seconds() -> float:
        # Of their own process: here the checks have more patience than a learner has.
        env = {**os.environ, "WORKSHOP_PATIENCE": "1"}
        command = [sys.executable, "-c", code, *files]
        return float(subprocess.run(command, env=env, capture_output=True, check=True).stdout)

    # Importing the SDK takes almost two, and openai-agents almost three.
    limit = {"06_sdk_server": 4, "08_agent": 6}.get(slug, 3)
    # The machine may be busy with something of its own: the best of three counts.
    assert any(seconds() < limit for _ in range(3))


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
