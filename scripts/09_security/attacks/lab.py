"""Starts the servers that are attacked, with a canary in a file that nobody may read."""

from __future__ import annotations

import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attacks.target import Server

START_SECONDS = 20.0
SHARED = "your-secret-token"  # of the open server, which has no other
# With these, an attack that should fail at a time limit need not wait long for it.
SHORT = {"HEAD_SECONDS": "1", "BODY_SECONDS": "1"}
PATIENCE = 4.0


class LabError(Exception):
    """A server did not start. The text is what it printed."""


@contextmanager
def started(program: Path, attacks: Sequence[str]) -> Iterator[Callable[[str], Server]]:
    """Start a server. Yields a function that gives it to an attack, with new customers.

    So an attack that uses up Mallory's share of requests takes nothing from the next one.
    """
    names = [f"{who}-{attack}" for attack in attacks for who in ("alice", "mallory")]
    # No token of this form begins with a dash, as an option does.
    tokens = {name: secrets.token_hex(32) for name in names}
    with notes_with_canary() as (notes, canary):
        environment = {
            **SHORT,
            "NOTES": str(notes),
            "MCP_TOKENS": ",".join(f"{name}:{token}" for name, token in tokens.items()),
            "PYTHONUNBUFFERED": "1",
        }
        with running(program, environment) as (url, log, pid):

            def for_attack(attack: str) -> Server:
                alice, mallory = tokens[f"alice-{attack}"], tokens[f"mallory-{attack}"]
                if program.name == "open_server.py":
                    alice = mallory = SHARED
                return Server(url, alice, mallory, log, canary, notes, pid, PATIENCE)

            yield for_attack


@contextmanager
def running(
    program: Path, environment: Mapping[str, str]
) -> Iterator[tuple[str, Callable[[], str], int]]:
    """Start a server on a free port. Yields its URL, what gives its output, and its id."""
    port = free_port()
    with tempfile.TemporaryFile("w+b") as printed:
        process = subprocess.Popen(
            [sys.executable, str(program), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )

        def log() -> str:
            size = os.fstat(printed.fileno()).st_size
            return os.pread(printed.fileno(), size, 0).decode("utf-8", "replace")

        try:
            wait_until_it_listens(process, port, log)
            yield f"http://127.0.0.1:{port}", log, process.pid
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def notes_with_canary() -> Iterator[tuple[Path, str]]:
    """A folder of notes, and beside it the canary, which must stay secret."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        canary = f"canary-{secrets.token_hex(8)}"
        notes = folder / "notes"
        private = folder / "notes-private"  # begins like the folder that may be read
        for inside in (notes, private):
            inside.mkdir()
        (notes / "welcome.txt").write_text("Welcome.\n", encoding="utf-8")
        for secret in (folder / "canary.txt", private / "canary.txt"):
            secret.write_text(canary, encoding="utf-8")
        (notes / "shortcut.txt").symlink_to(folder / "canary.txt")
        yield notes, canary


def free_port() -> int:
    """A port below those that the system hands out itself: nobody gets it meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def wait_until_it_listens(
    process: subprocess.Popen[bytes], port: int, log: Callable[[], str]
) -> None:
    """Raises LabError if it ends, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # until it has imported what it needs
        else:
            return
    raise LabError(f"The server did not start. It printed:\n{log()}")
