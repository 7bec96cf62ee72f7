"""Exercise 07: a client that survives a restart of its server in the middle of a conversation.

As it is now, this client is lost when the stream ends: every later call fails, even when the
server is back, and a call that was under way waits for ever. Make it reconnect, begin a new
session, and tell its caller the truth about each call.

    uv run work/07_sdk_client/exercise.py http://127.0.0.1:8000/sse

It calls a tool once a second and prints the outcome. Restart the server while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from event_stream import EventStreamParser, EventTooLarge
from yarl import URL

Json = dict[str, Any]

HANDSHAKE_SECONDS = 10.0
POST_SECONDS = 10.0
# No limit on the total time. A stream that is silent for this long is dead.
STREAM_LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
HELLO = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "surviving-client", "version": "1.0.0"},
}


@dataclass(frozen=True)
class Settings:
    """Times in seconds."""

    answer: float = 10.0  # how long a call may take, in all
    retry: float = 1.0  # the reconnection time, until the server asks for another
    first_backoff: float = 0.5  # the limit of the first wait's random part
    longest_backoff: float = 30.0  # and its limit after many failures in a row
    most_failures: int = 10  # in a row, then it gives up


class Lost(Exception):
    """The stream ended before the reply came. The call may or may not have run."""


class NotTaken(Exception):
    """The server refused the message or never got it. The call has certainly not run."""


class Gone(Exception):
    """There will be no more sessions. The text says why."""


class RpcError(Exception):
    """The server replied with an error, or with something that is not a result."""


class Client:
    """One server, and one session with it at a time. `run` keeps it open, `call` uses it."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        settings: Settings,
        say: Callable[[str], None] = print,
    ) -> None:
        self.http = http
        self.url = URL(url)
        self.settings = settings
        self.say = say
        self.pace = Pace(settings)
        self.stream: aiohttp.ClientResponse | None = None
        self.endpoint: URL | None = None
        self.handshake: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()  # set while calls may be sent, and when it is over
        self.over: Gone | None = None
        self.waiting: dict[int, asyncio.Future[Json]] = {}  # by request id
        self.last_id = 0
        self.annotations: dict[str, Json] = {}  # by tool, as the server lists them

    async def run(self) -> None:
        """Keep a session open for as long as there can be one."""
        try:
            await self.keep_connected()
        except (Gone, EventTooLarge, ValueError) as why:
            # A server that sends something unreadable would send it again.
            self.say(f"over: {why}")
            self.over = Gone(str(why))
            self.ready.set()

    async def keep_connected(self) -> None:
        """Open one connection after another. Raises Gone."""
        while True:
            # TODO 1: Stay in this loop. `connect` returns when the server ends the stream. It
            # raises `aiohttp.ClientError` or `OSError` when the connection breaks, when
            # nothing listens, or when the answer isn't a stream. In each of these cases, say
            # what happened and go on below. Let every other exception out: `run` needs it.
            # --- solution
            try:
                await self.connect()
                self.say("the stream ended")
            except (aiohttp.ClientError, OSError) as error:
                self.say(f"no stream: {error}")
            # --- starter
            # return await self.connect()
            # --- end
            self.session_ended()
            seconds = self.pace.next_wait()
            if seconds is None:
                raise Gone("too many failures in a row")
            self.say(f"waits {seconds:.3f} s")
            await asyncio.sleep(seconds)

    async def connect(self) -> None:
        """One connection, from its opening to its end."""
        parser = EventStreamParser()
        async with self.http.get(
            self.url,
            headers={"Accept": "text/event-stream"},
            timeout=STREAM_LIMITS,
            allow_redirects=False,
        ) as stream:
            if stream.status != 200 or stream.content_type != "text/event-stream":
                raise ConnectionError(f"the answer is {stream.status} {stream.content_type}")
            self.stream = stream
            async for chunk in stream.content.iter_any():
                for event in parser.feed(chunk):
                    if event.type == "endpoint":
                        self.session_opened(event.data)
                    elif event.type == "message":
                        await self.take(json.loads(event.data))
                self.pace.server_asked(parser.reconnection_time)

    def session_opened(self, endpoint: str) -> None:
        """The stream has named the URI to POST to."""
        # TODO 2: Every stream is a new session with its own endpoint, and the server knows
        # nothing about the last one. Store the new endpoint and shake hands again, every
        # time. Then, in `session_ended`, make sure that no call is sent before that is done.
        # --- solution
        self.endpoint = self.checked(endpoint)
        self.handshake = asyncio.create_task(self.shake_hands())
        # --- starter
        # if self.endpoint is None:
        #     self.endpoint = self.checked(endpoint)
        #     self.handshake = asyncio.create_task(self.shake_hands())
        # --- end

    async def shake_hands(self) -> None:
        """Initialize, and list the tools. Then calls may be sent."""
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self.request("initialize", HELLO)
                await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
                listed = await self.request("tools/list")
        except (TimeoutError, Lost, NotTaken, RpcError) as error:
            self.say(f"no handshake: {error!r}")
            self.end_stream()
            return
        # A tool without annotations may have none, or null.
        self.annotations = {
            tool["name"]: tool.get("annotations") or {} for tool in listed.get("tools", [])
        }
        self.pace.session_began()
        self.ready.set()

    def session_ended(self) -> None:
        """The stream is gone, and its session with it."""
        if self.handshake is not None:
            self.handshake.cancel()
        # (TODO 2) Calls wait for `self.ready` before they are sent.
        # --- solution
        self.ready.clear()
        # --- end
        # TODO 3: Everything in `self.waiting` waits for a reply that would have come on that
        # stream. Make each of these waits end with Lost, using `set_exception`. A future that
        # is done already has its reply: leave it alone. Then empty `self.waiting`.
        # --- solution
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(Lost("the stream ended before the reply came"))
        self.waiting.clear()
        # --- end

    def end_stream(self) -> None:
        """Give this session up: end its stream, and `keep_connected` opens the next one."""
        self.ready.clear()
        if self.stream is not None:
            self.stream.close()

    async def call(self, tool: str, arguments: Json) -> Json:
        """Call a tool, in this session or the next, and return its result.

        Raises Lost, Gone, RpcError, and TimeoutError after `settings.answer` seconds.
        """
        # TODO 4: A reply may never come although the stream is fine. Don't let any of this
        # take longer than `self.settings.answer` seconds.
        # --- solution
        async with asyncio.timeout(self.settings.answer):
            return await self.call_until_told(tool, arguments)
        # --- starter
        # return await self.call_until_told(tool, arguments)
        # --- end

    async def call_until_told(self, tool: str, arguments: Json) -> Json:
        params = {"name": tool, "arguments": arguments}
        while True:
            await self.ready.wait()
            if self.over is not None:
                raise self.over
            # TODO 5: After NotTaken the call has certainly not run, and this session is no
            # good: call `end_stream` and go round again. After Lost nobody knows whether the
            # call ran: go round again if `may_repeat` allows it, otherwise raise Lost.
            # --- solution
            try:
                return await self.request("tools/call", params)
            except NotTaken:
                self.end_stream()
            except Lost:
                if not self.may_repeat(tool):
                    raise
            # --- starter
            # return await self.request("tools/call", params)
            # --- end

    def may_repeat(self, tool: str) -> bool:
        """Whether calling the tool twice does no more than calling it once."""
        # (TODO 5) That is so if its annotations, in `self.annotations`, say that it changes
        # nothing (`readOnlyHint`) or that a second call changes nothing more
        # (`idempotentHint`). A hint that is missing counts as false.
        # --- solution
        annotations = self.annotations.get(tool, {})
        return bool(annotations.get("readOnlyHint") or annotations.get("idempotentHint"))
        # --- starter
        # return False
        # --- end

    def checked(self, endpoint: str) -> URL:
        """The endpoint as a whole URL. Raises Gone unless it is on the server itself."""
        url = self.url.join(URL(endpoint))
        # TODO 6: Everything we POST goes where the server says. Raise Gone unless `url` is on
        # the server that we connected to, `self.url`: same scheme, same host, same port.
        # --- solution
        if url.origin() != self.url.origin():
            raise Gone(f"the endpoint {url} is on another server")
        # --- end
        return url

    # From here on everything is given: sending requests and taking replies.

    async def request(self, method: str, params: Json | None = None) -> Json:
        """Send a request and await its reply. Raises Lost, NotTaken, RpcError."""
        self.last_id += 1
        request_id = self.last_id
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self.waiting[request_id] = future
        message: Json = {"jsonrpc": "2.0", "id": request_id, "method": method}
        if params is not None:
            message["params"] = params
        try:
            await self.post(message)
            reply = await future
        finally:
            self.waiting.pop(request_id, None)
        result = reply.get("result")
        if not isinstance(result, dict):
            raise RpcError(f"{method} failed: {json.dumps(reply.get('error'))}")
        return result

    async def post(self, message: Json) -> None:
        """POST a message to the endpoint. Raises NotTaken, or Lost if nobody can know."""
        assert self.endpoint is not None
        limits = aiohttp.ClientTimeout(total=POST_SECONDS)
        try:
            async with self.http.post(
                self.endpoint, json=message, timeout=limits, allow_redirects=False
            ) as response:
                status = response.status
        except aiohttp.ClientConnectorError:
            raise NotTaken("nothing listens there") from None
        except (aiohttp.ClientError, OSError) as error:
            # It broke on the way there or on the way back.
            raise Lost(f"the POST broke: {error}") from None
        if 300 <= status < 500:
            raise NotTaken(f"the POST was answered with {status}")
        if not 200 <= status < 300:
            raise Lost(f"the POST was answered with {status}")

    async def take(self, message: Any) -> None:
        """Take a message that has come: a reply, or a request from the server.

        Raises ValueError for anything that is not a message.
        """
        if not isinstance(message, dict):
            raise ValueError("the server sent JSON that is not a message")
        if "method" not in message:
            # A reply after the time limit finds nobody waiting. And `true` is not one of our
            # ids, although in Python it is an int and equals 1.
            reply_id = message.get("id")
            future = self.waiting.get(reply_id) if type(reply_id) is int else None
            if future is not None and not future.done():
                future.set_result(message)
        elif message["method"] == "ping":
            with contextlib.suppress(Lost, NotTaken):  # then the stream won't last either
                await self.post({"jsonrpc": "2.0", "id": message["id"], "result": {}})


class Pace:
    """How long to wait before reconnecting."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.retry = settings.retry
        self.failures = 0

    def session_began(self) -> None:
        """The handshake is done, which ends this run of failures."""
        self.failures = 0

    def server_asked(self, reconnection_time: int | None) -> None:
        """`reconnection_time` is what the stream asked for, in milliseconds, or None."""
        # TODO 7: Store it as `self.retry`, in seconds, until the server asks for another.
        # --- solution
        if reconnection_time is not None:
            self.retry = reconnection_time / 1_000
        # --- end

    def next_wait(self) -> float | None:
        """Seconds to wait before the next connection, or None to give up."""
        # (TODO 7) None after `most_failures` waits in a row that led to no session. Otherwise,
        # as in lesson 03: `self.retry`, and on top of it a random time from 0 up to a limit.
        # The limit is `first_backoff` the first time, doubles with each failure, and stops
        # growing at `longest_backoff`.
        # --- solution
        if self.failures >= self.settings.most_failures:
            return None
        doubled = self.settings.first_backoff * 2.0 ** min(self.failures, 64)
        self.failures += 1
        return self.retry + random.uniform(0, min(self.settings.longest_backoff, doubled))
        # --- starter
        # return random.uniform(0.05, 0.1)
        # --- end


def say_how_it_ended(keeping: asyncio.Task[None]) -> None:
    if not keeping.cancelled():
        error = keeping.exception()
        print(f"`run` has ended: {error!r}" if error else "`run` has ended without an error")


async def call_again_and_again(url: str, tool: str, arguments: Json, every: float) -> None:
    """Call the tool until the server is gone for good. Print the outcome of each call."""
    async with aiohttp.ClientSession() as http:
        client = Client(http, url, Settings())
        keeping = asyncio.create_task(client.run())
        keeping.add_done_callback(say_how_it_ended)
        try:
            while client.over is None:
                try:
                    result = await client.call(tool, arguments)
                    print(f"{tool} says: {result['content'][0]['text']}")
                except (Lost, NotTaken, Gone, RpcError, TimeoutError) as error:
                    print(f"{tool}: {type(error).__name__}: {error}")
                await asyncio.sleep(every)
        finally:
            # At Ctrl-C, a handshake that is still going on must not find `http` closed.
            keeping.cancel()
            client.session_ended()


def main() -> None:
    parser = argparse.ArgumentParser(description="Call a tool again and again.")
    parser.add_argument("url")
    parser.add_argument("tool", nargs="?", default="add")
    parser.add_argument("arguments", nargs="?", type=json.loads, default={"a": 2, "b": 5})
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            call_again_and_again(options.url, options.tool, options.arguments, options.every)
        )


if __name__ == "__main__":
    main()
