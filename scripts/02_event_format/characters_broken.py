"""Broken: decodes each chunk by itself, so a character cut in two is lost.

printf 'data: caf\\303\\251\\n\\n' | uv run scripts/02_event_format/characters_broken.py
"""

from __future__ import annotations

import signal
import sys
from io import BufferedReader
from typing import cast


def main() -> None:
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        print(f"{chunk!r} is {chunk.decode('utf-8', 'replace')!r}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
