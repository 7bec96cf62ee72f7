"""Whether everything that the course downloads is here, so that it works without the network.

Nothing is compared with a list: `uv` and `npm` are asked to resolve it offline.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from workshop.course import Course
from workshop.doctor import Finding

NODE_CLIENT = "scripts/07_sdk_client/node"
"""The folder of the one program that has packages from npm."""

_INSPECTOR = re.compile(r"\bnpx -y (@modelcontextprotocol/inspector@\S+)")

SLOW = 60
"""No resolving takes so long, in seconds."""


def examine_offline(course: Course) -> list[Finding]:
    """Everything that a lesson would download, in the order in which it is needed."""
    return [python_packages(course), node_client(course), inspector(course)]


def python_packages(course: Course) -> Finding:
    """Whether `uv run` finds the environment complete without asking anybody."""
    name, get = "Python", (("in a network", "uv sync"),)
    uv = shutil.which("uv")
    if uv is None:
        get = (("anywhere", "pip install uv"),)
        return Finding("Without the network", name, "wrong", "uv was not found.", get)
    if not (course.root / "uv.lock").is_file():
        said = "there is no uv.lock yet: uv would have to look up every version."
        return Finding("Without the network", name, "wrong", said, get)
    status, printed = _run([uv, "sync", "--offline", "--locked", "--check"], course)
    if status != 0:
        missing = len(re.findall(r"^ \+ ", printed, re.MULTILINE))
        said = f"{missing} packages are missing." if missing else f"uv says: {printed.strip()}"
        return Finding("Without the network", name, "wrong", said, get)
    found = re.search(r"Checked (\d+ packages)", printed)
    said = f"{found[1]} installed" if found else "all packages are installed"
    return Finding("Without the network", name, "there", said)


def node_client(course: Course) -> Finding:
    """Whether the TypeScript SDK is installed for lesson 07's client in Node."""
    name = "TypeScript SDK"
    get = (("in a network", f"npm install --prefix {NODE_CLIENT}"),)
    status, _ = _run(["npm", "ls", "--prefix", NODE_CLIENT], course)
    return _from_npm(name, "07", get, status)


def inspector(course: Course) -> Finding:
    """Whether `npx` has the Inspector, in the version that lesson 06 names."""
    name = "Inspector"
    text = course.lesson("06").text.read_text(encoding="utf-8")
    found = _INSPECTOR.search(text)
    if found is None:
        said = "lesson 06 names no version of it."
        return Finding("Without the network", name, "missing", said)
    # `npx` gets the package, and then runs `node` instead of what is in it.
    words = ["npx", "-y", "-p", found[1], "node", "--version"]
    status, _ = _run([words[0], "--offline", *words[1:]], course)
    return _from_npm(name, "06", (("in a network", " ".join(words)),), status)


def _from_npm(
    name: str, lesson: str, get: tuple[tuple[str, str], ...], status: int | None
) -> Finding:
    part = "Without the network"
    if status is None:
        said = f"npm was not found. An appendix of lesson {lesson} uses it."
        return Finding(part, name, "missing", said, (("first", "install Node"), *get))
    if status != 0:
        said = f"not downloaded yet. An appendix of lesson {lesson} uses it."
        return Finding(part, name, "missing", said, get)
    return Finding(part, name, "there", f"downloaded, for lesson {lesson}")


def _run(words: list[str], course: Course) -> tuple[int | None, str]:
    """A command's exit status and all it printed; None if there is no such program."""
    try:
        run = subprocess.run(
            words,
            cwd=course.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=SLOW,
            check=False,
        )
    except FileNotFoundError:
        return None, ""
    except subprocess.TimeoutExpired:
        return 1, "it took too long"
    return run.returncode, run.stdout
