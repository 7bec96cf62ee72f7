"""The cure: collect the fields, and make an event of them at the blank line."""

from __future__ import annotations

import sys


def main() -> None:
    data: list[str] = []
    type = ""
    for line in sys.stdin:
        name, _, value = line.rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        if line == "\n":
            if data:
                print(f"{type or 'message'} with data", repr("\n".join(data)))
            data, type = [], ""
        elif name == "data":
            data.append(value)
        elif name == "event":
            type = value


if __name__ == "__main__":
    main()
