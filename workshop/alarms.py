"""Call a function later, unless it is no longer wanted: one thread for all of them.

`threading.Timer` starts a thread for each. That takes longer than most answers that the checks
wait for.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Alarm:
    """A function that is called once, unless `cancel` comes first."""

    def __init__(self, what: Callable[[], None]) -> None:
        self.what: Callable[[], None] | None = what

    def cancel(self) -> None:
        self.what = None


class _Alarms:
    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Alarm]] = []  # a heap: the first comes first
        self._numbers = itertools.count()  # of two at the same time, the older one is less
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, what: Callable[[], None]) -> Alarm:
        alarm = Alarm(what)
        entry = (time.monotonic() + seconds, next(self._numbers), alarm)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            heapq.heappush(self._waiting, entry)
            if self._waiting[0] is entry:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        while True:
            with self._changed:
                alarm = self._next()
            if (what := alarm.what) is not None:
                what()

    def _next(self) -> Alarm:
        """Wait for the next one whose time has come, or that was cancelled meanwhile."""
        while True:
            left = None
            if self._waiting:
                at, _, alarm = self._waiting[0]
                left = at - time.monotonic()
                if left <= 0 or alarm.what is None:
                    heapq.heappop(self._waiting)
                    return alarm
            self._changed.wait(left)


_alarms = _Alarms()


def after(seconds: float, what: Callable[[], None]) -> Alarm:
    """Have `what` called in so many seconds. It must not take long, nor raise."""
    return _alarms.add(seconds, what)
