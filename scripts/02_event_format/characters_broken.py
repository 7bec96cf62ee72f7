"""Breaks: decodes each chunk by itself. A character that is cut in two is lost."""

from __future__ import annotations

import sys
from io import BufferedReader
from typing import cast


def main() -> None:
    while chunk := cast(BufferedReader, sys.stdin.buffer).read1(65_536):
        print(f"{chunk!r} is {chunk.decode('utf-8', 'replace')!r}")


if __name__ == "__main__":
    main()
