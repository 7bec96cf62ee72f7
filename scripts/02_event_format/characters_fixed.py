"""Fixed: one decoder for the whole stream, which keeps the first half of a character.

printf 'data: caf\\303\\251\\n\\n' | uv run scripts/02_event_format/characters_fixed.py
"""

from __future__ import annotations

import codecs
import signal
import sys
from io import BufferedReader
from typing import cast


def main() -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        print(f"{chunk!r} is {decoder.decode(chunk)!r}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
