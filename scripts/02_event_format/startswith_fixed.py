"""Fixed: collects the fields, and makes an event of them at the blank line.

printf 'data: hello\\n\\n' | uv run scripts/02_event_format/startswith_fixed.py
"""

from __future__ import annotations

import signal
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
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it, without a traceback
    main()
