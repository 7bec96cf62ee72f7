"""An event loop in a thread of its own, in which the servers of the checks run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """The thread runs until `close`. Other threads hand it work with `run`."""

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._over = asyncio.Event()

        async def serve() -> None:
            started.set_result(asyncio.get_running_loop())
            await self._over.wait()

        # When that is over, `asyncio.run` cancels what still runs, and waits for it.
        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        self.loop = started.result()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, done in the thread. Raises TimeoutError after 5 seconds."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(5)

    def close(self) -> None:
        """Cancel what still runs there, and end the thread."""
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(2)
