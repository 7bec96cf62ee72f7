"""What a driver's process says: a line of JSON for each answer."""

from __future__ import annotations

import json
import os
import select
import time
from typing import IO, Any


class DriverAnswers:
    """The answers that come through a driver's standard output, one after the other."""

    def __init__(self, output: IO[bytes] | None) -> None:
        assert output is not None
        self._pipe = output.fileno()
        self._came = b""  # and was not asked for yet

    def next(self, seconds: float) -> Any:
        """Wait for one. Raises TimeoutError, or EOFError if the process has died."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._came:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._pipe], [], [], left)[0]:
                raise TimeoutError
            piece = os.read(self._pipe, 65_536)
            if not piece:
                raise EOFError
            self._came += piece
        answer, _, self._came = self._came.partition(b"\n")
        return json.loads(answer)
