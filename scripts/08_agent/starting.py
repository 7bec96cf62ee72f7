"""Start an MCP server in a process of its own, wait until it answers, and stop it."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = "Uvicorn running on"  # uvicorn says so once it listens


class StartError(Exception):
    """The server did not start. The text has what it printed last."""


def choose_port(wanted: int) -> int:
    """`wanted`, or a free port if another program listens there."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise StartError("This machine has no free port.")


@contextmanager
def started(program: Path, port: int) -> Iterator[str]:
    """Run `program` on `port`; yield the URL of its event stream once it listens.

    Raises StartError if it ends before that.
    """
    process = subprocess.Popen(
        [sys.executable, str(program), "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        # Ctrl-C is for this program, which then stops the server in its own time.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        last = ""
        for line in process.stdout:
            if READY in line:
                break
            last = line.strip() or last
        else:
            raise StartError(f"{program.name} did not start: {last}")
        # Its log goes on. Nobody reads it, but a full pipe would stop the server.
        log = process.stdout
        threading.Thread(target=lambda: [None for _ in log], daemon=True).start()
        yield f"http://127.0.0.1:{port}/sse"
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
