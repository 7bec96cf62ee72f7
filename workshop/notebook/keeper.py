"""Ends a notebook's servers if their kernel is gone and could not do it.

    python workshop/notebook/keeper.py

A kernel that is killed has no time for that, nor has one that finds its Jupyter gone, because
the terminal was closed. Its servers would go on, and keep their ports. So `programs.py` starts
this program and writes the id of each server's process to it, one per line. That pipe ends when
the kernel does.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import psutil


def main() -> None:
    kept: list[psutil.Process] = []
    for line in sys.stdin:
        with suppress(psutil.NoSuchProcess):
            # It remembers when the process began: another one may get the same id later.
            kept.append(psutil.Process(int(line)))
    for process in kept:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(kept, timeout=3)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
