"""Talk with an agent that uses the tools of one or more MCP servers.

    uv run scripts/08_agent/chat.py http://127.0.0.1:8008/sse http://127.0.0.1:8018/sse

Ctrl-C cancels a turn, Ctrl-D ends the program. What was said is kept in a file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

import mcp
from agents import Agent
from calls import ShowCalls
from conversation import Conversation
from lines import Lines
from model import MODEL_ERRORS, choose_model
from servers import Servers, config, connected
from spinner import Spinner

HELP = """\
/tools    the tools of each server; ask the servers for them again
/forget   forget what was said
/quit     end, as Ctrl-D does. Ctrl-C cancels a turn.
Anything else is for the agent."""


class Cancelled(Exception):
    """Ctrl-C was pressed."""


class Chat:
    """Reads lines, and gives each to the agent or does what it commands."""

    def __init__(
        self, servers: Servers, agent: Agent[Any], memory: Path, lines: Lines, spinner: Spinner
    ) -> None:
        self.servers = servers
        self.agent = agent
        self.lines = lines
        self.spinner = spinner
        self.conversation = Conversation(
            agent, memory, ShowCalls(spinner.line), spinner.write, self.approve
        )

    async def approve(self, call: str) -> bool:
        """Ask the person at the keyboard. Ctrl-C cancels the turn here, too."""
        with self.spinner.paused():
            try:
                answer = await self.lines.ask(f"Approve {call}? [y/N] ")
            except KeyboardInterrupt:
                raise asyncio.CancelledError from None
        return answer.strip().lower() in ("y", "yes")

    async def do(self, line: str) -> None:
        """One line. Raises what the agent, its model or a server raise."""
        if line == "/help":
            print(HELP)
        elif line == "/tools":
            await self.servers.forget_tools()
            await self.servers.revive()
            for name, tools in (await self.servers.tools(self.agent)).items():
                print(f"{name}: {', '.join(tool.name for tool in tools)}")
        elif line == "/forget":
            await self.conversation.memory.clear_session()
            print("Forgotten.")
        elif line.startswith("/"):
            print(f"There is no command {line}.\n{HELP}")
        else:
            await self.with_servers(self.conversation.turn(line))

    async def with_servers(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do `work` with the servers that are there now."""
        with self.spinner:
            await self.servers.revive()
            self.agent.mcp_servers = self.servers.active()
            tools = await self.servers.tools(self.agent)
            names = [tool.name for one in tools.values() for tool in one]
            self.agent.mcp_config = config(len(set(names)) < len(names))
            return await work

    async def talk(self) -> None:
        """Answer lines until there are no more. Raises EOFError if they end at a question."""
        await self.careful(self.with_servers(self.conversation.resume()))
        async for line in self.lines:
            if line.strip() == "/quit":
                return
            if line.strip():
                await self.careful(self.do(line.strip()))

    async def careful(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do `work`; whatever goes wrong is said in a line, and the conversation goes on."""
        try:
            await unless_ctrl_c(work)
        except Cancelled:
            print("\nCancelled.")
        except mcp.MCPError as error:
            print(f"A server: {first_line(error)}")
        except MODEL_ERRORS as error:
            print(f"The model: {first_line(error)}")


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


async def unless_ctrl_c(work: Coroutine[Any, Any, Any]) -> None:
    """Do `work`, which Ctrl-C cancels. Raises Cancelled if it did."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)

    def cancel(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGINT, cancel)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        signal.signal(signal.SIGINT, before)
    if task.cancelled():
        raise Cancelled
    task.result()


async def main() -> None:
    parser = argparse.ArgumentParser(description="Talk with an agent that uses MCP servers.")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--without", action="append", default=[], metavar="TOOL")
    parser.add_argument("--memory", type=Path, default=Path("chat.db"), metavar="FILE")
    options = parser.parse_args()
    # What these log is said here in a line, or is a traceback that says no more.
    for noisy in ("mcp", "openai.agents"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)

    model, name = choose_model()
    spinner = Spinner("thinking")
    async with connected(options.urls, options.without, spinner.line) as servers:
        agent = Agent(
            name="chat",
            instructions="Use the tools where they help. Answer in one or two sentences.",
            model=model,
        )
        print(f"Model: {name}")
        for server, tools in (await servers.tools(agent)).items():
            print(f"{server}: {', '.join(tool.name for tool in tools)}")
        print("Type a request, or /help.", flush=True)
        lines = Lines("> ")
        with contextlib.suppress(EOFError):
            await Chat(servers, agent, options.memory, lines, spinner).talk()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
