"""An event stream as ASGI sends it: its head, its chunks, its end, and a client that leaves."""

import asyncio
import contextlib

from starlette.types import Receive, Send

SEND_SECONDS = 10.0  # a reader that takes nothing for this long is dropped

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # This asks nginx to pass each event on at once instead of buffering it.
    (b"x-accel-buffering", b"no"),
]


async def begin_stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})


async def send_chunk(send: Send, chunk: bytes) -> None:
    """Raises TimeoutError for a reader that takes nothing."""
    # If the socket is full, send waits until the reader has taken something.
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def end_stream(send: Send) -> None:
    """Tell the client that the stream is over, if it did not end the stream itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await send({"type": "http.response.body", "body": b""})


async def client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
