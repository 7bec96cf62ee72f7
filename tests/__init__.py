"""The tests. What is set here holds before any of them is imported."""

import os
import signal
from pathlib import Path

# What is started in the background may be told to ignore Ctrl-C, and tells its children. The
# programs under test have to hear it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every HTTP client reads all certificates of the system when it is made, 0.05 s of processor,
# and the tests make some thousand. They speak with this machine alone, without encryption: a
# folder with no certificates does.
os.environ["SSL_CERT_FILE"] = ""
os.environ["SSL_CERT_DIR"] = str(Path(__file__).resolve().parent)
