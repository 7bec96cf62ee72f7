"""Run a program, and press Ctrl-C at the moment when it prints its first line.

python tests/servers/told_at_once.py PROGRAM WORD...
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

PRINTED: list[str] = []


def interrupt_at_first_line(stream: Any) -> None:
    write = stream.write

    def write_and_interrupt(text: str) -> int:
        written = write(text)
        if not PRINTED:
            PRINTED.append(text)
            os.kill(os.getpid(), signal.SIGINT)
        return written

    stream.write = write_and_interrupt


if __name__ == "__main__":
    interrupt_at_first_line(sys.stdout)
    interrupt_at_first_line(sys.stderr)
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
