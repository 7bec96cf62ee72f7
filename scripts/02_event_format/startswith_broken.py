"""Breaks: takes each line that starts with `data: ` for an event. Reads standard input."""

from __future__ import annotations

import sys


def main() -> None:
    for line in sys.stdin:
        if line.startswith("data: "):
            print("event with data", repr(line.removeprefix("data: ").rstrip("\n")))


if __name__ == "__main__":
    main()
