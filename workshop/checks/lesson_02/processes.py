"""The learner's parser, in as many processes as it needs."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from workshop.checks.driver_answers import DriverAnswers
from workshop.complaints import Complaint, line_it_ran, todo_of
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError, abort, environment

DRIVER = Path(__file__).with_name("driver.py")


class Driver:
    """One process with the learner's file in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A file: a full pipe would stop the process in its next print.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`stop` closes it)
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
        )
        self._answers = DriverAnswers(self._process.stdout)
        try:
            self._answers.next(stretched(4.0))
        except (TimeoutError, EOFError) as error:
            printed = self.printed
            if isinstance(error, TimeoutError):
                abort(self._process)
                # In this order: which line it was is read from the end.
                printed = f"The import does not end.\n{self.printed}"
            self.stop()
            raise ProgramError(printed) from None

    @property
    def printed(self) -> str:
        """What went to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def hung_in(self) -> Complaint | None:
        """End the process, and say which line of the learner's file it was running."""
        abort(self._process)
        return line_it_ran(self.printed, self._path)

    def ask(self, runs: list[list[bytes]], *, seconds: float) -> list[dict[str, Any]]:
        """Feed a new parser for each run. Raises TimeoutError, and EOFError at its death."""
        return self._ask([[chunk.hex() for chunk in chunks] for chunks in runs], seconds)

    def failing_step(self, *, seconds: float) -> dict[str, Any]:
        """What the driver says of the first step of `feed` that fails alone; maybe nothing."""
        return self._ask(["steps"], seconds)[0]

    def _ask(self, question: list[Any], seconds: float) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        return self._answers.next(seconds)

    def stop(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        with suppress(BrokenPipeError):  # a question may still be in the buffer, unsent
            self._process.communicate()
        self._errors.close()


class Parser:
    """The learner's parser, in as many processes as are needed: one, unless it hangs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Not SimpleQueue: its `get` forgets the timeout in Python 3.11, if another thread is
        # quicker in just that moment, and waits for ever.
        self._idle: queue.Queue[Driver] = queue.Queue()
        self._idle.put(Driver(path))
        self._starting = threading.Lock()
        self._patience = stretched(1.0)  # seconds for an answer that takes milliseconds

    def ask(self, runs: list[list[bytes]]) -> list[dict[str, Any]]:
        """Feed each run to its own parser. Raises Failed when there is no answer."""
        driver = self._take()
        try:
            answer = driver.ask(runs, seconds=self._patience)
        except (TimeoutError, EOFError) as error:
            self._patience = stretched(0.4)  # it hung once: the others need not take as long
            shown = calls(runs[0]) + (" and others after it" if len(runs) > 1 else "")
            hung = isinstance(error, TimeoutError)
            line = driver.hung_in() if hung else None
            # The end of it: there may be a lot.
            printed = "\n".join(driver.printed.splitlines()[-12:])
            driver.stop()
            if line is None:
                hint = "hangs" if hung else "crashed"
                raise Failed(
                    hint, sent=shown, received=printed, wanted="an answer", label="Printed"
                ) from None
            raise Failed(
                "hangs",
                sent=shown,
                received=f"line {line.line}: {line.code}",
                wanted="an answer",
                label="Stuck in",
                todo=todo_of(line),
            ) from None
        else:
            self._idle.put(driver)
        return answer

    def ask_another(self, runs: list[list[bytes]]) -> list[dict[str, Any]]:
        """Feed the runs in a new process. What goes wrong there is left to other checks."""
        driver = Driver(self._path)
        try:
            return driver.ask(runs, seconds=stretched(0.4))
        except (TimeoutError, EOFError):
            return []
        finally:
            driver.stop()

    def failing_step(self) -> dict[str, Any]:
        """The step of `feed` that does not do its part, if it can be told."""
        driver = Driver(self._path)
        try:
            step = driver.failing_step(seconds=stretched(0.4))
        except (TimeoutError, EOFError):
            return {}
        finally:
            driver.stop()
        if "todo" not in step:  # each of them does its part
            return {}
        if step.get("line"):  # an exception: its line may be in another TODO
            step["todo"] = todo_of(Complaint(self._path, "", step["line"])) or step["todo"]
        return step

    def _take(self) -> Driver:
        while True:
            with suppress(queue.Empty):
                return self._idle.get(timeout=0.1)
            # Another check's question takes long. Start one more process, one at a time:
            # many that start beside one that spins would be slower than waiting.
            if self._starting.acquire(blocking=False):
                try:
                    return Driver(self._path)
                finally:
                    self._starting.release()

    def stop(self) -> None:
        """End all processes."""
        while not self._idle.empty():
            self._idle.get().stop()


def calls(chunks: list[bytes]) -> str:
    """The chunks as a learner would feed them, in one line."""
    shown = [f"feed({chunk!r})" for chunk in chunks]
    return " ".join(shown if len(shown) <= 6 else [*shown[:5], "…", shown[-1]])
