"""The target of an attack, and what its attacker knows and can do."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
from event_stream import Event, EventStreamParser

# Created once: reading all the authorities that a machine trusts takes 50 ms.
TRUST = ssl.create_default_context()
SOON = 2.0  # seconds: what has not arrived by then will not arrive


class NotTried(Exception):
    """The attack needs something that is not here. The text says what."""


@dataclass
class Server:
    """A server under attack.

    Alice uses the server, and knows nothing of the attack. Mallory is a customer as well, and
    attacks. Each has a token; the open server has one for both.
    """

    url: str  # without /sse: http://127.0.0.1:8009
    alice: str
    mallory: str
    log: Callable[[], str] | None = None  # what the server has printed so far
    canary: str | None = None  # is in a file beside the folder of notes
    notes: Path | None = None  # that folder
    pid: int | None = None
    patience: float = 15.0  # a server that waits longer than this is taken to wait for ever
    post_path: str = "/message"

    @asynccontextmanager
    async def open(
        self, token: str, query: str = "", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """GET /sse. Raises Refused if it is not a stream."""
        async with (
            httpx2.AsyncClient(timeout=httpx2.Timeout(SOON, read=None), verify=TRUST) as client,
            client.stream(
                "GET", f"{self.url}/sse{query}", headers={**bearer(token), **(headers or {})}
            ) as response,
        ):
            if response.status_code != 200:
                raise Refused(f"GET /sse: {response.status_code}")
            stream = Stream(self, token, response)
            try:
                yield stream
            finally:
                await stream.close()

    @property
    def post_url(self) -> str:
        return urljoin(self.url, self.post_path)

    async def post(
        self, session_id: str, message: object, headers: Mapping[str, str]
    ) -> httpx2.Response:
        """POST a message to a session, as JSON."""
        async with httpx2.AsyncClient(timeout=SOON, verify=TRUST) as client:
            return await client.post(
                self.post_url,
                params={"session_id": session_id},
                json=message,
                headers=headers,
            )


class Refused(Exception):
    """The server did not do what it was asked. The text is the status."""


class Stream:
    """An open event stream: what has arrived is in `events`, and `next` waits for more."""

    def __init__(self, server: Server, token: str, response: httpx2.Response) -> None:
        self.server = server
        self.token = token
        self.headers = response.headers
        self.events: list[Event] = []
        self.session_id = ""
        self.came = asyncio.Condition()
        self.over = False
        self.reading = asyncio.create_task(self.read(response))

    async def read(self, response: httpx2.Response) -> None:
        parser = EventStreamParser()
        with suppress(httpx2.HTTPError):
            async for chunk in response.aiter_bytes():
                async with self.came:
                    self.events += parser.feed(chunk)
                    self.came.notify_all()
        async with self.came:
            self.over = True
            self.came.notify_all()

    async def next(self, wanted: Callable[[Event], bool], seconds: float = SOON) -> Event:
        """The first wanted event, of those that have arrived and those that will.

        Raises TimeoutError if none comes.
        """
        seen = 0
        async with asyncio.timeout(seconds), self.came:
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                seen = len(self.events)
                if self.over:
                    raise TimeoutError
                await self.came.wait()

    async def endpoint(self) -> str:
        """The path that the server tells the client to POST to. Notes the session's id."""
        event = await self.next(lambda event: event.type == "endpoint")
        self.session_id = event.data.rpartition("session_id=")[2]
        return event.data

    async def send(self, message: object) -> int:
        """POST a message in this session, as its owner. Returns the status."""
        if not self.session_id:
            await self.endpoint()
        answer = await self.server.post(self.session_id, message, bearer(self.token))
        return answer.status_code

    async def initialize(self) -> None:
        """The handshake: before it, a server need not answer anything else."""
        await self.send(request(0, "initialize", INITIALIZE))
        await self.reply(0)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def reply(self, request_id: object, seconds: float = SOON) -> Event:
        """The reply to a request. Raises TimeoutError if none comes."""
        return await self.next(lambda event: is_reply(event, request_id), seconds)

    async def close(self) -> None:
        self.reading.cancel()
        with suppress(asyncio.CancelledError):
            await self.reading


INITIALIZE: dict[str, Any] = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "attack", "version": "1.0.0"},
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def request(request_id: object, method: str, params: object = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}


def call(request_id: object, tool: str, **arguments: object) -> dict[str, Any]:
    """A call of a tool."""
    return request(request_id, "tools/call", {"name": tool, "arguments": arguments})


def said(reply: Event) -> str:
    """The text in the result of a call."""
    return json.loads(reply.data)["result"]["content"][0]["text"]


def is_reply(event: Event, request_id: object) -> bool:
    if event.type != "message":
        return False
    message = json.loads(event.data)
    return "method" not in message and message.get("id") == request_id
