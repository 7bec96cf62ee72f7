"""tmux, as far as a demo needs it: a server of its own, its panes, and their layout."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tmux:
    """One tmux server, reached by its socket."""

    program: str
    socket: Path

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run one tmux command; return what it prints. Raises CalledProcessError."""
        run = subprocess.run(
            [*self.base, *words], capture_output=True, text=True, encoding="utf-8", check=check
        )
        return run.stdout.strip()

    @property
    def base(self) -> list[str]:
        """How every command begins: nobody's own settings are read."""
        return [self.program, "-S", str(self.socket), "-f", "/dev/null"]


def layout(columns: int, rows: int, panes: int, control_rows: int) -> str:
    """The layout of one to three panes above the control pane, as `select-layout` takes it.

    The panes get their places in the order in which they are in the window, the
    control pane being the last.
    """
    above = rows - control_rows - 1
    if panes == 1:
        cell = _leaf(columns, above, 0, 0)
    elif columns < SIDE_BY_SIDE:
        cell = _stack(columns, above, 0, 0)
    else:
        left = columns // 2
        right = columns - left - 1
        second = _leaf if panes == 2 else _stack
        cells = f"{_leaf(left, above, 0, 0)},{second(right, above, left + 1, 0)}"
        cell = f"{columns}x{above},0,0{{{cells}}}"
    control = _leaf(columns, control_rows, 0, above + 1)
    whole = f"{columns}x{rows},0,0[{cell},{control}]"
    return f"{_checksum(whole):04x},{whole}"


SIDE_BY_SIDE = 100
"""From so many columns on, panes are beside each other; below, on top of each other."""


def _leaf(columns: int, rows: int, x: int, y: int) -> str:
    return f"{columns}x{rows},{x},{y},0"  # tmux takes the number of the pane from its place


def _stack(columns: int, rows: int, x: int, y: int) -> str:
    upper = (rows - 1) // 2
    lower = rows - upper - 1
    cells = f"{_leaf(columns, upper, x, y)},{_leaf(columns, lower, x, y + upper + 1)}"
    return f"{columns}x{rows},{x},{y}[{cells}]"


def _checksum(text: str) -> int:
    """tmux's checksum of a layout: rotate to the right by one bit, add the character."""
    total = 0
    for character in text:
        total = (total >> 1) + ((total & 1) << 15)
        total = (total + ord(character)) & 0xFFFF
    return total


def processes_on(tty: str, shell: str) -> list[int]:
    """The processes of a pane, by its terminal, without its shell."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-t", tty.removeprefix("/dev/")],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(process) for process in listed.stdout.split() if process != shell]


def listens_on(tty: str, port: int) -> bool:
    """Whether a process of this pane listens on the port. True where that can't be known."""
    try:
        import psutil  # from the test group
    except ImportError:
        return True
    for process in processes_on(tty, ""):
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(process).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port:
                    return True
    return False
