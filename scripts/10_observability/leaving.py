"""How a server leaves: it says so first, lets running calls finish, and sends clients away.

When uvicorn has to stop, it closes its port, waits for each response, and only then tells the
app. So the app catches the signal before uvicorn does, and passes it on when it is done.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

Hurry = asyncio.Event  # set by a second signal: from then on, wait for nothing


@contextlib.contextmanager
def before_leaving(prepare: Callable[[Hurry], Awaitable[None]]) -> Iterator[None]:
    """At Ctrl-C or SIGTERM run `prepare` on the event loop; when it is done, uvicorn stops.

    Enter it in the app's lifespan: uvicorn has set its own signal handlers by then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    loop = asyncio.get_running_loop()
    uvicorns_own = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    hurry = Hurry()
    tasks: list[asyncio.Task[None]] = []  # the event loop does not keep a task alive

    def hand_on(number: int, frame: FrameType | None) -> None:
        handler = uvicorns_own[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    async def prepare_then_hand_on(number: int, frame: FrameType | None) -> None:
        try:
            await prepare(hurry)
        finally:
            hand_on(number, frame)

    def told(number: int, frame: FrameType | None) -> None:
        if not tasks:
            tasks.append(loop.create_task(prepare_then_hand_on(number, frame)))
        elif not tasks[0].done():
            hurry.set()
        else:
            hand_on(number, frame)  # uvicorn still waits for somebody: Ctrl-C ends that

    def leave(number: int, frame: FrameType | None) -> None:
        # A signal may come in the middle of anything: let the event loop finish that first.
        loop.call_soon_threadsafe(told, number, frame)

    for number in uvicorns_own:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in uvicorns_own.items():
            signal.signal(number, handler)


async def wait_for(what: Awaitable[object], hurry: Hurry, seconds: float | None = None) -> None:
    """Wait until it is done, the time is up, or we are in a hurry. It is not cancelled."""
    hurrying = asyncio.ensure_future(hurry.wait())
    await asyncio.wait(
        (asyncio.ensure_future(what), hurrying),
        timeout=seconds,
        return_when=asyncio.FIRST_COMPLETED,
    )
    hurrying.cancel()
