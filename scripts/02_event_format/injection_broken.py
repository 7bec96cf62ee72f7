"""Broken: puts a user's text into the stream unchanged. Writes one event to standard output.

uv run scripts/02_event_format/injection_broken.py Ada
"""

from __future__ import annotations

import sys


def greeting(name: str) -> bytes:
    return f"event: joined\ndata: {name} is here\n\n".encode()


def main() -> None:
    sys.stdout.buffer.write(greeting(sys.argv[1]))


if __name__ == "__main__":
    main()
