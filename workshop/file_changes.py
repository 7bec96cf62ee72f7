"""Wait until files in a folder change, on any file system.

The files are read again and again and compared as a whole. That needs no change
events, which network mounts, containers and some virtual machines do not send,
and it trusts no clock: a watcher that compares times in whole seconds, as
watchfiles does when it polls, misses the second of two quick saves.
An exercise is a few small files, so reading them costs less than a millisecond.
"""

from __future__ import annotations

import threading
from pathlib import Path

# How often the files are read, in seconds.
INTERVAL = 0.15

# What an exercise is made of. A log or a database that it writes is not watched.
ENDINGS = (".py", ".html", ".js", ".css")

Snapshot = dict[str, tuple[int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """The files of the folder: name, and (time of the last change in ns, bytes).

    The time is there so that saving a file again without a change counts too.
    """
    found: Snapshot = {}
    for path in folder.glob("*"):
        if path.suffix in ENDINGS and not path.name.startswith("."):
            try:
                found[path.name] = (path.stat().st_mtime_ns, path.read_bytes())
            except OSError:
                pass  # an editor is just replacing it: it is there at the next look
    return found


def wait_for_change(folder: Path, seen: Snapshot) -> Snapshot:
    """Wait until the files differ from `seen` and are at rest; return how they are now.

    At rest means: the same at two looks in a row. An editor that empties the file
    before it writes, or puts another in its place, is done by then.
    """
    pause = threading.Event()  # never set: its wait is the pause between two looks
    before = seen
    while True:
        pause.wait(INTERVAL)
        now = snapshot(folder)
        if now == before and now != seen:
            return now
        before = now
