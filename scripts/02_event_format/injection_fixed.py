"""Fixed: the encoder splits the text at every line end, with a `data` field for each part.

uv run scripts/02_event_format/injection_fixed.py Ada
"""

from __future__ import annotations

import sys

from event_stream import encode_event


def greeting(name: str) -> bytes:
    return encode_event(f"{name} is here", event="joined")


def main() -> None:
    sys.stdout.buffer.write(greeting(sys.argv[1]))


if __name__ == "__main__":
    main()
