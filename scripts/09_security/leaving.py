"""How a server with open streams stops.

Told to stop, uvicorn waits until every response is complete, and only then tells the app.
An event stream is never complete: the app has to catch the signal itself, and end the stream.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def before_leaving(end_streams: Callable[[], None]) -> Iterator[None]:
    """Call `end_streams` on the event loop as soon as Ctrl-C or SIGTERM comes.

    Enter it in the app's lifespan: uvicorn has set its own signal handlers by then, and they
    are called as well. They get only the first signal: on a second one, uvicorn would drop
    everything at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    loop = asyncio.get_running_loop()
    uvicorns_own = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    told = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal told
        handler = uvicorns_own[signal.Signals(number)]
        if not told and callable(handler):
            told = True
            loop.call_soon_threadsafe(end_streams)
            handler(number, frame)

    for number in uvicorns_own:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in uvicorns_own.items():
            signal.signal(number, handler)
