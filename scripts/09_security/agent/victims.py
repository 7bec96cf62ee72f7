"""The two agents as an attack sees them: open, and secure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import open_agent
import secure_agent
from pins import Pins
from shown import Tell

Ask = Callable[[str], Awaitable[str]]


class Connect(Protocol):
    def __call__(
        self, urls: Mapping[str, str], pins: Path, tell: Tell
    ) -> AbstractAsyncContextManager[Ask]: ...


@dataclass(frozen=True)
class Victim:
    """An agent. `notes_only`: its files server has less power."""

    notes_only: bool
    connected: Connect


@asynccontextmanager
async def connected_open(urls: Mapping[str, str], pins: Path, tell: Tell) -> AsyncIterator[Ask]:
    async with open_agent.connected([*urls.values()], tell) as agent:
        yield agent.ask


class Somebody:
    """A typical person: approves new tools without reading, but looks at later questions."""

    def approve_tool(self, name: str, before: str, now: str) -> bool:
        return before == ""

    def approve_call(self, request: str, name: str, arguments: str) -> bool:
        # Says no to a call that has anything in it that is not in the request.
        return all(str(value) in request for value in json.loads(arguments).values())


class Tired(Somebody):
    """Says yes to every call."""

    def approve_call(self, request: str, name: str, arguments: str) -> bool:
        return True


def secure(*without: str, person: secure_agent.Person | None = None) -> Victim:
    """The secure agent, without some of its cures. `less-power` counts as one of them."""

    @asynccontextmanager
    async def connected(urls: Mapping[str, str], pins: Path, tell: Tell) -> AsyncIterator[Ask]:
        async with secure_agent.connected(
            urls, Pins(pins), person or Somebody(), tell, without=without
        ) as agent:
            yield agent.ask

    return Victim(notes_only="less-power" not in without, connected=connected)


OPEN = Victim(notes_only=False, connected=connected_open)
SECURE = secure()
