"""A connection that has to say what it wants soon.

uvicorn waits as long as a client likes for the rest of a request's head. A thousand clients
that send a letter a minute then hold a thousand sockets. The app cannot help: it is not called
before the head is complete. Started without `running.py`, say so on the command line:

    uvicorn secure_server:app --http connection:Connection
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 5.0  # from the first byte, or from connecting, to the empty line
MAX_HEAD = 64 * 1024  # bytes

# It calls the `on_…` methods as it parses. uvicorn's other protocol, h11, has none of them:
# where httptools is missing, this import fails, and no server starts without its limits.
HttpProtocol: Any = HttpToolsProtocol


class Connection(HttpProtocol):
    """uvicorn's own, with a limit on the time and the size of a head."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.head_bytes = 0
        self.head_is_complete = False
        self.head_limit = self.loop.call_later(HEAD_SECONDS, self.head_took_too_long)

    def connection_lost(self, exc: Exception | None) -> None:
        self.head_limit.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.head_bytes += len(data)
        super().data_received(data)
        if not self.head_is_complete and self.head_bytes > MAX_HEAD:
            self.refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.head_is_complete:  # on a kept connection: the next request
            self.head_is_complete = False
            self.head_bytes = 0
            self.head_limit = self.loop.call_later(HEAD_SECONDS, self.head_took_too_long)

    def on_headers_complete(self) -> None:
        self.head_is_complete = True
        self.head_limit.cancel()
        answering = self.cycle and not self.cycle.response_complete
        if answering and self.cycle.scope["path"].endswith("/sse"):
            # It would wait for the stream's end, and the stream not learn that its client left.
            raise ValueError("A request behind an open stream")  # uvicorn closes: 400
        super().on_headers_complete()

    def head_took_too_long(self) -> None:
        self.refuse(b"408 Request Timeout")

    def refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %s\r\nConnection: close\r\n\r\n" % status)
            self.transport.close()
