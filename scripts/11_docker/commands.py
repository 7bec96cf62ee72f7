"""Run one command: no shell, a time limit, a limit on its output, and nothing left behind."""

import asyncio
import contextlib
import io
import os
import reprlib
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

# Commands are looked up here, not on the server's own PATH.
COMMAND_PATH = "/usr/local/bin:/usr/bin:/bin"
AT_ONCE = 4  # commands that run at the same time; others wait
PROGRESS_SECONDS = 1.0

Tick = Callable[[float, int], Awaitable[None]]
"""Called every second, with the seconds so far and the number of bytes printed."""


class NotRun(Exception):
    """Why a command was not started, in words for the model."""


@dataclass(frozen=True)
class Limits:
    allowed: frozenset[str]
    seconds: float
    output_bytes: int


@dataclass
class Ended:
    """How a command ended."""

    output: bytes
    status: int | None
    """Its exit status, negative if a signal ended it; None if it was stopped."""
    stopped: str | None = None
    """Why it was stopped."""


_slots = asyncio.Semaphore(AT_ONCE)


async def run(command: list[str], folder: Path, limits: Limits, tick: Tick) -> Ended:
    """Run a command in a folder, without a shell. Raises NotRun.

    However this ends, cancelled or not, the command and its process group have ended, too.
    """
    program = find(command, limits.allowed)
    async with _slots, pipe() as (reader, theirs):
        process = await start(program, command, folder, theirs)
        theirs.close()
        try:
            return await until_it_ends(process, reader, limits, tick)
        finally:
            kill_group(process.pid)


@asynccontextmanager
async def pipe() -> AsyncIterator[tuple[asyncio.StreamReader, io.FileIO]]:
    """A reader, and the file to write to: it reads what is written. Both are closed at the end.

    With `stdout=PIPE`, asyncio makes its own pipe. But then `process.wait()` also waits for
    everything that the command has started, as long as that holds the pipe open.
    """
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader()
    with os.fdopen(ours, "rb", 0) as to_read, os.fdopen(theirs, "wb", 0) as to_write:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), to_read
        )
        try:
            yield reader, to_write
        finally:
            transport.close()


async def start(
    program: str, command: list[str], folder: Path, output: io.FileIO
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            executable=program,
            cwd=folder,
            # Not the server's own environment: that may hold keys.
            env={"PATH": COMMAND_PATH, "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Its own process group, which can be killed all at once.
            start_new_session=True,
        )
    except OSError as error:
        raise NotRun(f"{command[0]} could not be started: {error.strerror}.") from error


async def until_it_ends(
    process: asyncio.subprocess.Process,
    reader: asyncio.StreamReader,
    limits: Limits,
    tick: Tick,
) -> Ended:
    """Collect what it prints until it has ended, or until it reaches a limit."""
    output = bytearray()

    async def collect() -> None:
        while piece := await reader.read(65_536):
            output.extend(piece)
            if len(output) > limits.output_bytes:
                kill_group(process.pid)
                return

    async def report() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            await tick(loop.time() - begun, len(output))

    ended = asyncio.create_task(process.wait())
    collected = asyncio.create_task(collect())
    # A separate task: a client that does not read its stream must not hold up the time limit.
    reported = asyncio.create_task(report())
    try:
        in_time, _ = await asyncio.wait({ended}, timeout=limits.seconds)
        # What it has started may still be running, and hold the pipe open. Outside its group
        # we can't reach it, so we don't wait forever for the pipe to close.
        kill_group(process.pid)
        await asyncio.wait({ended, collected}, timeout=0.5)
    finally:
        for task in (ended, collected, reported):
            task.cancel()
        # They end before the next command starts. Their errors, if any, are not the command's.
        await asyncio.gather(ended, collected, reported, return_exceptions=True)
    kept = bytes(output[: limits.output_bytes])
    if len(output) > limits.output_bytes:
        return Ended(kept, None, f"stopped: it printed more than {limits.output_bytes} bytes")
    if not in_time:
        return Ended(kept, None, f"stopped: it ran for more than {limits.seconds:g} seconds")
    return Ended(kept, process.returncode)


def find(command: list[str], allowed: frozenset[str]) -> str:
    """The program's path. Raises NotRun if it is not allowed, or not installed."""
    if not command:
        raise NotRun("The command is empty.")
    name = command[0]
    if name not in allowed:
        raise NotRun(
            f"{reprlib.repr(name)} is not allowed. Allowed: {', '.join(sorted(allowed))}."
        )
    if any("\0" in word for word in command):
        raise NotRun("A command cannot hold the character NUL.")
    program = shutil.which(name, path=COMMAND_PATH)
    if program is None:
        raise NotRun(f"{name} is not installed here.")
    return program


def kill_group(leader: int) -> None:
    # When all of it has ended, there is no such group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
