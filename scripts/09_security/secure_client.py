"""Fixed: a client that sends its token nowhere else, and leaves a server that goes too far.

    uv run scripts/09_security/secure_client.py http://127.0.0.1:8019/sse --token TOKEN

If others use this machine, too, put the token into the variable TOKEN instead: `ps` shows every
command line to everybody.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from event_stream import Event, EventStreamParser, EventTooLarge

MAX_EVENT = 1024 * 1024  # characters
SECONDS = 10.0  # for each thing that we wait for: an answer, the endpoint, a reply


class Refused(Exception):
    """We do not go on with this server. The text says why."""


# --- Where to send ----------------------------------------------------------------------


def endpoint_of(stream: httpx2.URL, told: str) -> httpx2.URL:
    """The URL that an endpoint event tells us to POST to. Raises Refused.

    The token is meant for the server that we were started with. Its origin is scheme, host and
    port together: another port is another server.
    """
    # Programs disagree about what a backslash or a space in a URL means: allow none.
    if not told.isprintable() or "\\" in told or " " in told:
        raise Refused(f"the endpoint is not a URL: {told[:40]!r}")
    try:
        # Joined by the library that will connect, so that both see the same host in it.
        endpoint = stream.join(told)
    except httpx2.InvalidURL:
        raise Refused(f"the endpoint is not a URL: {told[:40]!r}") from None
    if origin(endpoint) != origin(stream) or endpoint.userinfo:
        raise Refused(f"the endpoint is elsewhere: {str(endpoint)[:45]}")
    return endpoint


def origin(url: httpx2.URL) -> tuple[str, bytes, int | None]:
    """RFC 6454, section 4."""
    return url.scheme, url.raw_host, url.port or {"http": 80, "https": 443}.get(url.scheme)


# --- The connection ---------------------------------------------------------------------


class Connection:
    """A session with a server: `ask` sends a request and waits for its reply."""

    def __init__(self, http: httpx2.AsyncClient, events: AsyncIterator[Event]) -> None:
        self.http = http
        self.events = events
        self.endpoint: httpx2.URL | None = None
        self.last_id = 0

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.last_id += 1
        request_id = self.last_id
        await self.send({"id": request_id, "method": method, "params": params})
        async with in_time(f"no reply to {method}"):
            async for event in self.events:
                if event.type == "message":
                    message = read_message(event.data)
                    if message.get("id") == request_id and "method" not in message:
                        return result_of(message)
        raise Refused("the stream is over")

    async def send(self, message: dict[str, Any]) -> None:
        assert self.endpoint
        async with (
            in_time("no answer to a message"),
            # The body is not read: nobody needs it, and it may never end.
            self.http.stream(
                "POST", self.endpoint, json={"jsonrpc": "2.0", **message}
            ) as answer,
        ):
            check_status(answer, "POST")


@asynccontextmanager
async def connected(url: httpx2.URL, token: str) -> AsyncIterator[Connection]:
    """Open the stream and wait for the endpoint. Raises Refused."""
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    async with (
        # A 307 must not send us elsewhere, either.
        httpx2.AsyncClient(headers=headers, follow_redirects=False, timeout=None) as http,
        AsyncExitStack() as stack,
    ):
        async with in_time("no answer to GET"):
            response = await stack.enter_async_context(http.stream("GET", url))
        check_status(response, "GET")
        if "content-encoding" in response.headers:
            # A compressed kilobyte may unpack to a megabyte, before anything is counted.
            raise Refused("the stream is compressed, although we did not ask for that")
        connection = Connection(http, read_events(response))
        async with in_time("no endpoint"):
            async for event in connection.events:
                if event.type == "endpoint":
                    connection.endpoint = endpoint_of(url, event.data)
                    break
            else:
                raise Refused("the stream is over")
        yield connection


def check_status(answer: httpx2.Response, method: str) -> None:
    if answer.is_redirect:
        elsewhere = answer.headers.get("location", "")[:40]
        raise Refused(f"{method} is answered with a redirect to {elsewhere!r}")
    if not answer.is_success:
        raise Refused(f"{method} is answered with {answer.status_code}")


async def read_events(response: httpx2.Response) -> AsyncIterator[Event]:
    parser = EventStreamParser(max_event_size=MAX_EVENT)
    async for chunk in response.aiter_raw():
        for event in parser.feed(chunk):
            yield event


@asynccontextmanager
async def in_time(otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError:
        raise Refused(f"{otherwise} within {SECONDS:g} s") from None


# --- Messages ---------------------------------------------------------------------------


def read_message(data: str) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("a message is not JSON") from None
    if not isinstance(message, dict):
        raise Refused("a message is not a JSON object")
    return message


def result_of(reply: dict[str, Any]) -> dict[str, Any]:
    match reply:
        case {"result": dict(result)}:
            return result
        case {"error": {"message": str(text)}}:
            raise Refused(f"it says: {text[:60]}")
    raise Refused("a reply has no result")


async def run(url: httpx2.URL, token: str) -> None:
    async with connected(url, token) as server:
        client = {"name": "secure-client", "version": "1.0.0"}
        start = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}
        await server.ask("initialize", start)
        await server.send({"method": "notifications/initialized"})
        tools = await server.ask("tools/list", {})
        match tools:
            case {"tools": list(found)}:
                names = [str(tool.get("name")) for tool in found if isinstance(tool, dict)]
                say("Tools: " + ", ".join(names))
        call = {"name": "echo", "arguments": {"message": "Hello"}}
        result = await server.ask("tools/call", call)
        match result:
            case {"content": [{"type": "text", "text": str(text)}]}:
                say(f"echo: {text}")


def say(text: str) -> None:
    """What a server sends is shown, and never obeyed by the terminal."""
    print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Call echo on a server.")
    parser.add_argument("url", help="the event stream, such as http://127.0.0.1:8019/sse")
    parser.add_argument("--token", default=os.environ.get("TOKEN", ""))
    chosen = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `&` may have left it ignored
    try:
        asyncio.run(run(httpx2.URL(chosen.url), chosen.token))
    except (Refused, EventTooLarge) as reason:
        say(f"Refused: {reason}")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        say(f"Lost: {type(error).__name__} {error}")
    except KeyboardInterrupt:
        return 130  # a shell's status for a program that Ctrl-C ended
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
