"""A conversation with an agent: streamed, remembered, and approved by a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    Runner,
    RunResultStreaming,
    RunState,
    SQLiteSession,
    ToolApprovalItem,
    UserError,
)
from calls import ShowCalls, as_call
from openai.types.responses import ResponseTextDeltaEvent

Write = Callable[[str], None]
Approve = Callable[[str], Awaitable[bool]]


class Conversation:
    """Turns of one agent that share a memory.

    The memory is a table in the SQLite file `memory`. `write` gets the answer piece by piece,
    as it is streamed. `approve` is asked about each call that needs a person, written as
    Python would write it, and returns whether to make it.

    While a call waits for approval, the state of the run is in `waiting`, a file beside the
    memory. If the program ends meanwhile, `resume` goes on from there.
    """

    def __init__(
        self, agent: Agent[Any], memory: Path, hooks: ShowCalls, write: Write, approve: Approve
    ) -> None:
        self.agent = agent
        self.memory = SQLiteSession("chat", memory)
        self.waiting = memory.with_suffix(".waiting.json")
        self.hooks = hooks
        self.write = write
        self.approve = approve

    async def turn(self, request: str) -> None:
        """One request, and the answer. A turn that fails or is cancelled is forgotten."""
        async with self._whole_turn(before=len(await self.memory.get_items())):
            result = Runner.run_streamed(
                self.agent, request, session=self.memory, hooks=self.hooks
            )
            await self._finish(result)

    async def resume(self) -> bool:
        """Go on with a call that has waited for approval. Returns whether there was one."""
        if not self.waiting.is_file():
            return False
        try:
            saved = self.waiting.read_text(encoding="utf-8")
            state = await RunState.from_string(self.agent, saved)
        except (UserError, ValueError):
            self.waiting.unlink()
            self.write(f"{self.waiting} cannot be read. It is deleted.\n")
            return False
        # The turn began in a program that is gone: with the last thing that the user said.
        items = await self.memory.get_items()
        said = [number for number, item in enumerate(items) if item.get("role") == "user"]
        async with self._whole_turn(before=said[-1] if said else 0):
            await self._finish(await self._approved(state))
        return True

    @asynccontextmanager
    async def _whole_turn(self, before: int) -> AsyncIterator[None]:
        """If this block fails or is cancelled, the memory has only the `before` items again.

        A half-finished turn may hold a call without its result, which models refuse. If the
        program ends while a call waits (EOFError), the turn stays: `resume` finishes it.
        """
        try:
            yield
        except EOFError:
            raise
        except BaseException:
            for _ in range(len(await self.memory.get_items()) - before):
                await self.memory.pop_item()
            raise

    async def _finish(self, result: RunResultStreaming) -> None:
        """Stream the answer. Whenever a call needs a person, ask, and go on."""
        await self._stream(result)
        while result.interruptions:
            result = await self._approved(result.to_state())
            await self._stream(result)
        self.write("\n")

    async def _stream(self, result: RunResultStreaming) -> None:
        try:
            async for event in result.stream_events():
                if event.type == "raw_response_event" and isinstance(
                    event.data, ResponseTextDeltaEvent
                ):
                    self.write(event.data.delta)
        except BaseException:
            result.cancel()
            raise

    async def _approved(self, state: RunState[Any]) -> RunResultStreaming:
        """Ask about each call that waits, and let the run go on."""
        self.waiting.write_text(state.to_string(), encoding="utf-8")
        try:
            for call in state.get_interruptions():
                if await self.approve(written(call)):
                    state.approve(call)
                else:
                    state.reject(call, rejection_message="The user does not want this call.")
        except asyncio.CancelledError:
            self.waiting.unlink()
            raise
        self.waiting.unlink()
        return Runner.run_streamed(self.agent, state, session=self.memory, hooks=self.hooks)


def written(call: ToolApprovalItem) -> str:
    """The call that waits, as Python would write it."""
    return as_call(call.name or "?", call.arguments or "{}")
