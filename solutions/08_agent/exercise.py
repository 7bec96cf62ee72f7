"""Lesson 08, the exercise: an agent that uses the tools of your own server.

It reads requests, one per line, and prints an answer to each. With your server of lesson 05
running in another terminal:

    uv run work/08_agent/exercise.py http://127.0.0.1:8000/sse

`--without echo` hides the tool `echo` from the agent.

Do the TODOs from 1 to 6, each where the lesson says Stop. After each one, see how far you are:

    uv run workshop check 08
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Collection
from typing import Any

from agents import Agent, AgentsException, RunContextWrapper, Runner, RunResult
from agents.mcp import MCPServer, MCPServerManager, MCPServerSse, ToolFilterContext
from calls import as_call
from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, Tool
from model import choose_model
from openai import OpenAIError

CALL_SECONDS = 30.0  # how long a tool may take

# ---- The server, and one request -----------------------------------------------------------


def servers(url: str, without: Collection[str]) -> list[MCPServer]:
    """The MCP servers of the agent: here one, at `url`. Nothing is connected yet."""
    # TODO 1: Return a list of one MCPServerSse, for `url`. By default it waits 5 seconds for an
    # answer: set `client_session_timeout_seconds` to CALL_SECONDS. Pass `Filter(without)` as
    # `tool_filter`, and `needs_a_person` as `require_approval`: TODOs 3 and 5 are about them.
    # --- solution
    return [
        MCPServerSse(
            {"url": url},
            client_session_timeout_seconds=CALL_SECONDS,
            tool_filter=Filter(without),
            require_approval=needs_a_person,
        )
    ]
    # --- starter
    # return []
    # --- end


async def answer(agent: Agent[Any], request: str) -> str:
    """What the agent says to a request when all its calls are made."""
    # TODO 2: Run the agent on the request, and return `await final(agent, result)`.
    # --- solution
    result = await Runner.run(agent, request)
    return await final(agent, result)
    # --- starter
    # return f"(no answer to {request!r})"
    # --- end


# ---- Which tools, and what the model is told -----------------------------------------------


class Filter:
    """Decides which of a server's tools the agent sees."""

    def __init__(self, without: Collection[str]) -> None:
        self.without = without

    def __call__(self, context: ToolFilterContext, tool: Tool) -> bool:
        # TODO 3: Say whether the agent may see this tool: not if its name is in
        # `self.without`, and not if its description contains "for internal use", in capitals
        # or not. The description may be missing, and a filter that raises hides the tool.
        # --- solution
        if tool.name in self.without:
            return False
        return "for internal use" not in (tool.description or "").lower()
        # --- starter
        # return True
        # --- end


def what_failed(context: RunContextWrapper[Any], error: Exception) -> str:
    """What the model is told when a call fails, so that it can try something else."""
    # TODO 4: Return a text with the reason in it. What went wrong on the way to the server is
    # the cause of `error`, where it has one (`error.__cause__`): an MCPError, as a rule.
    # --- solution
    return f"The call failed: {error.__cause__ or error}"
    # --- starter
    # return "An error occurred while running the tool. Please try again."
    # --- end


# ---- Calls that need a person --------------------------------------------------------------


def needs_a_person(context: RunContextWrapper[Any], agent: Any, tool: Tool) -> bool:
    """Whether a person must approve each call of this tool."""
    # TODO 5: Say so for every tool that the server marks as destructive: the annotations of
    # the tool have a `destructive_hint`. Most tools have no annotations at all.
    # --- solution
    return tool.annotations is not None and bool(tool.annotations.destructive_hint)
    # --- starter
    # return False
    # --- end


async def final(agent: Agent[Any], result: RunResult) -> str:
    """The final output, once a person has decided about the calls that need one."""
    # (TODO 5) A run stops at such calls, and has them in `result.interruptions`. Get the
    # run's state, ask `approved(…)` about each call (`as_call` makes a text of its name and its
    # arguments), approve or reject it in the state, and run the agent on the state. The new
    # result may have interruptions again.
    # --- solution
    while result.interruptions:
        state = result.to_state()
        for call in result.interruptions:
            if await approved(as_call(call.name or "?", call.arguments or "{}")):
                state.approve(call)
            else:
                state.reject(call)
        result = await Runner.run(agent, state)
    # --- end
    return str(result.final_output)


async def approved(call: str) -> bool:
    """Ask the person at the keyboard; the answer is the next line."""
    print(f"Approve {call}? [y/N]", flush=True)
    return (await asyncio.to_thread(sys.stdin.readline)).strip().lower() in ("y", "yes")


# ---- A server that goes away and comes back ------------------------------------------------


async def revive(manager: MCPServerManager) -> None:
    """Before each request: make a new connection to a server that is gone."""
    await manager.reconnect()  # to one that was not there the last time
    for server in manager.active_servers:
        assert isinstance(server, MCPServerSse) and server.session is not None
        # TODO 6: Send a ping in the session. When the connection is closed, or nothing answers
        # in time, that raises an MCPError with the code CONNECTION_CLOSED or REQUEST_TIMEOUT:
        # then let the manager reconnect, not only what it knows has failed. (Any other code is
        # an answer: newer servers don't know `ping`.)
        # --- solution
        try:
            await server.session.send_ping()
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                await manager.reconnect(failed_only=False)
        # --- end


# ---- The program ---------------------------------------------------------------------------


async def main() -> None:
    parser = argparse.ArgumentParser(description="An agent for one MCP server over SSE.")
    parser.add_argument("url")
    parser.add_argument("--without", action="append", default=[], metavar="TOOL")
    options = parser.parse_args()
    # What these log is a traceback whenever the server goes away.
    for name in ("mcp", "openai.agents"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    model, model_name = choose_model()
    print(f"Model: {model_name}", flush=True)
    # Ctrl-C while it connects ends the program, without waiting for an answer.
    async with MCPServerManager(
        servers(options.url, options.without),
        cleanup_timeout_seconds=0.2,
        suppress_cancelled_error=False,
    ) as manager:
        while request := (await asyncio.to_thread(sys.stdin.readline)).strip():
            await revive(manager)
            agent = Agent(
                name="exercise",
                instructions="Use the tools to answer, in one short sentence.",
                mcp_servers=manager.active_servers,
                mcp_config={"failure_error_function": what_failed},
                model=model,
            )
            try:
                print(await answer(agent, request), flush=True)
            except (AgentsException, OpenAIError, MCPError) as error:
                print(f"That failed: {str(error).partition('.')[0]}", flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
