"""Broken: one `print` for debugging destroys the answer that follows it.

    uv run scripts/04_stdio_server/stdio_client.py --timeout 1 \
        scripts/04_stdio_server/stray_print_broken.py

`stray_print_fixed.py` has the same print, which does no harm there.
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
            # Meant for the programmer. It reaches the client, glued to the answer.
            print("running a tool", end=" ... ")
        reply = answer(read_message(line), session)
        if reply is not None:
            print(json.dumps(reply), file=outgoing, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    serve(sys.stdout)
