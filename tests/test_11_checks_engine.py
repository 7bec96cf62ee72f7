"""Lesson 11's checks with a container engine: what they read is what the Dockerfile does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine import FOLDER, IMAGE, Container, Docker
from tests.engine import docker as docker
from tests.parts import require
from workshop.checks import suite_of
from workshop.checks.engine import check_program
from workshop.checks.lesson_11 import box
from workshop.course import ROOT
from workshop.publishing.starters import solution_text, starter_text
from workshop.running import free_port

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


def test_the_starter_does_what_its_checks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root, reached by nobody, and killed after ten seconds with status 137.

    That is what it does also if another check builds at the same time.
    """
    docker = box._docker
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nLABEL of=another", encoding="utf-8")

    def beside_another(*arguments: str, seconds: float = 60) -> Any:
        done = docker(*arguments, seconds=seconds)
        if arguments[0] == "build":
            assert docker("build", "-q", "-t", box.IMAGE, str(tmp_path)).returncode == 0
        return done

    monkeypatch.setattr(box, "_docker", beside_another)
    found = box.tried(dockerfile(starter_text(SOURCE, "exercise.py")))
    assert (found.built, found.user, found.answer, found.status) == ("", "0", b"", 137)
    assert found.seconds >= box.GRACE


def test_the_solutions_four_files_come_up_together(docker: Docker, tmp_path: Path) -> None:
    """What a learner is to show a colleague."""
    require("docker-compose")
    require("nginx")  # what the stand-in makes that image of
    program = tmp_path / "exercise.py"
    program.write_text(solution_text(SOURCE), encoding="utf-8")
    project = tmp_path / "deploy"
    write = [sys.executable, str(program), str(project), "--server", str(FOLDER)]
    subprocess.run(write, check=True, capture_output=True)
    if os.geteuid() == 0:
        os.chown(project / "workspace", 1000, 1000)
    port = free_port()
    file = project / "compose.yaml"
    text = file.read_text(encoding="utf-8")
    assert '"127.0.0.1:8080:8080"' in text
    file.write_text(text.replace(":8080:8080", f":{port}:8080"), encoding="utf-8")
    compose = ("docker-compose", "--project-name", f"solution{port}")
    try:
        docker.command(*compose, "up", "--detach", cwd=project)
        front = Container(docker, f"solution{port}_nginx_1", port)
        # Nothing answers at first, and then nginx, with 502, until the server listens.
        retry = ("--retry", "50", "--retry-delay", "1", "--retry-all-errors", "--fail")
        stream = ["curl", "-sN", "--max-time", "60", *retry, f"{front.url}/sse"]
        with subprocess.Popen(stream, stdout=subprocess.PIPE) as opened:
            assert opened.stdout is not None
            assert opened.stdout.readline() == b"event: endpoint\r\n", front.logs()
            opened.kill()
    finally:
        docker.command(*compose, "down", "--timeout", "1", cwd=project, check=False)


def test_a_build_that_fails_is_shown() -> None:
    found = box.tried("FROM python:3.12-slim\nRUN echo the reason && false\n")
    assert "echo the reason" in found.built
