"""Run one command: no shell, a time limit, a limit on its output, and nothing left behind."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

# Commands are looked for here, and not where the server's own PATH would.
COMMAND_PATH = "/usr/local/bin:/usr/bin:/bin"
AT_ONCE = 4  # commands that run at the same time; others wait

Tick = Callable[[float, int], Awaitable[None]]
"""Called each second with the seconds so far and the bytes that have been printed."""


class NotRun(Exception):
    """Why a command was not started, in words for the model."""


@dataclass(frozen=True)
class Limits:
    allowed: frozenset[str]
    seconds: float
    output_bytes: int


@dataclass
class Ended:
    """What became of a command."""

    output: bytes
    status: int | None
    """Its exit status; None if it was stopped."""
    stopped: str | None = None
    """Why it was stopped."""


_slots = asyncio.Semaphore(AT_ONCE)


async def run(argv: list[str], folder: Path, limits: Limits, tick: Tick) -> Ended:
    """Run `argv` in a folder. Raises NotRun.

    Cancelled, it leaves nothing running.
    """
    program = find(argv, limits.allowed)
    async with _slots:
        # A pipe of our own: asyncio's would count as open as long as any process that the
        # command has started holds its other end.
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(ours, "rb"))
        try:
            try:
                process = await start(program, argv, folder, theirs)
            finally:
                os.close(theirs)
            try:
                return await until_it_ends(process, reader, limits, tick)
            finally:
                # The whole group: a command may have started others.
                kill_group(process.pid)
        finally:
            transport.close()


async def start(
    program: str, argv: list[str], folder: Path, output: int
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            executable=program,
            cwd=folder,
            # Not the server's own environment: that may hold keys.
            env={"PATH": COMMAND_PATH, "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # A process group of its own, which is killed as a whole.
            start_new_session=True,
        )
    except OSError as error:
        raise NotRun(f"{argv[0]} could not be started: {error.strerror}.") from error


async def until_it_ends(
    process: asyncio.subprocess.Process,
    reader: asyncio.StreamReader,
    limits: Limits,
    tick: Tick,
) -> Ended:
    """Collect what it prints until it has ended, or until it reaches a limit."""
    output = bytearray()
    ended = asyncio.create_task(process.wait())
    collected = asyncio.create_task(collect(reader, output, limits.output_bytes))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        while not ended.done():
            if len(output) > limits.output_bytes:
                cut = bytes(output[: limits.output_bytes])
                return Ended(cut, None, f"it had printed {limits.output_bytes} bytes")
            left = begun + limits.seconds - loop.time()
            if left <= 0:
                return Ended(bytes(output), None, f"it had run for {limits.seconds:g} seconds")
            waiting = {ended} if collected.done() else {ended, collected}
            done, _ = await asyncio.wait(
                waiting, timeout=min(left, 1), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                await tick(loop.time() - begun, len(output))
        # What it started may still hold the pipe open: only what is there now counts.
        kill_group(process.pid)
        await asyncio.wait({collected}, timeout=0.5)
        cut = bytes(output[: limits.output_bytes])
        stopped = (
            f"it had printed {limits.output_bytes} bytes" if len(output) > len(cut) else None
        )
        return Ended(cut, process.returncode, stopped)
    finally:
        ended.cancel()
        collected.cancel()


async def collect(reader: asyncio.StreamReader, output: bytearray, at_most: int) -> None:
    """Read until the end, or until there is more than may be shown."""
    while len(output) <= at_most and (piece := await reader.read(65_536)):
        output += piece


def find(argv: list[str], allowed: frozenset[str]) -> str:
    """The program's path. Raises NotRun if it is not allowed, or not installed."""
    if not argv:
        raise NotRun("The command is empty.")
    if argv[0] not in allowed:
        raise NotRun(f"{argv[0]!r} is not allowed. Allowed: {', '.join(sorted(allowed))}.")
    if any("\0" in word for word in argv):
        raise NotRun("A command cannot hold the character NUL.")
    program = shutil.which(argv[0], path=COMMAND_PATH)
    if program is None:
        raise NotRun(f"{argv[0]} is not installed here.")
    return program


def kill_group(leader: int) -> None:
    # When all of it has ended there is no such group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
