"""Lesson 11's checks with a container engine: what they read is what the Dockerfile does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.engine import Docker
from tests.engine import docker as docker
from workshop.checks import suite_of
from workshop.checks.engine import check_program
from workshop.checks.lesson_11 import box
from workshop.publishing.starters import solution_text, starter_text

SOURCE = (ROOT / "solutions/11_docker/exercise.py").read_text(encoding="utf-8")

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def engine(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks find the engine of these tests, and are told to use it."""
    monkeypatch.setattr(box, "docker_answers", lambda: True)
    for name in ("DOCKER_HOST", "DOCKER_BUILDKIT"):
        if name in docker.environment:
            monkeypatch.setenv(name, docker.environment[name])
    monkeypatch.setenv("WORKSHOP_ENGINE", "1")


def dockerfile(text: str) -> str:
    module: dict[str, Any] = {"__name__": "exercise", "__file__": __file__}
    exec(compile(text, "exercise.py", "exec", dont_inherit=True), module)
    return module["dockerfile"]()


def test_the_solution_passes_built_and_run(tmp_path: Path) -> None:
    program = tmp_path / "exercise.py"
    program.write_text(solution_text(SOURCE), encoding="utf-8")
    report = check_program(suite_of("11_docker"), program)
    assert report.ok, report.as_json()
    assert "Dockerfile" not in report.untried
    found = box.tried(dockerfile(solution_text(SOURCE)))  # which it has kept
    assert (found.user, found.writes, found.status) == ("1000", True, 0)
    assert b"event: endpoint" in found.answer
    assert found.seconds < box.GRACE


def test_the_starter_does_what_its_checks_say(tmp_path: Path) -> None:
    """Root, reached by nobody, and killed after ten seconds with status 137."""
    found = box.tried(dockerfile(starter_text(SOURCE, "exercise.py")))
    assert (found.built, found.user, found.answer, found.status) == ("", "0", b"", 137)
    assert found.seconds >= box.GRACE


def test_a_build_that_fails_is_shown() -> None:
    found = box.tried("FROM python:3.12-slim\nRUN echo the reason && false\n")
    assert "echo the reason" in found.built
