"""What is to be called later is called in order, and not when it was cancelled."""

from __future__ import annotations

import threading
import time

from workshop.alarms import after


def test_alarms_go_off_in_order_and_not_before_their_time() -> None:
    began = time.monotonic()
    called: list[tuple[str, float]] = []
    done = threading.Event()

    def call(name: str) -> None:
        called.append((name, time.monotonic() - began))

    after(0.3, done.set)
    after(0.2, lambda: call("second"))
    cancelled = after(0.15, lambda: call("cancelled"))
    after(0.1, lambda: call("first"))
    cancelled.cancel()
    assert done.wait(20)
    assert [name for name, _ in called] == ["first", "second"]
    assert called[0][1] >= 0.1 and called[1][1] >= 0.2


def test_one_thread_serves_them_all() -> None:
    after(0, lambda: None)
    before = threading.active_count()
    alarms = [after(60, lambda: None) for _ in range(100)]
    assert threading.active_count() == before
    for alarm in alarms:
        alarm.cancel()
