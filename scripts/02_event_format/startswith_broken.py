"""Broken: takes every line that starts with `data: ` for an event. Reads standard input.

printf 'data: hello\\n\\n' | uv run scripts/02_event_format/startswith_broken.py
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    for line in sys.stdin:
        if line.startswith("data: "):
            print("event with data", repr(line.removeprefix("data: ").rstrip("\n")))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
