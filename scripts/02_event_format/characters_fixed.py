"""The cure: one decoder for the whole stream, which keeps what a chunk leaves unfinished."""

from __future__ import annotations

import codecs
import sys
from io import BufferedReader
from typing import cast


def main() -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        print(f"{chunk!r} is {decoder.decode(chunk)!r}")


if __name__ == "__main__":
    main()
