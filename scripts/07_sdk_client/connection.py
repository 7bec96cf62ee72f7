"""One connection to an MCP server over SSE: opened, watched, opened again when it is lost.

The SDK's transport tells of a failure in four ways: an exception while it opens, an exception
in a task of its own, a stream that ends, or no more than a line in its log. `Connection` makes
one thing of them: a Problem, whose text is for the person at the prompt.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2
import pydantic
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.client.sse import sse_client
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult, Tool

Tell = Callable[[str], None]

# In seconds: how long before the first try to come back, and before later ones at most.
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0

# A server could name a next page for ever.
MAX_PAGES = 100

NO_GET = "no event stream here; a server of Streamable HTTP, a later transport, answers so"
REFUSALS = {
    400: NO_GET,
    401: "the server wants to know who you are: --header 'Authorization: Bearer TOKEN'",
    403: "you may not come in: its Origin check, or a token that does not suffice",
    404: "no such path; most servers have their stream at /sse",
    405: NO_GET,
    406: NO_GET,
    421: "the server has another Host: connect to the name that it allows",
}


class Problem(Exception):
    """What went wrong, in one line. `final`: to try again would change nothing."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Connection:
    """The tools of the server at `url`, through a session that is made anew when it is lost.

        async with Connection(url, headers={}, seconds=30, tell=print) as connection:
            print(await connection.call("add", {"a": 2, "b": 5}))

    `seconds` is how long opening a session may take, and each call. `tell` hears one line
    whenever the server is lost, missed again, or back. With `come_back` False a lost server
    stays lost. Entering raises Problem when the first session cannot be opened.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str],
        seconds: float,
        tell: Tell,
        come_back: bool = True,
    ) -> None:
        self.url = url
        self.headers = headers
        self.seconds = seconds
        self.tell = tell
        self.come_back = come_back
        self.server = ""
        # The SDK's client while there is a session; whoever wants one waits for it.
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._why: BaseException | None = None
        self._opening: asyncio.Timeout | None = None
        self._got_endpoint = False
        self._began: float | None = None
        self._overheard = Overheard(self._hear)
        self._owner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        logging.getLogger("mcp").addHandler(self._overheard)
        self._owner = asyncio.create_task(self._own())
        try:
            await asyncio.shield(self._client)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
            if self._client.done():
                self._client.exception()  # or asyncio would complain that nobody looked
        logging.getLogger("mcp").removeHandler(self._overheard)

    async def over(self) -> Problem:
        """Wait until the connection is lost for good, and say why."""
        assert self._owner is not None
        await asyncio.wait([self._owner])
        problem = self._client.exception()
        assert isinstance(problem, Problem)
        return problem

    # --- What a caller asks for -----------------------------------------------------------

    async def list_tools(self) -> list[Tool]:
        """All tools of the server, page by page. Raises Problem."""
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            client = await self._connected()
            try:
                page = await client.list_tools(cursor=cursor)
            except (MCPError, pydantic.ValidationError) as error:
                raise self._problem(error, "tools/list") from None
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return tools

    async def call(
        self, name: str, arguments: dict[str, Any], on_progress: ProgressFnT | None = None
    ) -> CallToolResult:
        """The result of one call, which may say that the tool failed. Raises Problem.

        A call that was under way when the server was lost raises too. It is not repeated:
        nobody can say here whether the tool has done its work.
        """
        client = await self._connected()
        try:
            # The SDK would end the session over what UTF-8 has no bytes for, half a surrogate
            # pair, and would send null for an infinite number.
            json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
            return await client.call_tool(name, arguments, progress_callback=on_progress)
        except (MCPError, pydantic.ValidationError, RuntimeError) as error:
            raise self._problem(error, name) from None
        except ValueError as error:
            raise Problem(f"{name}: this can't be sent: {first_line(error)}") from None

    async def _connected(self) -> Client:
        try:
            async with asyncio.timeout(self.seconds):
                # Shielded: the future is everybody's, and a caller that leaves must not end it.
                return await asyncio.shield(self._client)
        except TimeoutError:
            raise Problem(f"Not connected for {self.seconds:g} s now.") from None

    def _problem(self, error: Exception, what: str) -> Problem:
        """What the failure of a request means."""
        if not isinstance(error, MCPError):
            return Problem(f"{what}: the answer is not what MCP allows: {first_line(error)}")
        if error.code == REQUEST_TIMEOUT:
            return Problem(
                f"{what}: no answer within {self.seconds:g} s. To wait longer: --timeout"
            )
        if error.code == CONNECTION_CLOSED:
            return Problem(f"{what}: lost, not repeated. {explain(self._why, self.url)}")
        return Problem(f"{what}: the server refuses: {error.message} ({error.code})")

    # --- The task that owns the session ---------------------------------------------------

    async def _own(self) -> None:
        """Open a session, keep it until it is lost, open the next one.

        All of it in one task: the SDK's context managers have to be left by the task that
        entered them, the last one first.
        """
        connection_of_this_task.set(self)  # also for the tasks that the SDK starts from here
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            problem = await self._one_session()
            if problem.final or not self.server or not self.come_back:
                self._client.set_exception(problem)
                return
            if self._began is not None and clock() - self._began > LONGEST_BACKOFF:
                failures = 0
            seconds = backoff(failures)
            failures += 1
            self.tell(f"{problem} Connecting again in {seconds:.1f} s.")
            await asyncio.sleep(seconds)

    async def _one_session(self) -> Problem:
        """Open a session and wait for its end. Returns why it ended, or could not begin."""
        self._why, self._began, self._got_endpoint = None, None, False
        self._ended.clear()
        # "legacy": begin with initialize, as HTTP+SSE has it, and ask for no newer revision.
        client = Client(
            self._watched(sse_client(self.url, headers=self.headers)),
            mode="legacy",
            read_timeout_seconds=self.seconds,
        )
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.seconds) as self._opening:
                    await stack.enter_async_context(client)
                self._opening = None
                self._greet(client)
                await self._ended.wait()
        except TimeoutError:
            if self._why is None:
                missing = "answer to initialize" if self._got_endpoint else "endpoint event"
                return Problem(f"No MCP server over SSE: no {missing} in {self.seconds:g} s.")
        except Exception as error:
            self._why = self._why or error
        finally:
            self._opening = None
            self._lose()
        return explain(self._why, self.url)

    def _greet(self, client: Client) -> None:
        if self.server:
            self.tell("Connected again, in a new session.")
        info = client.server_info
        name = f"{info.name} {info.version}" if info else "a server without a name"
        self.server = f"{name}, MCP {client.protocol_version}"
        self._began = asyncio.get_running_loop().time()
        self._client.set_result(client)

    @asynccontextmanager
    async def _watched(self, transport: Transport) -> AsyncIterator[tuple[Any, Any]]:
        """The same transport, which also tells us when the server's stream has ended.

        The SDK tells the calls that are under way, and nobody when there are none.
        """
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
                    self._lose()

            async with anyio.create_task_group() as group:
                group.start_soon(pass_on)
                yield to_session, to_server
                group.cancel_scope.cancel()

    def _lose(self) -> None:
        """The session is over: its owner leaves it, and new calls wait for the next one."""
        if self._client.done():
            self._client = asyncio.get_running_loop().create_future()
        self._ended.set()

    def _hear(self, error: BaseException) -> None:
        """The SDK wrote to its log that it failed, and goes on as if nothing had happened.

        After a POST that failed it never sends again; when the stream fails before the
        endpoint event it waits for ever. So a session that failed is over.
        """
        if connection_of_this_task.get() is not self:
            return  # the log is one for all connections of the process
        self._why = self._why or error
        self._lose()
        if self._opening is not None:
            # Its time is up now: that ends the opening, too.
            self._opening.reschedule(asyncio.get_running_loop().time())


connection_of_this_task: ContextVar[Connection | None] = ContextVar("connection", default=None)


class Overheard(logging.Handler):
    """Gives the exceptions that a logger is told of to `hear`, and prints nothing."""

    def __init__(self, hear: Callable[[BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self.hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.hear(record.exc_info[1])


def backoff(failures: int) -> float:
    """Seconds before the next try: twice as long after each failure, up to the longest.

    Half of it is random ("jitter"), so that a thousand clients that were cut in one moment
    do not all come back in one moment.
    """
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 64))
    return random.uniform(longest / 2, longest)


def explain(error: BaseException | None, url: str) -> Problem:
    """Why a session ended or could not begin, for the person who wanted it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case None:
            return Problem("The server ended the stream.")
        case httpx2.HTTPStatusError():
            return refused(error.response)
        case pydantic.ValidationError():
            return Problem("The server sent what is no JSON-RPC message.")
        case ValueError() if "origin" in str(error):
            # It asks for the messages, and with them the token, to be sent to somebody else.
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
            return Problem("The server has gone: the connection was cut.")
        case httpx2.TransportError():
            return Problem(f"The connection failed: {first_line(error)}")
        case RuntimeError() if "task_status.started" in str(error):
            return Problem("No MCP server over SSE: the stream ended without endpoint event.")
        case MCPError():
            return Problem(f"The server opens no session: {error.message} ({error.code})")
        case _:
            return Problem(f"The session failed: {first_line(error)}")


def refused(response: httpx2.Response) -> Problem:
    """What a status says that is none of success. A 4xx will be the same the next time."""
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
