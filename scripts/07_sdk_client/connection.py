"""One connection to an MCP server over SSE that survives the end of its sessions.

A separate task, the owner, opens a session and, when that is lost, the next one. Callers are
in other tasks. If there is no session they wait for one, up to the time limit.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pydantic
from mcp import Client, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult, Tool
from sdk_failures import Problem, Session, first_line

Tell = Callable[[str], None]

# In seconds: how long before the first attempt to reconnect, and before later ones at most.
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0

# A server could name a next page for ever.
MAX_PAGES = 100


class Connection:
    """The tools of the server at `url`, in a session that is replaced when it is lost.

        async with Connection(url, headers={}, seconds=30, tell=print) as connection:
            print(await connection.call("add", {"a": 2, "b": 5}))

    `seconds` is how long opening a session may take, and each call. `tell` gets one line
    whenever the server is lost, still missing, or back. With `come_back` False a lost server
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
        # Holds the SDK's client while there is a session. Callers wait for it.
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._session: Session | None = None
        self._began: float | None = None
        self._owner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
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

    async def over(self) -> Problem:
        """Wait until the connection is lost for good, and say why."""
        assert self._owner is not None
        await asyncio.wait([self._owner])
        problem = self._client.exception()
        assert isinstance(problem, Problem)
        return problem

    # --- For callers ----------------------------------------------------------------------

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
        nothing here can know whether the tool has run.
        """
        client = await self._connected()
        try:
            # The SDK would end the session over half a surrogate pair, for which UTF-8 has no
            # bytes, and would send null for an infinite number.
            json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
            return await client.call_tool(name, arguments, progress_callback=on_progress)
        except (MCPError, pydantic.ValidationError, RuntimeError) as error:
            raise self._problem(error, name) from None
        except ValueError as error:
            raise Problem(f"{name}: this can't be sent: {first_line(error)}") from None

    async def _connected(self) -> Client:
        try:
            async with asyncio.timeout(self.seconds):
                # Shielded: all callers share this future, and one that leaves must not end it.
                return await asyncio.shield(self._client)
        except TimeoutError:
            raise Problem(f"Not connected for {self.seconds:g} s.") from None

    def _problem(self, error: Exception, what: str) -> Problem:
        """What a failed request means."""
        if not isinstance(error, MCPError):
            return Problem(f"{what}: the answer is not what MCP allows: {first_line(error)}")
        if error.code == REQUEST_TIMEOUT:
            return Problem(
                f"{what}: no answer within {self.seconds:g} s. To wait longer: --timeout"
            )
        if error.code == CONNECTION_CLOSED and self._session is not None:
            return Problem(f"{what}: lost, not repeated. {self._session.why()}")
        return Problem(f"{what}: the server refuses: {error.message} ({error.code})")

    # --- The owner ------------------------------------------------------------------------

    async def _own(self) -> None:
        """Open a session, keep it until it is lost, then open the next one."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            self._began = None
            self._session = Session(
                self.url, self.headers, self.seconds, opened=self._opened, lost=self._lost
            )
            problem = await self._session.run()
            if problem.final or not self.server or not self.come_back:
                self._client.set_exception(problem)
                return
            # A server that crashes after each initialize has not come back.
            if self._began is not None and clock() - self._began > LONGEST_BACKOFF:
                failures = 0
            seconds = backoff(failures)
            failures += 1
            self.tell(f"{problem} Connecting again in {seconds:.1f} s.")
            await asyncio.sleep(seconds)

    def _opened(self, client: Client) -> None:
        if self.server:
            self.tell("Connected again, in a new session.")
        info = client.server_info
        name = f"{info.name} {info.version}" if info else "a server without a name"
        self.server = f"{name}, MCP {client.protocol_version}"
        self._began = asyncio.get_running_loop().time()
        self._client.set_result(client)

    def _lost(self) -> None:
        """From now on callers wait for the next session."""
        if self._client.done():
            self._client = asyncio.get_running_loop().create_future()


def backoff(failures: int) -> float:
    """Seconds before the next attempt: twice as long after each failure, up to the longest.

    Half of it is random ("jitter"), so that a thousand clients that were all cut off at once
    do not all come back at once.
    """
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 64))
    return random.uniform(longest / 2, longest)
