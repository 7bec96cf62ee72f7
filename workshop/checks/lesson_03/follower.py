"""The program under check: what it printed, and what several checks ask of it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workshop.background_reader import BackgroundReader
from workshop.checks.lesson_03.lab import Lab
from workshop.checks.lesson_03.settings import (
    FIRST_BACKOFF,
    HEARTBEAT,
    LONGEST_BACKOFF,
    PATIENCE,
    RETRY,
)
from workshop.checks.lesson_03.streams import Json
from workshop.complaints import Complaint, complaints_in
from workshop.exercise_parts import TODO_COMMENT
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError, abort, environment

# What `read` raises when its TODOs are not done yet; all else is a mistake in the code.
EXPECTED = re.compile(r"(Client|Server|Socket|Connection|Timeout|OS|JSONDecode)\w*\(")


class Follower:
    """The program under check, and what it has printed of each stream."""

    def __init__(self, path: Path, lab: Lab) -> None:
        self.lab = lab
        self.path = path
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(path), "--heartbeat", str(HEARTBEAT)),
                *("--retry", str(RETRY), "--first-backoff", str(FIRST_BACKOFF)),
                *("--longest-backoff", str(LONGEST_BACKOFF)),
                *(url for urls in lab.urls.values() for url in urls),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        self._times: list[float] = []
        self._said: dict[str, list[Json]] = {}
        self._other: list[str] = []
        assert self.process.stdout is not None
        self._reader = BackgroundReader(self.process.stdout, self._keep)

    def _keep(self, line: bytes) -> None:
        self._times.append(time.monotonic())
        try:
            value = json.loads(line)
            value["time"] = self._times[-1]
            self._said.setdefault(value["url"], []).append(value)
        except (ValueError, KeyError, TypeError):
            self._other.append(line.decode("utf-8", "replace"))

    def wait_until_following(self) -> None:
        """Wait for the line that says so. Raises ProgramError."""

        def follows() -> bool:
            return any(line.startswith('{"following"') for line in self._other)

        if not self._reader.wait(follows, stretched(10)):
            self._reader.wait(lambda: self._reader.ended, 1)
            raise ProgramError("It did not begin to follow. It printed:\n" + self.rest)

    @property
    def rest(self) -> str:
        """What it printed that is not about a stream: tracebacks, prints of the learner."""
        return "".join(self._other)

    def complaints(self) -> list[Complaint]:
        """What Python has said of the file so far."""
        with self._reader.changed:
            return complaints_in(self.rest, self.path)

    def silent_for(self) -> float:
        """Seconds since its last line."""
        with self._reader.changed:
            return time.monotonic() - self._times[-1]

    def abort(self) -> None:
        """End it; it prints the line that it was running."""
        abort(self.process)
        self._reader.join(1)

    def spoke_between(self, begin: float, end: float) -> bool:
        """Whether it printed a line in this time."""
        with self._reader.changed:
            return any(begin < each < end for each in self._times)

    def mistake(self, name: str) -> str:
        """How this stream crashed, where that was for a mistake in the code."""
        crashes = [str(each) for each in self.said(name, "crashed")]
        return next((each for each in crashes if not EXPECTED.match(each)), "")

    def todo_at(self, crash: str) -> str:
        """The TODO above the line that a crash names, in the same definition, as text."""
        found = re.search(r" in line (\d+):", crash)
        lines = self.path.read_text(encoding="utf-8").splitlines()
        above = lines[: int(found[1])] if found else []
        todo = ""
        for line in above:
            if re.match(r"(async def|def|class) ", line):
                todo = ""
            elif named := TODO_COMMENT.match(line):
                todo = f", at TODO {named[1]}"
        return todo

    def returns(self, name: str) -> bool:
        """Whether there is a `return` in the function of this name, or no such function."""
        tree = ast.parse(self.path.read_text(encoding="utf-8-sig"))
        found = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        return not found or any(isinstance(node, ast.Return) for node in ast.walk(found[0]))

    def lines(self, name: str, number: int = 0) -> list[Json]:
        """What was said about a stream, in order, each with its `time`."""
        with self._reader.changed:
            return list(self._said.get(self.lab.urls[name][number], []))

    def said(self, name: str, key: str, number: int = 0) -> list[Any]:
        """The values of `key` in what was said about a stream, in order."""
        return [line[key] for line in self.lines(name, number) if key in line]

    def wait(self, ready: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        """Wait until `ready()`; False when time is up or the program has ended."""
        # Some of what is waited for is seen by the proxy and printed by nobody.
        return self._reader.wait(ready, seconds, every=0.02)

    def numbers(self, name: str) -> list[int]:
        """The numbers of the events handled so far."""
        return [data["n"] for data in self.said(name, "data")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(2)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def seen(self, name: str) -> tuple[str, str]:
        """What went back and forth on a stream, as text: the requests, what was printed."""
        sent = "".join(
            f"GET /events/{name}  Last-Event-ID: {id or '(none)'}\n"
            for _, id in self.lab.requests(name)[:8]
        )
        with self._reader.changed:
            said = self._said.get(self.lab.urls[name][0], [])
        hidden = ("url", "time")
        lines = [{key: line[key] for key in line if key not in hidden} for line in said]
        received = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines[-6:])
        return sent, received or self.rest[-600:]

    def fail(self, hint: str, name: str, wanted: str) -> Failed:
        """A failure that shows what was seen on a stream."""
        sent, received = self.seen(name)
        if self.mistake(name):
            hint = "crashed"
        return Failed(hint, sent=sent, received=received, wanted=wanted, label="Printed")


def all_arrive(
    follower: Follower, name: str, last: int, hint: str, *, seconds: float = PATIENCE
) -> None:
    """Wait for the events 1 to `last` of a stream; each must come once and in order."""
    follower.wait(lambda: follower.numbers(name)[-1:] == [last], seconds=seconds)
    numbers = follower.numbers(name)
    if len(numbers) != len(set(numbers)):
        raise follower.fail(hint, name, f"each of the events 1 to {last} once")
    if numbers != list(range(1, last + 1)):
        raise follower.fail(hint, name, f"the events 1 to {last}, in order")


def stops(follower: Follower, name: str, hint: str) -> None:
    """The program says that the stream is over, and does not come back."""
    follower.wait(lambda: any(follower.said(name, key) for key in ("over", "waits", "crashed")))
    if not follower.said(name, "over") or len(follower.lab.requests(name)) > 1:
        raise follower.fail(hint, name, 'one request, and then {"over": …}')
