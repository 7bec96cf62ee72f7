"""Still broken: splits the text at LF, and forgets that CR also ends a line.

uv run scripts/02_event_format/injection_lf_only.py Ada
"""

from __future__ import annotations

import sys


def greeting(name: str) -> bytes:
    lines = [f"data: {line}" for line in f"{name} is here".split("\n")]
    return "\n".join(["event: joined", *lines, "", ""]).encode()


def main() -> None:
    sys.stdout.buffer.write(greeting(sys.argv[1]))


if __name__ == "__main__":
    main()
