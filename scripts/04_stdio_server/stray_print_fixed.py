"""Fixed: the same print as in `stray_print_broken.py`, but stdout is kept for the protocol.

    uv run scripts/04_stdio_server/stdio_client.py \
        scripts/04_stdio_server/stray_print_fixed.py
"""

import json
import signal
import sys
from typing import TextIO

from json_rpc import read_message
from stdio_server import Session, answer


def serve(outgoing: TextIO) -> None:
    session = Session()
    for line in sys.stdin.buffer:
        if b"tools/call" in line:
            # Meant for the programmer, who now gets it: on stderr.
            print("running a tool", end=" ... ")
        reply = answer(read_message(line), session)
        if reply is not None:
            print(json.dumps(reply), file=outgoing, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    wire = sys.stdout
    # Each call of `print` looks up sys.stdout: our calls, and those in a library.
    sys.stdout = sys.stderr
    serve(wire)
