"""Runs a learner's client in a separate process, on all servers of the checks at the same time.

Started with the path of the file and a plan, as JSON:

    {"clients": [{"on": "down", "url": …, "settings": {…}, "turns": [["add"], ["pay", …]]}],
     "pace": {"settings": {…}, "of": 60, "waits": 8, "asked": 4000}}

Each turn's calls are made together, and wait until standard input says that it may begin:
`down`, once for each turn. Standard output has one JSON object a line:

    {"on": "down", "asked": 0}                       the calls of turn 0 are made
    {"on": "down", "call": "add", "result": "…"}     the text of a call's result
    {"on": "down", "call": "add", "raised": "Lost", "text": "…"}
    {"on": "down", "says": "…"}                      what the client reports
    {"on": "down", "crashed": "…"}                   an error out of `run`, and its line
    {"task": "…"}                                    an error out of a task of the client's own
    {"pace": {…}} or {"pace": {"error": "…"}}        see `waits_of`
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp

from workshop.learners_file import load

Json = dict[str, Any]

NEEDED = (
    *("Settings", "Client", "Client.run", "Client.call"),
    *("Pace", "Pace.next_wait", "Pace.session_began", "Pace.server_asked"),
)


class Driver:
    """The learner's clients, and the reports about them."""

    def __init__(self, module: ModuleType, plan: Json) -> None:
        self.module = module
        self.plan = plan
        # What the learner's code prints must not get into the answers.
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._gates = {each["on"]: asyncio.Semaphore(0) for each in plan["clients"]}

    def tell(self, **what: Any) -> None:
        print(json.dumps(what, default=repr), file=self._answers, flush=True)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()

        def read_gates() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(self._gates[line.strip()].release)

        threading.Thread(target=read_gates, daemon=True).start()
        loop.set_task_factory(self.watched)
        self.tell(pace=self.waits_of(**self.plan["pace"]))
        # With aiohttp's limit of 100 connections one scenario could keep another waiting.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await asyncio.gather(*(self.drive(http, **each) for each in self.plan["clients"]))

    async def drive(
        self,
        http: aiohttp.ClientSession,
        on: str,
        url: str,
        settings: Json,
        turns: list[list[str]],
    ) -> None:
        client = self.module.Client(
            http,
            url,
            self.module.Settings(**settings),
            lambda text: self.tell(on=on, says=str(text)),
        )
        keeping = asyncio.create_task(self.keep(on, client))
        for number, tools in enumerate(turns):
            await self._gates[on].acquire()
            calls = [asyncio.create_task(self.call(on, client, tool)) for tool in tools]
            # They begin in the order in which they were made, and before this goes on.
            await asyncio.sleep(0)
            self.tell(on=on, asked=number)
            await asyncio.wait(calls)
        await keeping

    def watched(
        self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any
    ) -> asyncio.Task[Any]:
        """A task that tells of its error: a handshake that crashed would just never end."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **more)
        task.add_done_callback(self.tell_of)
        return task

    def tell_of(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and (line := self.line_of(error)):
            self.tell(task=f"{error!r}, in line {line}")

    async def keep(self, on: str, client: Any) -> None:
        try:
            await client.run()
        except Exception as error:
            self.tell(on=on, crashed=f"{error!r}, in line {self.line_of(error)}")

    async def call(self, on: str, client: Any, tool: str) -> None:
        try:
            result = await client.call(tool, {})
            if not isinstance(result, dict) or "content" not in result:
                raise TypeError(f"`call` returned {result!r:.60}")
            self.tell(on=on, call=tool, result=result["content"][0]["text"])
        except BaseException as error:
            text = f"{error} (line {self.line_of(error)})"
            self.tell(on=on, call=tool, raised=type(error).__name__, text=text)

    def line_of(self, error: BaseException) -> int:
        """The last line of the learner's file that the error came through."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == self.module.__file__]
        return (lines or [0])[-1] or 0

    def waits_of(self, settings: Json, of: int, waits: int, asked: int) -> Json:
        """What `of` Paces return: `waits` waits in a row, and the next after a session began.

        And what one more returns when the server asked for a time, and then for none.
        """
        try:
            began = time.monotonic()
            self.module.Pace(self.module.Settings(**settings)).next_wait()
            if time.monotonic() - began > 0.5:
                return {"slept": time.monotonic() - began}
            paces = [self.module.Pace(self.module.Settings(**settings)) for _ in range(of)]
            in_a_row = [[pace.next_wait() for _ in range(waits)] for pace in paces]
            for pace in paces:
                pace.session_began()
            after = [pace.next_wait() for pace in paces]
            told = self.module.Pace(self.module.Settings(**settings))
            told.server_asked(asked)
            first = told.next_wait()
            told.server_asked(None)
            kept = told.next_wait()
        except Exception:
            return {"error": traceback.format_exc(limit=-2)}
        return {"in_a_row": in_a_row, "after_a_session": after, "asked": first, "kept": kept}


def main() -> None:
    module = load(Path(sys.argv[1]), *NEEDED)
    asyncio.run(Driver(module, json.loads(sys.argv[2])).run())


if __name__ == "__main__":
    main()
