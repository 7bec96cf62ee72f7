"""The server's settings, from its environment, because that is where a container gets them.

PORT              where to listen, unless --port says otherwise: 8081. Clouds set it.
WORKSPACE         the folder of the tools: ./workspace. Made if it is missing.
ALLOWED_COMMANDS  the commands that may be run, with commas
COMMAND_SECONDS   how long a command may run: 10
OUTPUT_BYTES      how much of what it prints is kept: 65536
"""

import math
import os
import sys
from pathlib import Path

from commands import Limits
from workspace import Workspace

COMMANDS = "cat,date,echo,env,grep,head,id,ls,python3,sleep,sort,tail,wc"


def open_workspace() -> Workspace:
    """The workspace. Exits with one line that says why, if it cannot be used."""
    folder = Path(os.environ.get("WORKSPACE") or "workspace")
    try:
        return Workspace(folder)
    except OSError as error:
        sys.exit(f"WORKSPACE={folder} cannot be used: {error.strerror}.")


def read_limits() -> Limits:
    names = (os.environ.get("ALLOWED_COMMANDS") or COMMANDS).split(",")
    return Limits(
        allowed=frozenset(name.strip() for name in names if name.strip()),
        seconds=number("COMMAND_SECONDS", 10, at_most=3600),
        output_bytes=int(number("OUTPUT_BYTES", 64 * 1024, at_most=512 * 1024)),
    )


def port() -> int:
    return int(number("PORT", 8081, at_most=65535))


def number(name: str, default: float, at_most: float) -> float:
    """A positive number from the environment. Exits with one line if it is not one."""
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= at_most:
        sys.exit(f"{name}={text}: a number above 0 and at most {at_most:g} is wanted.")
    return value
