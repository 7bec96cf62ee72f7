"""The server's settings. They come from the environment, as is usual in a container.

PORT              where to listen, unless --port says otherwise (default 8081). Clouds set it.
WORKSPACE         the folder of the tools (default ./workspace), created if it is missing
ALLOWED_COMMANDS  the commands that may be run, separated by commas
COMMAND_SECONDS   how long a command may run (default 10)
OUTPUT_BYTES      how much of its output is kept (default 65536)
"""

import math
import os
import sys
from pathlib import Path

from commands import Limits
from confined import MAX_BYTES, Workspace

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
    allowed = frozenset(name.strip() for name in names if name.strip())
    if any("/" in name for name in allowed):
        sys.exit("ALLOWED_COMMANDS has a path in it: names are wanted, such as ls,cat.")
    return Limits(
        allowed=allowed,
        seconds=number("COMMAND_SECONDS", 10, at_most=3600),
        output_bytes=whole_number("OUTPUT_BYTES", 64 * 1024, at_most=MAX_BYTES),
    )


def port() -> int:
    return whole_number("PORT", 8081, at_most=65535)


def whole_number(name: str, default: int, at_most: int) -> int:
    return int(number(name, default, at_most, step=1))


def number(name: str, default: float, at_most: float, step: float = 0) -> float:
    """A positive number from the environment. Exits with one line if it is not one."""
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= at_most or (step and value % step):
        kind = "whole number" if step else "number"
        sys.exit(f"{name}={text}: a {kind} above 0 and at most {at_most} is wanted.")
    return value
