"""The same agent with cures. None of them depends on how its model treats an instruction.

    uv run scripts/09_security/agent/secure_agent.py files=URL weather=URL

The names are yours: a server cannot choose what it is called. `--without CURE` leaves one out:

allow-list   each server has only the tools that POLICY names
pins         a tool that has changed is left out until a person approves it again
prefix       the name of a tool begins with the name of its server
approval     once the agent has read something, a person sees each call that sends something

The fifth cure, less power, is the files server's: `--notes-only`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import mcp_types
from agents import Agent, RunContextWrapper, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse, ToolFilterContext
from obedient_model import ObedientModel
from pins import Pins, changes, visible
from shown import ShowCalls, Tell, as_call
from told import errors_in_a_line

READS = "gives the model something that is private"
SENDS = "gives somebody else what the model writes"

# Each tool that the agent may have, and what a call of it does with data.
POLICY: Mapping[str, Mapping[str, str]] = {
    "files": {"read_file": READS},
    "weather": {"get_weather": SENDS},
}
CURES = ("allow-list", "pins", "prefix", "approval")


class Person(Protocol):
    def approve_tool(self, name: str, before: str, now: str) -> bool:
        """Whether the agent may have this tool. `before` is empty if it is new."""
        ...

    def approve_call(self, request: str, name: str, arguments: str) -> bool:
        """Whether to make this call for this request."""
        ...


@dataclass
class Run:
    """What has happened since the request. The agent remembers nothing of earlier ones."""

    has_read: bool = False


class SecureAgent:
    def __init__(
        self,
        urls: Mapping[str, str],
        pins: Pins,
        person: Person,
        tell: Tell,
        policy: Mapping[str, Mapping[str, str]],
        without: Collection[str],
    ) -> None:
        self.pins = pins
        self.person = person
        self.tell = tell
        self.policy = policy
        self.without = without
        self.servers = [
            MCPServerSse(
                {"url": url, "timeout": 10},
                name=name,
                cache_tools_list=True,
                client_session_timeout_seconds=30,
                tool_filter=self.may_have,
                require_approval=self.needs_person(name),
            )
            for name, url in urls.items()
        ]
        self.agent = Agent[Run](
            name="secure",
            mcp_servers=[*self.servers],
            model=ObedientModel(),
            mcp_config={"include_server_in_tool_names": "prefix" not in without},
        )
        self._left_out = set[str]()

    def may_have(self, context: ToolFilterContext, tool: mcp_types.Tool) -> bool:
        """Whether the model sees this tool. Called for each tool, before each step."""
        server = context.server_name
        if "allow-list" not in self.without and tool.name not in self.policy.get(server, {}):
            self.leave_out(f"{server}: {tool.name} is not on the list")
            return False
        if "pins" not in self.without and not self.pins.allow(
            server, tool, self.person.approve_tool
        ):
            self.leave_out(f"{server}: {tool.name} is not approved")
            return False
        return True

    def leave_out(self, why: str) -> None:
        if why not in self._left_out:
            self._left_out.add(why)
            self.tell(f"Left out: {visible(why)}")

    def needs_person(
        self, server: str
    ) -> Callable[[RunContextWrapper[Any], Any, mcp_types.Tool], bool]:
        """For a server: whether a person must approve a call. Called before each call."""

        def asked(context: RunContextWrapper[Run], agent: Any, tool: mcp_types.Tool) -> bool:
            if self.policy.get(server, {}).get(tool.name, SENDS) == READS:
                context.context.has_read = True
                return False
            return "approval" not in self.without and context.context.has_read

        return asked

    async def ask(self, request: str) -> str:
        for server in self.servers:
            server.invalidate_tools_cache()  # they may have other tools since the last request
        hooks = ShowCalls(self.tell)
        result = await Runner.run(self.agent, request, context=Run(), hooks=hooks)
        while result.interruptions:
            state = result.to_state()
            for call in result.interruptions:
                name, arguments = call.name or "?", call.arguments or "{}"
                if self.person.approve_call(request, name, arguments):
                    state.approve(call)
                else:
                    self.tell(f"Refused: {as_call(name, arguments)}")
                    state.reject(call, rejection_message="The user does not want this call.")
            result = await Runner.run(self.agent, state, hooks=hooks)
        self.pins.save()
        return result.final_output


@asynccontextmanager
async def connected(
    urls: Mapping[str, str],
    pins: Pins,
    person: Person,
    tell: Tell = print,
    *,
    policy: Mapping[str, Mapping[str, str]] = POLICY,
    without: Collection[str] = (),
) -> AsyncIterator[SecureAgent]:
    """The agent, while it is connected to its servers."""
    set_tracing_disabled(True)
    agent = SecureAgent(urls, pins, person, tell, policy, without)
    async with AsyncExitStack() as stack:
        for server in agent.servers:
            await stack.enter_async_context(server)
        yield agent


class Keyboard:
    """The person who has started this program."""

    def approve_tool(self, name: str, before: str, now: str) -> bool:
        print(f"{name} {'has changed' if before else 'is new'}:\n{changes(before, now)}")
        return self.says_yes("Approve this tool?")

    def approve_call(self, request: str, name: str, arguments: str) -> bool:
        print(as_call(name, arguments))
        return self.says_yes("Approve this call?")

    def says_yes(self, question: str) -> bool:
        # asyncio's own handler would let `input` go on after Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            answer = input(f"{question} [y/N] ")
        except EOFError:
            answer = ""  # nobody is there to say yes
        finally:
            signal.signal(signal.SIGINT, before)
        if not sys.stdin.isatty():
            print(answer)  # a terminal has shown it already
        return answer.strip().lower() in ("y", "yes")


def named_url(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if name not in POLICY or not url:
        known = " or ".join(f"{name}=URL" for name in POLICY)
        raise argparse.ArgumentTypeError(f"{text!r} must be {known}")
    return name, url


async def main() -> None:
    parser = argparse.ArgumentParser(description="An agent with cures.")
    parser.add_argument("--ask", default="What is the weather in Oslo?", metavar="REQUEST")
    parser.add_argument("urls", nargs="+", type=named_url, metavar="NAME=URL")
    parser.add_argument("--pins", type=Path, default=Path("pins.json"), metavar="FILE")
    parser.add_argument("--without", action="append", default=[], choices=CURES)
    options = parser.parse_args()
    pins = Pins(options.pins)
    async with connected(
        dict(options.urls), pins, Keyboard(), without=options.without
    ) as agent:
        answer = await agent.ask(options.ask)
        print("\n".join(visible(line) for line in answer.splitlines()))


if __name__ == "__main__":
    with errors_in_a_line():
        asyncio.run(main())
