"""One client of load.py: it opens a stream, calls a tool, and records the times.

It is as persistent as a client should be: when its stream ends, it waits as long as the server
has asked it to (`retry`), opens another one, and initializes a new session.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from event_stream import Event, EventStreamParser, EventTooLarge

REPLY_SECONDS = 10.0
RETRY_SECONDS = 1.0  # unless the server says `retry`

INITIALIZE = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "load", "version": "1.0.0"},
}


class Failed(Exception):
    """A request without a result. The text is the kind of failure, for counting."""


@dataclass
class Results:
    """What all the clients saw. Times are in seconds."""

    seconds: list[float] = field(default_factory=list)  # from each call to its reply
    sent: int = 0  # messages that were answered with 202
    errors: Counter[str] = field(default_factory=Counter)
    opened: int = 0  # streams
    ended: int = 0  # streams that we did not end
    came_back: list[float] = field(default_factory=list)  # how long after its stream ended


class LoadClient:
    """A client with one stream. It opens another one when that ends."""

    def __init__(self, http: aiohttp.ClientSession, url: str, results: Results) -> None:
        self.http = http
        self.url = url
        self.results = results
        self.endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.next_id = 0
        self.retry_seconds = RETRY_SECONDS
        self.ready = asyncio.Event()  # the stream is open, and the session initialized

    async def stay(self) -> None:
        """Keep a stream open, until cancelled."""
        ended_at: float | None = None
        while True:
            handshake = asyncio.create_task(self.handshake(ended_at))
            try:
                await self.read_stream()
            except (aiohttp.ClientError, OSError, ValueError, EventTooLarge, Failed) as error:
                self.results.errors[kind_of(error)] += 1
            finally:
                handshake.cancel()
            self.ready.clear()
            if self.endpoint.done():  # a stream has ended, and did not merely fail to open
                self.results.ended += 1
                ended_at = time.monotonic()
                self.endpoint = asyncio.get_running_loop().create_future()
            for reply in self.waiting.values():
                if not reply.done():
                    reply.set_exception(Failed("stream ended before the reply"))
            await asyncio.sleep(self.retry_seconds)

    async def read_stream(self) -> None:
        """Open a stream, and handle what comes until it ends."""
        async with self.http.get(self.url) as response:
            if response.status != 200:
                raise Failed(f"GET {response.status}")
            self.results.opened += 1
            parser = EventStreamParser()
            async for chunk in response.content.iter_any():
                for event in parser.feed(chunk):
                    self.take(event)
                if parser.reconnection_time is not None:
                    self.retry_seconds = parser.reconnection_time / 1000

    def take(self, event: Event) -> None:
        if event.type == "endpoint" and not self.endpoint.done():
            endpoint = urljoin(self.url, event.data)
            # A server may not send us, with a load, to somebody else.
            if urlsplit(endpoint)[:2] != urlsplit(self.url)[:2]:
                raise Failed("endpoint on another origin")
            self.endpoint.set_result(endpoint)
        elif event.type == "message":
            message = json.loads(event.data)
            number = message.get("id") if isinstance(message, dict) else None
            reply = self.waiting.get(number) if isinstance(number, int) else None
            if reply is not None and not reply.done():
                reply.set_result(message)

    async def handshake(self, ended_at: float | None) -> None:
        """Each stream is a new session, and a session begins with `initialize`."""
        try:
            await self.request("initialize", INITIALIZE)
        except Failed as error:
            self.results.errors[str(error)] += 1
            return
        if ended_at is not None:
            self.results.came_back.append(time.monotonic() - ended_at)
        self.ready.set()

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a request. Raises Failed."""
        endpoint = await asyncio.shield(self.endpoint)
        self.next_id += 1
        number = self.next_id
        reply = self.waiting[number] = asyncio.get_running_loop().create_future()
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                async with self.http.post(endpoint, json=message) as answer:
                    if answer.status != 202:
                        raise Failed(f"POST {answer.status}")
                self.results.sent += 1
                answered = await reply
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise Failed(kind_of(error)) from error
        finally:
            del self.waiting[number]
            reply.cancel()
        match answered:
            case {"error": {"code": code}}:
                raise Failed(f"error {code}")
            case {"result": {"isError": True}}:
                raise Failed("tool failed")
            case {"result": dict(result)}:
                return result
        raise Failed("not a reply")

    async def call(self, tool: str, arguments: dict[str, Any]) -> None:
        """Make one call, and put its time or its error into the results."""
        began = time.perf_counter()
        try:
            await self.request("tools/call", {"name": tool, "arguments": arguments})
        except Failed as error:
            self.results.errors[str(error)] += 1
        else:
            self.results.seconds.append(time.perf_counter() - began)


def kind_of(error: Exception) -> str:
    """The kind of an error, in words, without details: with them, each would be a kind."""
    match error:
        case Failed():
            return str(error)
        case TimeoutError():
            return f"no reply in {REPLY_SECONDS:g} s"
        case aiohttp.ClientConnectorError():
            return "cannot connect"
        case aiohttp.ClientPayloadError():
            return "stream cut off"
        case aiohttp.ClientError() | OSError():
            return "connection lost"
        case ValueError():
            return "neither JSON nor a URL"
    return type(error).__name__
