"""A real terminal: bash in a pty of 80 columns, read all the time."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from ptyprocess import PtyProcess

from workshop.background_reader import BackgroundReader

# Colours and cursor movements (ECMA-48, control sequences).
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

# A pty must not be inherited by the bash of another terminal that is being started.
_ONE_AT_A_TIME = threading.Lock()


class Terminal:
    """One terminal of a lesson. Its prompt is a word that nothing else prints."""

    def __init__(self, cwd: Path, env: Mapping[str, str]) -> None:
        self._prompt = f"<{secrets.token_hex(16)}>".encode()
        with _ONE_AT_A_TIME:
            self._process = PtyProcess.spawn(
                ["bash", "--norc", "--noprofile", "--noediting", "-i"],
                cwd=str(cwd),
                env={**env, "PS1": self._prompt.decode(), "PS2": "", "TERM": "dumb"},
                echo=False,
                dimensions=(24, 80),
            )
        self._waiting = bytearray()
        """What came and was not yet taken."""
        self._last_came = time.monotonic()
        # Read all the time: a full pty would stop a server in its next log line.
        self._reader = BackgroundReader(self._read(), self._keep)
        self.running = True
        """Whether a command has the terminal: the prompt has not been taken yet."""
        if not self.wait(lambda: self.at_prompt, time.monotonic() + 20):
            raise RuntimeError(f"bash gave no prompt: {bytes(self._waiting)!r}")
        self.take_all()

    def _read(self) -> Iterator[bytes]:
        # A pty whose other side is gone ends with an error, not with no bytes.
        with contextlib.suppress(EOFError, OSError):
            while True:
                yield self._process.read(65_536)

    def _keep(self, piece: bytes) -> None:
        self._waiting += piece
        self._last_came = time.monotonic()

    def run(self, command: str) -> None:
        """Type a command. The terminal must be at its prompt."""
        assert not self.running
        self.running = True
        self._process.write(command.encode() + b"\n")

    def interrupt(self) -> None:
        """Press Ctrl-C. What came before and was not taken is dropped."""
        with self._reader.changed:
            if not self.at_prompt:
                self._waiting.clear()
        self._process.write(b"\x03")

    @property
    def at_prompt(self) -> bool:
        """Whether the running command has ended."""
        return self._prompt in self._waiting

    @property
    def quiet(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self._last_came

    def wait(self, for_what: Callable[[], bool], deadline: float) -> bool:
        """Wait until `for_what()`, asked at each piece that comes, is true.

        False when `deadline` (of time.monotonic) or the terminal's end came first.
        """
        # At times nothing comes, and that is what is waited for.
        return self._reader.wait(for_what, deadline - time.monotonic(), every=0.1)

    def lines(self) -> list[str]:
        """The whole lines that came and were not yet taken, as a reader sees them.

        Once the command has ended, what follows its last newline is a line too.
        """
        with self._reader.changed:
            data, prompt, _ = bytes(self._waiting).partition(self._prompt)
        whole = data.decode("utf-8", "replace").split("\n")
        last = whole.pop()
        if prompt and last:
            whole.append(last)
        return [_as_seen(line) for line in whole]

    def unfinished_line(self) -> str:
        """What came after the last newline."""
        return _as_seen(bytes(self._waiting).rpartition(b"\n")[2].decode("utf-8", "replace"))

    def take(self, count: int) -> None:
        """Take that many lines away; with the last, the prompt if it is back."""
        with self._reader.changed:
            for _ in range(count):
                end = self._waiting.find(b"\n")
                # The last line before a prompt may have no newline.
                if end < 0:
                    break
                del self._waiting[: end + 1]
            if self._waiting.startswith(self._prompt):
                self.take_all()

    def take_all(self) -> None:
        """Take all that came; the terminal is free if its prompt was there."""
        with self._reader.changed:
            self.running = self.running and not self.at_prompt
            self._waiting.clear()

    def processes(self) -> list[psutil.Process]:
        """Every process that was started in this terminal and still runs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getsid(process.pid) == self._process.pid:
                    found.append(process)
        return found

    def rests(self) -> bool:
        """Whether each process of this terminal waits for something."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_SLEEPING:
                    return False
        return True

    def listens(self, port: int) -> bool:
        """Whether a process of this terminal listens on the port."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port:
                        return True
        return False

    def close(self) -> None:
        """Press Ctrl-C if something runs, then end whatever is left."""
        if self.running:
            self.interrupt()
            self.wait(lambda: self.at_prompt, time.monotonic() + 5)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self._reader.join(5)
        self._process.close(force=True)


def _as_seen(line: str) -> str:
    """One line without colours, without what a carriage return overwrote, without its end."""
    return _CONTROL.sub("", line).rstrip().rpartition("\r")[2]
