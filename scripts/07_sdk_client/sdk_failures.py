"""One session of the SDK's client, and why it ended: everything that the SDK makes difficult.

A session can fail in four ways, and the SDK 2.3 reports each of them differently:

- It can't be opened: an exception in `async with`, often in groups of one.
- A task of the SDK's fails: the same, but only when the `async with` is left.
- The stream ends: the calls under way are told. If there are none, nobody is.
- A POST fails, the stream breaks before the endpoint event, or the endpoint is elsewhere:
  a line in the SDK's log, and then it waits for ever.

`Session.run` turns them all into one thing, a Problem. Nothing outside this file knows more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import httpx2
import pydantic
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.client.sse import sse_client

NO_GET = "no event stream here; a Streamable HTTP server, a later transport, answers like this"
REFUSALS = {
    400: NO_GET,
    401: "the server wants to know who you are: --header 'Authorization: Bearer TOKEN'",
    403: "you are not let in: its Origin check, or a token without the right to do this",
    404: "no such path; most servers have their stream at /sse",
    405: NO_GET,
    406: NO_GET,
    421: "this Host is not one of its names: connect to a name that it allows",
}


class Problem(Exception):
    """What went wrong, in one line. `final`: trying again would change nothing."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Session:
    """A session with the server at `url`, from its opening to its end.

    `opened` gets the SDK's client, `lost` is called as soon as that is of no further use.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        seconds: float,
        opened: Callable[[Client], None],
        lost: Callable[[], None],
    ) -> None:
        self.url = url
        self.seconds = seconds
        self.opened = opened
        self.lost = lost
        # "legacy": begin with initialize, as HTTP+SSE does, and ask for no newer revision.
        self.client = Client(
            self._watched(sse_client(url, headers=headers)),
            mode="legacy",
            read_timeout_seconds=seconds,
        )
        self._error: BaseException | None = None  # the first one, which led to all others
        self._got_endpoint = False
        self._opening: asyncio.Timeout | None = None
        self._ended = asyncio.Event()

    async def run(self) -> Problem:
        """Open the session, wait for its end, and leave it. Returns why it ended.

        All in one task: the SDK's context managers have to be left by the task that entered
        them, the last one first.
        """
        session_of_this_task.set(self)  # also for the tasks that the SDK starts from here
        overheard = Overheard(self._hear)
        logging.getLogger("mcp").addHandler(overheard)
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.seconds) as self._opening:
                    await stack.enter_async_context(self.client)
                self._opening = None
                self.opened(self.client)
                await self._ended.wait()
        except TimeoutError:
            if self._error is None:
                missing = "answer to initialize" if self._got_endpoint else "endpoint event"
                return Problem(f"No MCP server over SSE: no {missing} in {self.seconds:g} s.")
        except Exception as error:
            self._error = self._error or error
        finally:
            self._opening = None
            self._end()
            logging.getLogger("mcp").removeHandler(overheard)
        return self.why()

    def why(self) -> Problem:
        """Why it ended, as far as is known."""
        return explain(self._error, self.url)

    def _end(self) -> None:
        self._ended.set()
        self.lost()

    @asynccontextmanager
    async def _watched(self, transport: Transport) -> AsyncIterator[tuple[Any, Any]]:
        """The same transport, which also tells us when the server's stream has ended."""
        async with transport as (from_server, to_server):
            self._got_endpoint = True
            relay, to_session = anyio.create_memory_object_stream[Any](0)

            async def pass_on() -> None:
                async with relay:
                    try:
                        async for message in from_server:
                            await relay.send(message)
                    except anyio.BrokenResourceError:
                        pass  # the session was left first
                    self._end()

            async with anyio.create_task_group() as group:
                group.start_soon(pass_on)
                yield to_session, to_server
                group.cancel_scope.cancel()

    def _hear(self, error: BaseException) -> None:
        """The SDK wrote to its log that it failed, and goes on as if nothing had happened.

        After a POST that failed it never sends again; when the stream fails before the
        endpoint event it waits for ever. So a session that failed is over.
        """
        if session_of_this_task.get() is not self:
            return  # one log serves all connections of the process
        self._error = self._error or error
        self._end()
        if self._opening is not None:
            # While it opens, we wait inside the SDK. Its time is up now: that ends the wait.
            self._opening.reschedule(asyncio.get_running_loop().time())


session_of_this_task: ContextVar[Session | None] = ContextVar("session", default=None)


class Overheard(logging.Handler):
    """Passes the exceptions that a logger is given to `hear`, and prints nothing."""

    def __init__(self, hear: Callable[[BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self.hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.hear(record.exc_info[1])


def explain(error: BaseException | None, url: str) -> Problem:
    """Why a session ended or could not begin, in words for the person who wanted it.

    Several failures have the same type in the SDK: then only its text tells them apart.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case None:
            return Problem("The server ended the stream.")
        case httpx2.HTTPStatusError():
            return refused(error.response)
        case pydantic.ValidationError():
            return Problem("The server sent something that is not a JSON-RPC message.")
        case ValueError() if "origin" in str(error):
            # It wants the messages, and the token with them, sent to another server.
            return Problem(f"The server is not to be trusted. {first_line(error)}", final=True)
        case ValueError() | httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            return Problem(f"{url}: {first_line(error)}", final=True)
        case httpx2.ConnectError() if "All connection attempts failed" in str(error):
            return Problem(f"Nothing listens at {url}: is the server running?")
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return Problem(f"Cannot connect to {url}: {first_line(error)}")
        case httpx2.ReadTimeout():
            return Problem("The stream was silent for too long: the server, or the way to it.")
        case httpx2.SSEError() if "content type" in str(error):
            return Problem(f"No MCP server over SSE: {first_line(error)}", final=True)
        case httpx2.SSEError():
            return Problem(f"An event was too large. {first_line(error)}")
        case httpx2.RemoteProtocolError() | httpx2.ReadError():
            return Problem("The server is gone: the connection was cut.")
        case httpx2.TransportError():
            return Problem(f"The connection failed: {first_line(error)}")
        case RuntimeError() if "task_status.started" in str(error):
            return Problem("No MCP server over SSE: the stream ended before an endpoint event.")
        case MCPError():
            return Problem(f"The server opens no session: {error.message} ({error.code})")
        case _:
            return Problem(f"The session failed: {first_line(error)}")


def refused(response: httpx2.Response) -> Problem:
    """What a status other than success means. A 4xx will be the same the next time."""
    status = response.status_code
    request = response.request
    reason = REFUSALS.get(status, response.reason_phrase)
    if request.method == "POST":
        return Problem(f"The server refused the message: {status} {response.reason_phrase}.")
    if response.has_redirect_location:
        reason = f"it sends elsewhere, to {response.headers['Location']}"
    return Problem(f"{status} at {request.url}: {reason}.", final=300 <= status < 500)


def first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
