"""`uvicorn --reload`, with its second process forked: it has the first one's libraries.

uvicorn starts a new interpreter for it, and multiprocessing one more that keeps account.
Its arguments are those of `uvicorn`.
"""

import multiprocessing
import os
import signal
import sys
from unittest import mock

from uvicorn import main


def as_in_a_new_interpreter() -> None:
    """Forget the first process's handlers."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=as_in_a_new_interpreter)
    with mock.patch("uvicorn._subprocess.spawn", multiprocessing.get_context("fork")):
        main([*sys.argv[1:], "--reload"])
