"""The same print as in stray_print_broken.py, and no harm: stdout is kept for the protocol.

    uv run scripts/04_stdio_server/stdio_client.py \
        scripts/04_stdio_server/stray_print_fixed.py
"""

import json
import sys
from typing import TextIO

from json_rpc import read_message
from stdio_server import Session, answer


def serve(outgoing: TextIO) -> None:
    session = Session()
    for line in sys.stdin.buffer:
        if b"tools/call" in line:
            # Meant for the programmer, and now that is who gets it: on stderr.
            print("running a tool", end=" ... ")
        reply = answer(read_message(line), session)
        if reply is not None:
            print(json.dumps(reply), file=outgoing, flush=True)


if __name__ == "__main__":
    wire = sys.stdout
    # `print` looks sys.stdout up anew at each call: ours does, and one in a library too.
    sys.stdout = sys.stderr
    serve(wire)
