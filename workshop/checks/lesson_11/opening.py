"""The suite, and how it opens what it checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_11.box import engine
from workshop.checks.lesson_11.proxy import NGINX as NGINX_PROGRAM
from workshop.checks.lesson_11.texts import Texts

DOCKERFILE = "Dockerfile reference"
RUN = "Docker CLI reference, docker container run"
COMPOSE = "Compose Specification, services"
NGINX = "nginx, ngx_http_proxy_module"
MCP = "MCP 2024-11-05, HTTP with SSE"
COURSE = "this course"

# The addresses that only this machine can reach.
HOME = ("127.0.0.1", "localhost", "[::1]")

NO_TEXT = "The function must return the text of the file."


@contextmanager
def open_program(path: Path) -> Iterator[Texts]:
    """What the functions of the file at `path` return. Raises ProgramError."""
    texts = Texts(path)
    try:
        yield texts
    finally:
        texts.close()


def untried() -> str:
    """What the checks have only read, and why."""
    said = []
    if not engine():
        off = os.environ.get("WORKSHOP_ENGINE") == "0"
        why = "WORKSHOP_ENGINE is 0" if off else "no container engine answers"
        said.append(f"The Dockerfile was read, not built and run: {why}.")
    if NGINX_PROGRAM is None:
        said.append("nginx.conf was read, not run: there is no nginx.")
    said.append("run.sh and compose.yaml are only read.")
    return " ".join(said)


suite = Suite(
    "11_docker",
    open_program=open_program,
    printed=lambda texts: texts.printed,
    untried=untried,
    start_heading="The exercise",
    start_title="The file can be imported",
)
