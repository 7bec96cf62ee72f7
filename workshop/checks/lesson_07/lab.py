"""All the servers and the learner's clients, and what the checks ask of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from workshop.background_reader import BackgroundReader
from workshop.checks.lesson_07.bad_servers import ASTRAY, SITES, Wrong
from workshop.checks.lesson_07.server import Json, name_of
from workshop.checks.lesson_07.settings import PACE, PATIENCE, SETTINGS
from workshop.checks.loop_thread import LoopThread
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError, environment


class Lab:
    """All the servers, in their own thread, and the learner's clients in a process."""

    def __init__(self) -> None:
        self.sites = {name: site(name, self) for name, site in SITES.items()}
        self.sites |= {name: Wrong(name, self) for name in ASTRAY}
        self.said: dict[str, list[Json]] = {name: [] for name in self.sites}
        self.pace: Json = {}
        self.came_back: dict[str, int] = {}
        """How often the client had said that it waits when it was back at a server."""
        self.crashed_tasks: list[str] = []
        self.other_output: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        # The learner's clients may reach the servers before we know of their process: the pipe
        # to it is there first.
        self._stdin, gates = os.pipe()
        self._gates = os.fdopen(gates, "w", encoding="utf-8", buffering=1)
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers = LoopThread()
        self._news = asyncio.Event()
        self._servers.run(self._start())

    async def _start(self) -> None:
        for site in self.sites.values():
            await site.start()

    def drive(self, program: Path) -> None:
        """Start the learner's file. Raises ProgramError when it can't be loaded."""
        plan = {
            "clients": [
                {
                    "on": name,
                    "url": self.sites[name].url,
                    "settings": SETTINGS | site.settings,
                    "turns": site.turns,
                }
                for name, site in SITES.items()
            ],
            "pace": PACE,
        }
        driver = Path(__file__).with_name("driver.py")
        self.process = subprocess.Popen(
            [sys.executable, str(driver), str(program), json.dumps(plan)],
            stdin=self._stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        assert self.process.stdout is not None
        self._reader = BackgroundReader(self.process.stdout, self._keep, self._changed)
        if not self.wait(lambda: bool(self.pace), seconds=stretched(10)):
            printed = "".join(self.other_output[-20:])
            raise ProgramError(f"The file can't be loaded. It printed:\n{printed}")

    def _keep(self, line: bytes) -> None:
        try:
            value = json.loads(line)
            if "pace" in value:
                self.pace = value["pace"]
            elif "task" in value:
                self.crashed_tasks.append(value["task"])
            else:
                self._hear(value)
        except (ValueError, KeyError, TypeError):
            self.other_output.append(line.decode("utf-8", "replace"))
        self.something_happened()

    def _hear(self, line: Json) -> None:
        self.said[line["on"]].append(line)
        log = self.sites[line["on"]].log
        if "result" in line:
            log.append(f"** {line['call']} returns: it ran in session {line['result']}")
        elif "raised" in line:
            log.append(f"** {line['call']} raises {line['raised']}: {line['text']}")
        elif "says" in line:
            log.append(f"** says: {line['says']}")
        elif "crashed" in line:
            log.append(f"** run() crashed: {line['crashed']}")

    def something_happened(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._servers.loop.call_soon_threadsafe(self._news.set)

    def keep(self, work: Any) -> None:
        """Run it alongside the rest."""
        task: asyncio.Task[None] = self._servers.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def go(self, name: str) -> None:
        """Let the client make the calls of its next turn."""
        self._gates.write(f"{name}\n")

    async def said_soon(self, name: str, fits: Callable[[Json], bool]) -> None:
        """Wait until the client of this server says something like this, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(stretched(1.0)):
                while not any(fits(line) for line in list(self.said[name])):
                    self._news.clear()
                    await self._news.wait()

    def wait(self, ready: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        """Wait until `ready()`; False when time is up or the program has ended."""
        return self._reader.wait(ready, seconds)

    # --- What the checks ask ---

    def outcome(self, name: str, tool: str, *, number: int = 0) -> Json | None:
        """How a call ended, the one of this number among those of the tool; or None."""
        lines = [line for line in list(self.said[name]) if line.get("call") == tool]
        return lines[number] if len(lines) > number else None

    def crashed(self, name: str) -> bool:
        """Whether an exception came out of `run`."""
        return any("crashed" in line for line in self.said[name])

    def waits_said(self, name: str) -> int:
        """How often the client said that it waits before reconnecting."""
        return sum(str(line.get("says", "")).startswith("waits") for line in self.said[name])

    def calls(self, name: str, tool: str) -> list[str]:
        """The sessions in which the tool was called, in order, whether taken or not."""
        return [
            session
            for session, message in list(self.sites[name].posts)
            if name_of(message) == f"tools/call {tool}"
        ]

    def fail(self, hint: str, name: str, wanted: str, *, at: str = "") -> Failed:
        """A failure that shows the wire, with the caret under the last `at` in it."""
        lines = list(self.sites[name].log)[-12:]
        lines += [f"** a task raised {error}" for error in self.crashed_tasks[:1]]
        if self._reader.ended:
            lines += [line.rstrip() for line in self.other_output[-1:]]
        received = "\n".join(lines)
        place = received.rfind(at) if at else -1
        return Failed(
            hint,
            received=received,
            at=len(received[:place].encode()) if place >= 0 else None,
            wanted=wanted,
            label="The wire",
        )

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._reader.join(2)
            if self.process.stdout is not None:
                self.process.stdout.close()
        self._servers.close()
        self._gates.close()
        os.close(self._stdin)


def paces(lab: Lab, key: str) -> Any:
    """What the learner's Paces returned. Raises Failed("crashed")."""
    if "error" in lab.pace:
        raise Failed("crashed", received=lab.pace["error"], label="Raised")
    return lab.pace[key]
