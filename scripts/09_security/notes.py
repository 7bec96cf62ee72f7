"""Reads notes, and nothing else: no path leads out of their folder, no name is a command."""

import asyncio
import sys
from pathlib import Path

MAX_NOTE = 64 * 1024  # bytes
COMMAND_SECONDS = 5.0
# Nothing of the server's own environment: its tokens are in it.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def note(folder: Path, name: str) -> Path:
    """The file of a note. Raises ValueError if there is none, or it is not in the folder.

    `resolve` follows `..` and symbolic links to the file that is really meant. Comparing the
    paths as strings is not enough: "/notes-private" begins with "/notes".
    """
    try:
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):
        # A name that no file can have, such as a very long one, or links in a circle. The
        # system's error quotes the name, which would end up in the log.
        pass
    raise ValueError("there is no such note")


def read_note(folder: Path, name: str) -> str:
    path = note(folder, name)
    with path.open("rb") as file:
        text = file.read(MAX_NOTE + 1)
    if len(text) > MAX_NOTE:
        raise ValueError(f"a note has at most {MAX_NOTE} bytes")
    return text.decode("utf-8", "replace")


async def count_lines(folder: Path, name: str) -> str:
    """What `wc -l` says about a note. There is no shell that would read the name."""
    path = note(folder, name)
    counting = await asyncio.create_subprocess_exec(
        # `--` ends the options: a name that begins with a dash is a name.
        *("wc", "-l", "--", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=ENVIRONMENT if sys.platform != "win32" else None,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            printed, _ = await counting.communicate()
    finally:
        if counting.returncode is None:
            counting.kill()
            await counting.wait()
    return printed.split()[0].decode()
