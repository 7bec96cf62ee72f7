"""The cure: the encoder gives each line of the text a `data` field of its own."""

from __future__ import annotations

import sys

from event_stream import encode_event


def greeting(name: str) -> bytes:
    return encode_event(f"{name} is here", event="joined")


def main() -> None:
    sys.stdout.buffer.write(greeting(sys.argv[1]))


if __name__ == "__main__":
    main()
