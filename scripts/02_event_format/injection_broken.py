"""Breaks: puts a user's text into the stream as it is. Writes one event to standard output."""

from __future__ import annotations

import sys


def greeting(name: str) -> bytes:
    return f"event: joined\ndata: {name} is here\n\n".encode()


def main() -> None:
    sys.stdout.buffer.write(greeting(sys.argv[1]))


if __name__ == "__main__":
    main()
