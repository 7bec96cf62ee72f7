"""The suite: the learner's file, run three times, once for each of its servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from workshop.checks.engine import Suite
from workshop.checks.mcp_session import McpServer
from workshop.patience import stretched
from workshop.running import Program, running

NAMES: tuple[str, ...] = ("ash", "birch", "cedar")


class Lab:
    """The three servers, by name."""

    def __init__(self, programs: dict[str, Program]) -> None:
        self.programs = programs

    def server(self, name: str) -> McpServer:
        program = self.programs[name]
        return McpServer(f"{program.url}/sse", program, exact=True)


@contextmanager
def open_program(path: Path) -> Iterator[Lab]:
    """Start the file three times, side by side. Raises ProgramError."""
    # A heartbeat could flush what a server holds back, so there are none.
    env = {"HEARTBEAT_SECONDS": "3600"}
    with ExitStack() as stack, ThreadPoolExecutor(len(NAMES)) as pool:

        def start(name: str) -> Program:
            server = running(path, "--server", name, env=env, seconds=stretched(10))
            return stack.enter_context(server)

        programs = dict(zip(NAMES, pool.map(start, NAMES), strict=True))
        try:
            yield Lab(programs)
        finally:
            # One after the other would take three times as long.
            list(pool.map(lambda program: program.stop(seconds=3), programs.values()))


suite = Suite("10_observability", open_program=open_program, start_heading="Run it")
