"""A connection that must send its request's head soon.

uvicorn waits as long as a client likes for the rest of a request's head. A thousand clients
that send one byte a minute then hold a thousand sockets. The app cannot help: it is not called
before the head is complete. If you start the server without `running.py`, name this class on
the command line:

    uvicorn secure_server:app --http connection:Connection
"""

import asyncio
from typing import Any

from settings import Settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = Settings.from_environment().head_seconds
MAX_HEAD = 64 * 1024  # bytes

# It calls the `on_…` methods as it parses. uvicorn's other protocol, h11, has none of them: if
# httptools is missing, this import fails, so no server starts without these limits.
HttpProtocol: Any = HttpToolsProtocol


class Connection(HttpProtocol):
    """uvicorn's own, with a limit on the time and the size of a head, and of trailers."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.head_bytes = 0
        self.head_is_complete = False
        self.head_limit: asyncio.TimerHandle | None = None
        self.limit_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.head_bytes += len(data)
        # At the first byte uvicorn stops its own timer, although that byte need not begin a
        # request: it may be an empty line, or the body of a request that was answered early.
        if not self.is_answering():
            self.limit_head()
        super().data_received(data)
        if self.head_bytes > MAX_HEAD:
            self.refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_is_complete:  # on a kept connection: the next request
            self.head_is_complete = False
            self.head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind a body may come more headers, trailers. uvicorn would add them to those of
        # the head, and who has looked at the head has not seen them.
        if not self.head_is_complete:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self.head_bytes = 0  # trailers count anew: they may be as long as a head
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self.head_is_complete = True
        self.end_limit()
        if self.is_answering() and self.cycle.scope["path"].endswith("/sse"):
            # It would wait for the stream's end, and the stream would not see its client leave.
            raise ValueError("A request behind an open stream")  # uvicorn closes: 400
        super().on_headers_complete()

    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def limit_head(self) -> None:
        """From now on a head may take this long. A running timer goes on."""
        if self.head_limit is None:
            self.head_limit = self.loop.call_later(HEAD_SECONDS, self.head_took_too_long)

    def end_limit(self) -> None:
        if self.head_limit is not None:
            self.head_limit.cancel()
            self.head_limit = None

    def head_took_too_long(self) -> None:
        self.refuse(b"408 Request Timeout")

    def refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %s\r\nConnection: close\r\n\r\n" % status)
            self.transport.close()
