"""Lesson 03's programs, for its tests: loaded as modules, or started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from tests.folder_modules import modules_in
from workshop.course import ROOT
from workshop.raw_client import Answer, Server
from workshop.raw_stream import Stream
from workshop.running import Program, running

FOLDER = ROOT / "scripts" / "03_event_hub"
HUB = FOLDER / "hub_server.py"

# The lesson's files import each other, and other lessons have files of the same names.
_NAMES = ("event_stream", "hub", "hub_server", "sse_client", "faulty_proxy")
_loaded: dict[str, ModuleType] = {}


def load_lesson(name: str) -> ModuleType:
    """A module of the lesson, all of its imports taken from the lesson's own folder."""
    if not _loaded:
        _loaded.update(modules_in(FOLDER, _NAMES))
    return _loaded[name]


class PatientServer(Server):
    """A server that has ten seconds for each answer: the machine may be busy."""

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 10.0,
        finish: bool = True,
    ) -> Answer:
        return super().request(method, path, body, headers, seconds=seconds, finish=finish)

    def open(
        self, path: str, headers: Mapping[str, str] | None = None, *, seconds: float = 10.0
    ) -> Stream:
        return super().open(path, headers, seconds=seconds)


@contextmanager
def running_hub(*flags: str, port: int | None = None) -> Iterator[tuple[Server, Program]]:
    """The hub on a free port, counting from 1, with a quick heartbeat unless `flags` differ."""
    with running(HUB, "--first-id", "1", "--retry", "50", *flags, port=port) as program:
        yield PatientServer(program.url, program), program
