"""One client with its stream: its id, the events waiting for it, and its tasks (lesson 05).

And what can be seen from outside: how many sessions there are, how long they last, and why they
end.
"""

import asyncio
import secrets
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from door import MAX_BODY
from feed import feed
from log import log, short_hash
from methods import Client
from metrics import (
    EVENTS_WAITING,
    SESSION_SECONDS,
    STREAMS_ACTIVE,
    STREAMS_CLOSED,
    STREAMS_OPENED,
)
from structlog.contextvars import bind_contextvars

MAX_WAITING_EVENTS = 100  # for one session: what its reader has not taken yet
MAX_WAITING_BYTES = 2 * MAX_BODY  # and their bytes

LAST = b""  # in the queue, this marks the end of the stream


class Session:
    """`ended_by` is None while the stream is open. After that it says who ended it."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(32)
        self.name = short_hash(self.id)  # for logs and traces
        self.client = Client()
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_EVENTS)
        self.waiting_bytes = 0
        self.tasks: set[asyncio.Task[None]] = set()  # of the stream
        self.calls: set[asyncio.Task[None]] = set()  # that have no reply yet
        self.ended_by: str | None = None
        self.closed = asyncio.Event()

    def send(self, event: bytes) -> None:
        """Queue an event. If too much is waiting already, drop the reader instead."""
        if self.ended_by is not None:
            return
        if self.waiting.full() or self.waiting_bytes + len(event) > MAX_WAITING_BYTES:
            log.warning("reader dropped: too slow", session=self.name)
            self.close("dropped")
            return
        self.waiting_bytes += len(event)
        self.waiting.put_nowait(event)
        EVENTS_WAITING.inc()

    async def next_event(self) -> bytes:
        event = await self.waiting.get()
        self.waiting_bytes -= len(event)
        EVENTS_WAITING.dec()
        return event

    def start(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        """Run `work`, but no longer than the session lasts."""
        task = asyncio.create_task(work)
        # The event loop does not keep a task alive: we have to hold a reference.
        among.add(task)
        task.add_done_callback(among.discard)
        return task

    def close(self, ended_by: str) -> None:
        """End all its tasks, and drop the events that nobody will read."""
        if self.ended_by is not None:
            return
        self.ended_by = ended_by
        EVENTS_WAITING.dec(self.waiting.qsize())
        self.waiting = asyncio.Queue(1)
        for task in self.tasks | self.calls:
            task.cancel()
        self.closed.set()


@contextmanager
def opened(sessions: dict[str, Session]) -> Iterator[Session]:
    """A session that exists for as long as its stream is open. It is counted and logged."""
    session = Session()
    bind_contextvars(session=session.name)
    began = time.monotonic()
    sessions[session.id] = session
    STREAMS_OPENED.inc()
    STREAMS_ACTIVE.inc()
    feed.stream_opened()
    log.info("stream opened")
    try:
        yield session
    except asyncio.CancelledError:
        # uvicorn cancels whatever still runs when its time is up.
        session.close("server left")
        raise
    finally:
        session.close("client left")
        del sessions[session.id]
        lasted = time.monotonic() - began
        STREAMS_ACTIVE.dec()
        STREAMS_CLOSED.labels(session.ended_by).inc()
        SESSION_SECONDS.observe(lasted)
        feed.stream_closed(session.ended_by, lasted)
        log.info("stream closed", ended_by=session.ended_by, seconds=round(lasted, 1))
