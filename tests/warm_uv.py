"""`uv` in a lesson's terminal: `uv run FILE` starts warm, all else is uv's.

Made executable by tests/warm_terminals.py. It runs without the `site` module: it is started
some hundred times.
"""

import json
import os
import signal
import socket
import sys

words = sys.argv[1:]
# The folder that this `uv` is in comes first.
os.environ["PATH"] = os.environ["PATH"].partition(os.pathsep)[2]
if len(words) < 2 or words[0] != "run" or not os.path.isfile(words[1]):  # noqa: PTH113
    os.execvp("uv", ["uv", *words])

# As uv does it: Ctrl-C is for the program, which is in the same process group.
signal.signal(signal.SIGINT, signal.SIG_IGN)
request = {
    "arguments": words[1:],
    "env": dict(os.environ),
    "cwd": os.getcwd(),  # noqa: PTH109
    "sigint_ignored": False,
    "new_session": False,
    "group": os.getpgrp(),
}
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as leader:
    leader.connect(os.environ["WARM_TERMINAL"])
    socket.send_fds(leader, [json.dumps(request).encode()], [0, 1, 2])
    status = int(leader.recv(10))
sys.exit(status if status >= 0 else 128 - status)
