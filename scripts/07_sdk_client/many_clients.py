"""Many SDK clients on one server at once: each has a session and gets its own replies.

Client 7 asks for 7000 + 0, 7000 + 1 and so on, all at once, and so does every other client. All
of them number their requests 1, 2, 3. A server that found the recipient of a reply by the
request's id would give it to the wrong client, and the sum would show whose it is.

    uv run scripts/07_sdk_client/many_clients.py http://127.0.0.1:8006/sse
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp_types import TextContent

# What a bad server, or a bad URL, makes the client raise.
REFUSALS = (httpx2.HTTPError, httpx2.SSEError, MCPError, ValueError, OverflowError)
STEP = 1000  # client 1 adds to 1000, client 2 to 2000


@dataclass
class Told:
    """What one client was told by the server."""

    number: int
    session_id: str = ""
    answers: list[str] = field(default_factory=list[str])

    def is_right(self, turn: int) -> bool:
        try:
            return float(self.answers[turn]) == self.number * STEP + turn
        except ValueError:
            return False

    def row(self) -> str:
        """One line. An answer that is not ours has an exclamation mark."""
        marked = [
            answer if self.is_right(turn) else f"{answer}!"
            for turn, answer in enumerate(self.answers)
        ]
        # Anyone who has the whole id can send messages in that session, so don't show it.
        session = f"{self.session_id[:6]}…" if self.session_id else "-"
        return f"{self.number:6}  {session:8} {' '.join(marked)}"


async def add(client: Client, a: int, b: int) -> str:
    """The server's answer, or what came instead."""
    try:
        result = await client.call_tool("add", {"a": a, "b": b})
    except MCPError as error:
        return f"({error})"
    (content,) = result.content
    return content.text if isinstance(content, TextContent) else f"({content.type})"


async def one_client(
    url: str, number: int, calls: int, seconds: float, together: asyncio.Barrier
) -> Told:
    """Connect, wait until all others have, and ask for all sums at once."""
    told = Told(number)

    def created(session_id: str) -> None:
        told.session_id = session_id

    # The limit is for the calls: without it, a client would wait for ever for a reply that
    # went to another client.
    async with Client(
        sse_client(url, on_session_created=created), mode="legacy", read_timeout_seconds=seconds
    ) as client:
        await together.wait()
        told.answers = await asyncio.gather(
            *(add(client, number * STEP, turn) for turn in range(calls))
        )
        await together.wait()
    return told


async def run(url: str, clients: int, calls: int, seconds: float) -> list[Told]:
    together = asyncio.Barrier(clients)
    # A client is entered and left in one task, its own. One that can't connect would keep the
    # others waiting at the barrier; a task group then ends them all.
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(one_client(url, number, calls, seconds, together))
            for number in range(1, clients + 1)
        ]
    return [task.result() for task in tasks]


def first_of(error: BaseException) -> BaseException:
    """The first real error in groups of groups: each task group on its way adds one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    parser = argparse.ArgumentParser(description="Many clients at once on one server.")
    parser.add_argument("url", help="of the event stream: http://127.0.0.1:8006/sse")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--calls", type=int, default=5, help="of each client, all at once")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    options = parser.parse_args()

    # The SDK warns of each event it does not know, such as lesson 05's `connected`. What it
    # logs as an error is also raised, or shows in the table as an answer that never came.
    logging.getLogger("mcp.client.sse").setLevel(logging.CRITICAL)
    began = time.monotonic()
    try:
        told = asyncio.run(run(options.url, options.clients, options.calls, options.timeout))
    except KeyboardInterrupt:
        return
    except Exception as error:
        first = first_of(error)
        if not isinstance(first, REFUSALS):
            raise
        why = (str(first) or type(first).__name__).splitlines()[0]
        sys.exit(f"Can't talk to {options.url}: {why}")
    took = time.monotonic() - began

    print("client  session  its sums")
    for each in told:
        print(each.row())
    sessions = {each.session_id for each in told if each.session_id}
    calls = len(told) * options.calls
    print(f"\n{len(told)} clients, {len(sessions)} sessions, {calls} calls in {took:.1f} s")
    wrong = sum(not each.is_right(turn) for each in told for turn in range(options.calls))
    if wrong:
        sys.exit(f"{wrong} of them got a wrong answer, marked with an exclamation mark")
    print("Each got the answer to its own question.")


if __name__ == "__main__":
    main()
