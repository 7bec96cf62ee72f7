"""What an SDK client asks before anything else, and what it can do afterwards.

It connects twice, in both of the SDK's modes, and prints each message on its way.

    uv run scripts/06_sdk_server/negotiation.py http://127.0.0.1:8036/sse
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from connecting import run_client
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp.client.sse import sse_client
from mcp.shared.message import SessionMessage
from mcp_types import ElicitRequestParams, ElicitResult

# The fields of parameters and results that this program is about.
SHOWN = ("protocolVersion", "supportedVersions", "name", "message", "structuredContent")


def brief(message: SessionMessage) -> str:
    """A JSON-RPC message in one line: its method, or `result`, and the fields that matter."""
    fields: dict[str, Any] = message.message.model_dump(by_alias=True, exclude_unset=True)
    if "method" in fields:
        title, body = fields["method"], fields.get("params", {})
    else:
        title = "error" if "error" in fields else "result"
        body = fields[title]
    shown = {name: body[name] for name in SHOWN if name in body}
    return f"{title} {json.dumps(shown)}" if shown else title


@asynccontextmanager
async def printed(url: str) -> AsyncIterator[tuple[Any, Any]]:
    """The streams of `sse_client`, with a print between them and the client."""
    inbox, from_server = anyio.create_memory_object_stream[SessionMessage | Exception]()
    to_server, outbox = anyio.create_memory_object_stream[SessionMessage]()

    async with sse_client(url) as (read, write), anyio.create_task_group() as tasks:

        async def pass_in() -> None:
            async with inbox:
                async for message in read:
                    if isinstance(message, SessionMessage):
                        print("  server:", brief(message))
                    await inbox.send(message)

        async def pass_out() -> None:
            async for message in outbox:
                print("  client:", brief(message))
                await write.send(message)

        tasks.start_soon(pass_in)
        tasks.start_soon(pass_out)
        yield from_server, to_server
        tasks.cancel_scope.cancel()


async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """What the user would type when the server asks: divide by 4."""
    return ElicitResult(action="accept", content={"b": 4})


async def talk(url: str, mode: str) -> None:
    print(f'mode="{mode}"')
    async with Client(printed(url), mode=mode, elicitation_callback=answer) as client:
        try:
            await client.call_tool("divide", {"a": 1, "b": 0})
        except MCPError:
            print("  The call failed.")


async def main(url: str) -> None:
    await talk(url, "legacy")
    await talk(url, "auto")


if __name__ == "__main__":
    run_client(main, "asking_calculator.py http://127.0.0.1:8036/sse")
