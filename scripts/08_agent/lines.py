"""Lines from the keyboard, with a prompt that can be edited, or from a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import AsyncIterator

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout


class Lines:
    """What is typed, line by line, until Ctrl-D or the end of the pipe."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self._session: PromptSession[str] | None = PromptSession() if is_terminal() else None
        self._pipe: asyncio.Queue[str] = asyncio.Queue()
        if self._session is None:
            self._read_pipe()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            try:
                yield await (self._prompted(self.prompt) if self._session else self._piped())
            except KeyboardInterrupt:
                continue  # throw the line away, as a shell does
            except EOFError:
                return

    async def ask(self, question: str) -> str:
        """The next line, as the answer to a question. Raises EOFError when there is none."""
        if self._session is not None:
            return await self._prompted(question)
        print(question, flush=True)
        return await self._piped()

    async def _prompted(self, prompt: str) -> str:
        assert self._session is not None
        with patch_stdout():
            return await self._session.prompt_async(prompt)

    async def _piped(self) -> str:
        line = await self._pipe.get()
        if not line:
            self._pipe.put_nowait("")  # it stays at its end
            raise EOFError
        return line

    def _read_pipe(self) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # bytes that are not UTF-8 do no harm

        def read() -> None:
            # In a daemon thread, which may wait for ever without keeping the program alive.
            with contextlib.suppress(RuntimeError):  # the program is ending: no loop any more
                for line in sys.stdin:
                    loop.call_soon_threadsafe(self._pipe.put_nowait, line)
                loop.call_soon_threadsafe(self._pipe.put_nowait, "")

        threading.Thread(target=read, daemon=True).start()


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
