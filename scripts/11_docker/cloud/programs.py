"""Start other lessons' programs for the lab, read what they print, and stop them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

PATIENCE = 60.0  # seconds until a server must listen, even on a busy machine


@contextlib.asynccontextmanager
async def program(
    path: Path, *arguments: str, heard: Callable[[bytes], None]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the end of the block; `heard` gets each line that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(path),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    # Read all the time: a full pipe would block the program at its next print.
    reading = asyncio.create_task(read_lines(process.stdout, heard))
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading


async def read_lines(output: asyncio.StreamReader, heard: Callable[[bytes], None]) -> None:
    async for line in output:
        heard(line)


async def starts_to_listen(port: int) -> bool:
    """Wait until something listens there. False: nothing did within PATIENCE."""
    give_up = time.monotonic() + PATIENCE
    while not await listens(port):
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(0.05)
    return True


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
