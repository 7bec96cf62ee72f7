"""The MCP servers of a conversation: each is connected, watched and connected again.

A retry of `MCPServerSse` calls the dead connection again. What makes a new one is
`MCPServerManager.reconnect`: each server here has a manager of its own, so that one can be
replaced while the sessions of the others, and what they hold, live on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mcp
from agents import Agent, RunContextWrapper
from agents.agent import MCPConfig
from agents.mcp import MCPServer, MCPServerManager, MCPServerSse, ToolFilterContext
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, Tool

CALL_SECONDS = 30.0  # openai-agents' own limit is 5 s: too short for many tools
CONNECT_SECONDS = 10.0
LEAVE_SECONDS = 0.2

Tell = Callable[[str], None]


class Server:
    """One MCP server at `url`. `without` are the tools that the agent must not see."""

    def __init__(self, url: str, name: str, without: Collection[str], tell: Tell) -> None:
        self.url = url
        self.name = name
        self.tell = tell
        self.there = False

        def shown(context: ToolFilterContext, tool: Tool) -> bool:
            return tool.name not in without

        self.mcp = MCPServerSse(
            {"url": url, "timeout": CONNECT_SECONDS},
            name=name,
            cache_tools_list=True,
            client_session_timeout_seconds=CALL_SECONDS,
            tool_filter=shown,
            require_approval=is_destructive,
        )
        self.manager = MCPServerManager(
            [self.mcp],
            connect_timeout_seconds=CONNECT_SECONDS,
            # Ctrl-C while it connects ends the program, without waiting for an answer.
            cleanup_timeout_seconds=LEAVE_SECONDS,
            suppress_cancelled_error=False,
        )

    async def connect(self) -> None:
        """Make a connection, or another one. Tells whether the server is there."""
        was_there = self.there
        await self.manager.reconnect(failed_only=False)
        self.there = bool(self.manager.active_servers)
        if self.there:
            self.tell(f"{self.name}: connected again, in a new session.")
        elif was_there:
            self.tell(self.missing())

    def missing(self) -> str:
        return f"{self.name} is not there: its tools are left out. ({self.url})"

    async def is_alive(self) -> bool:
        """Whether it answers a ping, which takes about a millisecond."""
        session = self.mcp.session
        if not self.there or session is None:
            return False
        try:
            await session.send_ping()
        except mcp.MCPError as error:
            # Since revision 2026-07-28 there is no ping, and a refusal is an answer, too.
            return error.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT)
        return True


class Servers:
    """All servers of the conversation."""

    def __init__(self, servers: list[Server]) -> None:
        self.all = servers

    async def revive(self) -> None:
        """Connect again to each server that is gone. Call it before each turn."""
        for server in self.all:
            if not await server.is_alive():
                await server.connect()

    def active(self) -> list[MCPServer]:
        return [server.mcp for server in self.all if server.there]

    async def forget_tools(self) -> None:
        """Ask for the list of tools again, the next time that it is needed."""
        for server in self.all:
            server.mcp.invalidate_tools_cache()

    async def tools(self, agent: Agent[Any]) -> dict[str, list[Tool]]:
        """The tools that the agent sees, by the name of their server."""
        return {
            server.name: await server.mcp.list_tools(RunContextWrapper(None), agent)
            for server in self.all
            if server.there
        }


@asynccontextmanager
async def connected(
    urls: list[str], without: Collection[str], tell: Tell
) -> AsyncIterator[Servers]:
    """Servers that are connected, as far as they are there, until the block ends."""
    async with AsyncExitStack() as stack:
        servers = [Server(url, name_of(url), without, tell) for url in dict.fromkeys(urls)]
        for server in servers:
            await stack.enter_async_context(server.manager)
            server.there = bool(server.manager.active_servers)
            if not server.there:
                tell(server.missing())
        yield Servers(servers)


def name_of(url: str) -> str:
    """What to call the server at this URL: its host and port."""
    return url.partition("://")[2].partition("/")[0]


def is_destructive(context: RunContextWrapper[Any], agent: Any, tool: Tool) -> bool:
    """Whether a person has to approve each call: the server marks the tool as destructive."""
    marks = tool.annotations
    return marks is not None and bool(marks.destructive_hint)


def what_failed(context: RunContextWrapper[Any], error: Exception) -> str:
    """What the model is told when a call fails. By default it would learn nothing."""
    reason = error.__cause__ or error
    return f"The call failed: {str(reason).partition(chr(10))[0]}"


# The names of the tools stay as they are, unless two servers have the same.
def config(servers_have_same_names: bool) -> MCPConfig:
    return {
        "include_server_in_tool_names": servers_have_same_names,
        "failure_error_function": what_failed,
    }
