"""Single key presses, in a terminal that is as before when nobody waits for one."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Keys:
    """The keys that are pressed, one at a time. See `keys`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[str] = []

    def next(self, seconds: float | None = None) -> str | None:
        """The next key: a character, or "" for one that has none, such as an arrow.

        None when no key was pressed in so many seconds. Raises EOFError when the
        terminal is gone, and KeyboardInterrupt at Ctrl-C.
        """
        if not self._waiting:
            if not select.select([self._descriptor], [], [], seconds)[0]:
                return None
            try:
                came = os.read(self._descriptor, 1024).decode("utf-8", "replace")
            except OSError:
                came = ""
            if not came or came == "\x04":  # Ctrl-D
                raise EOFError
            # A key without a character comes as several, the first of which is Esc.
            self._waiting = [""] if came.startswith("\x1b") else list(came)
        return self._waiting.pop(0)


@contextmanager
def keys() -> Iterator[Keys]:
    """Read keys from stdin without waiting for the end of a line, and without an echo.

    Afterwards the terminal is as it was, also when SIGTERM or SIGHUP ends the program.
    """
    import termios  # not on Windows, where this is never called
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    watched = (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
    handlers = {each: signal.getsignal(each) for each in watched}

    def listen(*_: object) -> None:
        # A terminal that goes away sends SIGCONT, too: then it is gone already.
        with suppress(termios.error):
            tty.setcbreak(descriptor, termios.TCSADRAIN)

    try:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, _leave)
        # After Ctrl-Z and `fg` the shell has set the terminal as it likes it.
        signal.signal(signal.SIGCONT, listen)
        listen()
        yield Keys(descriptor)
    finally:
        with suppress(termios.error):  # the terminal itself is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for each, handler in handlers.items():
            signal.signal(each, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    # As an exception, so that every `finally` on the way runs.
    raise SystemExit(128 + number)
