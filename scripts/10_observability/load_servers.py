"""Starts servers for programs that measure them, and looks at their processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20.0
LEAVE_SECONDS = 5.0


@dataclass(frozen=True)
class Started:
    url: str  # of its event stream
    pid: int


@contextmanager
def started(program: Path) -> Iterator[Started]:
    """A running server, until the block ends. Exits if it does not start."""
    if not program.is_file():
        sys.exit(f"There is no program {program}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [sys.executable, str(program), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we then stop the server ourselves
        )
        try:
            end = time.monotonic() + START_SECONDS
            while not listens(port):
                if process.poll() is not None or time.monotonic() > end:
                    printed.seek(0)
                    said = printed.read().decode("utf-8", "replace")
                    sys.exit(f"{program} did not start. It printed:\n{said}")
                time.sleep(0.02)
            yield Started(f"http://127.0.0.1:{port}/sse", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def memory_of(pid: int) -> float | None:
    """The bytes of physical memory that a process holds, if the system says so (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return float(status.partition("VmRSS:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return None


def processor_seconds_of(pid: int) -> float | None:
    """How long a process has kept a processor busy so far (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class TooFewFiles(Exception):
    """The text says how many are allowed."""


def more_files(wanted: int) -> None:
    """Each stream is an open file, and a process may have 1,024 unless it asks for more.

    The servers that we start inherit our limit. Raises TooFewFiles.
    """
    if sys.platform == "win32":
        return  # it has no such limit, and no `resource`
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise TooFewFiles(
                f"This takes about {wanted:,} open files, and this process may have {hard:,} "
                "(ulimit -Hn).\nOpen fewer streams: --streams"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
