"""An event hub as MCP tools: subscribe, publish, and read what has come since.

uv run scripts/03_event_hub/hub_server.py
uv run scripts/08_agent/event_server.py
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import aiohttp
from door import allowed
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from serving import lifespan, serve
from sse_client import SSEClient, SSEError
from starlette.applications import Starlette
from starlette.routing import Mount

HUB_URL = os.environ.get("HUB_URL", "http://127.0.0.1:3000")
START_THE_HUB = "In another terminal, start it: uv run scripts/03_event_hub/hub_server.py"

MOST_SUBSCRIPTIONS = 20
MOST_EVENTS = 100  # that wait for one reader; the oldest goes first

EventType = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="The type of the events, such as user_events.",
    ),
]


@dataclass
class Reader:
    """One MCP session's subscriptions, and the events that it has not read yet."""

    hub: SSEClient
    types: list[str] = field(default_factory=list)
    events: deque[dict[str, Any]] = field(default_factory=deque)
    dropped: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, type: str, data: dict[str, Any]) -> None:
        """Keep an event until it is read. No reader may fill the memory."""
        if len(self.events) >= MOST_EVENTS:
            self.events.popleft()
            self.dropped += 1
        self.events.append({"type": type, "data": data})
        self.news.set()

    async def arrival(self, type: str, data: dict[str, Any]) -> None:
        """Wait, for a second at most, until this event has come back from the hub."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while {"type": type, "data": data} not in self.events:
                    self.news.clear()
                    await self.news.wait()


@asynccontextmanager
async def one_session(server: MCPServer[Reader]) -> AsyncIterator[Reader]:
    """Over SSE the SDK enters this for each session, and leaves it when the session ends.

    So no reader sees what another has subscribed to, and none stays behind.
    """
    hub = SSEClient(HUB_URL)
    async with AsyncExitStack() as stack:
        # Closed at the end, but not opened yet: the hub may be started later.
        stack.push_async_exit(hub)
        yield Reader(hub)


server = MCPServer("sse-event-assistant", version="1.0.0", lifespan=one_session)


@server.tool()
async def subscribe(event_type: EventType, ctx: Context[Reader]) -> str:
    """Subscribe to the events of a type, from now on."""
    reader = reader_of(ctx)
    if event_type in reader.types:
        return f"Already subscribed to {event_type}."
    if len(reader.types) >= MOST_SUBSCRIPTIONS:
        raise ToolError(f"{MOST_SUBSCRIPTIONS} subscriptions are the limit. Drop one first.")
    try:
        await reader.hub.connect()
        await reader.hub.subscribe(event_type, lambda data: reader.take(event_type, data))
    except SSEError as error:
        raise hub_failed(error) from None
    reader.types.append(event_type)
    return f"Subscribed to {event_type}."


@server.tool()
async def unsubscribe(event_type: EventType, ctx: Context[Reader]) -> str:
    """Unsubscribe from the events of a type."""
    reader = reader_of(ctx)
    if event_type not in reader.types:
        return f"Not subscribed to {event_type}."
    reader.types.remove(event_type)
    await reader.hub.unsubscribe(event_type)
    return f"Unsubscribed from {event_type}."


@server.tool()
async def send_event(
    event_type: EventType,
    message: Annotated[str, Field(description="What happened, such as 'Ada logged in'.")],
    ctx: Context[Reader],
) -> str:
    """Send an event: publish a message to everyone who listens to its type."""
    reader = reader_of(ctx)
    data = {"message": message}
    try:
        await reader.hub.connect()
        sent = await reader.hub.send_event(event_type, data)
    except SSEError as error:
        raise hub_failed(error) from None
    if event_type in reader.types:
        # The hub answers the POST before the stream delivers the event. The model may read
        # its events next, and should find this one among them.
        await reader.arrival(event_type, data)
    return f"Sent as event {sent['id']}. Subscribers: {sent['receivers']}."


@server.tool()
async def read_events(ctx: Context[Reader]) -> str:
    """Read the events that have come since they were last read."""
    reader = reader_of(ctx)
    lines = [f"{event['type']} {json.dumps(event['data'])}" for event in reader.events]
    reader.events.clear()
    if reader.dropped:
        lines.insert(0, f"({reader.dropped} older events were dropped: nobody read them.)")
        reader.dropped = 0
    return "\n".join(lines) or "No new events."


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
async def close_event_type(event_type: EventType) -> str:
    """Close a type of events for good, for everyone: nothing can be sent to it any more."""
    url = f"{HUB_URL}/events/{event_type}"
    try:
        async with aiohttp.ClientSession() as http, http.delete(url) as response:
            if response.status != 200:
                raise ToolError(f"{response.status} {(await response.text())[:200]}")
            told = (await response.json())["receivers"]
    except aiohttp.ClientError as error:
        raise hub_failed(error) from None
    return f"Closed {event_type}. Subscribers told: {told}."


@server.tool()
async def list_subscriptions(ctx: Context[Reader]) -> list[str]:
    """List the types of events that are subscribed to."""
    return reader_of(ctx).types


def hub_failed(error: Exception) -> ToolError:
    """What the model is told when the hub is not there, or refuses."""
    return ToolError(f"{str(error).partition(' (')[0]} {START_THE_HUB}")


def reader_of(ctx: Context[Reader]) -> Reader:
    """The state of the session that the call came in."""
    return ctx.request_context.lifespan_context


def create_app() -> Starlette:
    """The server as an ASGI app, which lets in the hosts and origins that the door allows."""
    mcp_app = server.sse_app(transport_security=allowed())
    return Starlette(routes=[Mount("/", app=mcp_app)], lifespan=lifespan)


app = create_app()


if __name__ == "__main__":
    serve(app, "uv run scripts/08_agent/event_agent.py {url}", port=8018)
