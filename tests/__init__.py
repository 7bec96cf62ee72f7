"""The tests. What is set here holds before any of them is imported."""

import os
from pathlib import Path

# Every HTTP client reads all certificates of the system when it is made, 0.05 s of processor,
# and the tests make some thousand. They speak with this machine alone, without encryption: a
# folder with no certificates does.
os.environ["SSL_CERT_FILE"] = ""
os.environ["SSL_CERT_DIR"] = str(Path(__file__).resolve().parent)
