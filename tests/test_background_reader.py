"""A thread that reads, and others that wait for what it has read."""

from __future__ import annotations

import queue
import time

from workshop.background_reader import BackgroundReader


def test_a_piece_and_the_end_wake_whoever_waits() -> None:
    coming: queue.SimpleQueue[str] = queue.SimpleQueue()
    kept: list[str] = []
    reader = BackgroundReader(iter(coming.get, "end"), kept.append)
    began = time.monotonic()

    def ready(sent: str) -> bool:
        coming.put(sent)  # it can't be kept before `wait` waits
        return len(kept) == 2

    assert reader.wait(lambda: ready("piece"), 60)
    assert not reader.ended
    kept.clear()
    assert not reader.wait(lambda: ready("end"), 60)
    assert reader.ended
    assert time.monotonic() - began < 30
