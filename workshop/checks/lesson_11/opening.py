"""The suite, and how it opens what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.lesson_11.texts import Texts

DOCKERFILE = "Dockerfile reference"
RUN = "Docker CLI reference, docker container run"
COMPOSE = "Compose Specification, services"
NGINX = "nginx, ngx_http_proxy_module"
MCP = "MCP 2024-11-05, HTTP with SSE"
COURSE = "this course"

NO_TEXT = "The function must return the text of the file."


@contextmanager
def open_program(path: Path) -> Iterator[Texts]:
    """What the functions of the file at `path` return. Raises ProgramError."""
    texts = Texts(path)
    try:
        yield texts
    finally:
        texts.close()


suite = Suite(
    "11_docker",
    open_program=open_program,
    printed=lambda texts: texts.printed,
    start_heading="The exercise",
    start_title="The file can be imported",
)
