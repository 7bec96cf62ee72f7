"""One table of ports, in the manifest: programs and texts agree with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from workshop import running
from workshop.course import ROOT, Course, Lesson, companions

pytestmark = pytest.mark.usefixtures("warm")

COURSE = Course.load()
OLLAMA = 11434  # where a model on one's own machine listens
NGINX = {8080, 8443}  # of lesson 11, plain and TLS: it is no program of ours
MONITORING = {9090, 3010, 4318}  # of lesson 10: Prometheus, Grafana, a collector for traces
every_lesson = pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda lesson: lesson.slug)

# Programs with `--port` that serve nothing: it says where the lesson's server is.
CLIENTS = (
    "03_event_hub/demo.py",
    "03_event_hub/owner_broken.py",
    "03_event_hub/owner_fixed.py",
)

# Runs each program as far as its arguments, and prints the default of `--port`.
ASK = """
import argparse, json, runpy, sys
from pathlib import Path

def stop(parser, *_):
    raise SystemExit(parser.get_default("port"))

argparse.ArgumentParser.parse_args = stop
defaults = {}
for program in sys.argv[1:]:
    sys.path[0] = str(Path(program).parent)
    known = set(sys.modules)
    try:
        runpy.run_path(program, run_name="__main__")
        defaults[program] = None
    except SystemExit as asked:
        defaults[program] = asked.code
    for name in set(sys.modules) - known:
        # Another folder may have a module of this name, and another program a metric: in one
        # process no two may be called alike.
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(sys.path[0]) or name.startswith("prometheus_client"):
            del sys.modules[name]
print(json.dumps(defaults))
"""


def defaults(lesson: Lesson) -> dict[str, int]:
    """The default port of each of its programs that has one, by its path in the project."""
    programs = [
        program
        for program in [*lesson.scripts.rglob("*.py"), *lesson.solution.parent.glob("*.py")]
        if "node_modules" not in program.parts and takes_a_port(program)
    ]
    run = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, programs)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=150,
        check=True,
    )
    found: dict[str, int | str | None] = json.loads(run.stdout.splitlines()[-1])
    return {
        str(Path(path).relative_to(ROOT)): port
        for path, port in found.items()
        if isinstance(port, int)
    }


def takes_a_port(program: Path) -> bool:
    """Whether it is a program, and it, or a file that it imports, adds an argument `--port`."""
    if "__main__" not in program.read_text("utf-8"):
        return False
    texts = (path.read_text("utf-8") for path in (program, *companions(program)))
    return any(re.search(r"add_argument\(\s*\"--port\"", text) for text in texts)


@every_lesson
def test_every_server_listens_where_the_table_says(lesson: Lesson) -> None:
    wanted: dict[str, int] = {}
    for program, port in lesson.ports.items():
        assert (lesson.scripts / program).is_file(), f"there is no {program}"
        wanted[f"scripts/{lesson.slug}/{program}"] = port
        if program == "exercise.py":
            wanted[f"solutions/{lesson.slug}/{program}"] = port
    for program in CLIENTS:
        if program.startswith(lesson.slug) and lesson.port is not None:
            wanted[f"scripts/{program}"] = lesson.port
    assert defaults(lesson) == wanted


def test_no_two_processes_take_ports_from_the_same_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The numbers of two processes are often equal in this: 7 processes, 50 slices.
    monkeypatch.setattr(running.os, "getpid", lambda: 7)
    monkeypatch.setattr(running, "_held", held := [])
    numbers = [running.own_slice.__wrapped__() for _ in range(3)]
    for each in held:
        each.close()
    assert len(set(numbers)) == 3


def test_no_two_lessons_share_a_port() -> None:
    lessons: dict[int, set[str]] = defaultdict(set)
    for lesson in COURSE.lessons:
        for port in lesson.ports.values():
            lessons[port].add(lesson.slug)
    assert {port: slugs for port, slugs in lessons.items() if len(slugs) > 1} == {}


IN_URLS = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):(\d{4,5})\b")
CHOSEN = re.compile(r"(?:--port[ =]|\bPORT=)(\d{4,5})\b")


def strangers(text: str, known: set[int]) -> set[int]:
    """The ports in a text's URLs that are neither known nor chosen in its commands."""
    shown = {int(port) for port in IN_URLS.findall(text)}
    return shown - known - {int(port) for port in CHOSEN.findall(text)}


def ports_of_programs_in(text: str) -> set[int]:
    """The default ports of the servers that a text names by their path."""
    return {
        port
        for lesson in COURSE.lessons
        for program, port in lesson.ports.items()
        if re.search(rf"(?:scripts|solutions|work)/{lesson.slug}/{re.escape(program)}", text)
        or re.search(rf"cd scripts/{lesson.slug}\b", text)
    }


@every_lesson
def test_a_port_in_a_lesson_is_that_of_a_server_which_it_starts(lesson: Lesson) -> None:
    text = lesson.text.read_text("utf-8")
    # It may speak of a server that a later lesson starts.
    later = COURSE.lessons[COURSE.lessons.index(lesson) + 1 :]
    known = {port for each in later for port in each.ports.values()} | NGINX | {OLLAMA}
    known |= MONITORING
    assert strangers(text, known | ports_of_programs_in(text)) == set()


def test_a_port_in_the_readme_is_that_of_a_server_which_it_starts() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert strangers(text, ports_of_programs_in(text)) == set()


@every_lesson
def test_a_port_in_a_program_is_one_of_the_table(lesson: Lesson) -> None:
    table = {port for each in COURSE.lessons for port in each.ports.values()}
    table |= NGINX | MONITORING
    found = {
        str(path.relative_to(ROOT)): ports
        for folder in (lesson.scripts, lesson.solution.parent, lesson.notebook_source)
        for path in ([folder] if folder.is_file() else folder.rglob("*.*"))
        if path.is_file() and "node_modules" not in path.parts and path.suffix != ".pyc"
        if (ports := strangers(path.read_text("utf-8"), table))
    }
    assert found == {}
