"""One conversation of an MCP client over HTTP+SSE, without the SDK, as a transcript.

`Transport` does what `sse_client` of the official SDK does: an event stream brings the
messages, and each message of our own is a POST. `Session` does what `ClientSession` does:
it numbers the requests, finds the request that a reply belongs to, and shakes hands first.

    uv run scripts/07_sdk_client/inside_the_client.py http://127.0.0.1:8006/sse
    uv run scripts/07_sdk_client/inside_the_client.py http://127.0.0.1:8006/sse \\
        subtract '{"a": 2, "b": 5}'
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from event_stream import Event, EventStreamParser, EventTooLarge
from yarl import URL

Json = dict[str, Any]

# The newest revision that begins with `initialize`. A server that does not know it answers
# with one that it knows. HTTP+SSE itself comes from the oldest revision.
LATEST_VERSION = "2025-11-25"
KNOWN_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", LATEST_VERSION)
CLIENT_INFO = {"name": "inside-the-client", "version": "1.0.0"}

METHOD_NOT_FOUND = -32601

# In seconds. Servers send a comment or a heartbeat every 15 s or so: after 60 s without a byte,
# four of them are missing.
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 60.0
ANSWER_SECONDS = 30.0

COLUMNS = 80
MOST_LINES = 3  # of one entry of the transcript, unless --whole


class ConversationError(Exception):
    """The conversation can't begin, or can't go on. The text says why."""


class Transcript:
    """Prints what goes over the wire, numbered, in 80 columns: `->` sent, `<-` received."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.number = 0

    def sent(self, text: str) -> None:
        self._print("->", text)

    def came(self, text: str) -> None:
        self._print("<-", text)

    def _print(self, arrow: str, text: str) -> None:
        self.number += 1
        text = printable(text)
        head = f"{self.number:2} {arrow} "
        width = COLUMNS - len(head)
        lines = [text[start : start + width] for start in range(0, len(text), width)]
        if len(lines) > MOST_LINES and not self.whole:
            lines = lines[:MOST_LINES]
            lines[-1] = f"{lines[-1][:-2]} …"
        print(head + ("\n" + " " * len(head)).join(lines), flush=True)


def printable(text: str) -> str:
    """What a server sends is shown and never obeyed: no control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Transport:
    """Brings the server's messages and takes ours: what `sse_client` does.

    Open it first. It is done when `stream` is closed.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        stream: aiohttp.ClientResponse,
        transcript: Transcript,
        answer_seconds: float,
    ) -> None:
        self.http = http
        self.stream = stream
        self.transcript = transcript
        self.answer_seconds = answer_seconds
        self.endpoint = URL()
        self._events = self._read_events()

    async def open(self) -> None:
        """Check the head of the answer and wait for the endpoint. Raises ConversationError."""
        answer = f"{self.stream.status} {self.stream.reason}"
        self.transcript.came(f"{answer}, {self.stream.content_type}")
        if self.stream.status != 200:
            raise ConversationError(f"{self.stream.url} answers {await refusal(self.stream)}")
        if self.stream.content_type != "text/event-stream":
            raise ConversationError(
                f"{self.stream.url} answers with {self.stream.content_type}, "
                "which is not an event stream"
            )
        try:
            async with asyncio.timeout(self.answer_seconds):
                async for event in self._events:
                    if event.type == "endpoint":
                        self.endpoint = self._checked(event.data)
                        return
        except TimeoutError:
            raise ConversationError(
                f"No event `endpoint` within {self.answer_seconds:g} s: "
                "it is an event stream, but not one of an MCP server over HTTP+SSE"
            ) from None
        raise ConversationError("The stream ended before it named an endpoint")

    def _checked(self, endpoint: str) -> URL:
        """The URL to POST to. Raises ConversationError if it is not on the stream's origin.

        What we POST may be secret. A server that could send it anywhere could make us send
        requests to any machine that we can reach.
        """
        stream = self.stream.url
        try:
            url = stream.join(URL(endpoint, encoded=True))
            if url.origin() == stream.origin():
                return url
        except ValueError:
            pass  # not a URL at all, or one without an origin
        raise ConversationError(
            f"The endpoint {endpoint} is not on {stream.origin()}: nothing was sent there"
        )

    async def _read_events(self) -> AsyncIterator[Event]:
        """The events as they come, until the stream ends. Raises ConversationError."""
        parser = EventStreamParser()
        try:
            async for chunk in self.stream.content.iter_any():
                for event in parser.feed(chunk):
                    self.transcript.came(f"event {event.type} {event.data}")
                    yield event
        except aiohttp.SocketTimeoutError:
            raise ConversationError(f"Not a byte for {SILENT_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, EventTooLarge) as error:
            raise ConversationError(f"The stream broke: {error}") from None

    async def messages(self) -> AsyncIterator[Json]:
        """The messages as they come. Events of other types are not for us."""
        async for event in self._events:
            if event.type == "message":
                try:
                    yield json_object(event.data)
                except ValueError:
                    raise ConversationError(f"Not a message: {event.data[:60]!r}") from None

    async def send(self, message: Json) -> None:
        """POST a message. Raises ConversationError if it was not accepted."""
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        self.transcript.sent(f"POST {body}")
        try:
            async with self.http.post(
                self.endpoint,
                data=body.encode(),
                headers={"Content-Type": "application/json"},
                # Following a redirect would send the message to an address that nobody checked.
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self.answer_seconds),
            ) as response:
                self.transcript.came(f"{response.status} {response.reason}")
                # The specification names no status. By convention it is 202.
                if not 200 <= response.status < 300:
                    raise ConversationError(f"The POST was refused: {await refusal(response)}")
        except TimeoutError:
            raise ConversationError(
                f"No answer to the POST in {self.answer_seconds:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: something in the message or the endpoint can't be encoded.
            raise ConversationError(f"The POST failed: {error}") from None


class Session:
    """Sends requests and gets replies: what `ClientSession` does. `read` runs meanwhile."""

    def __init__(self, transport: Transport, answer_seconds: float) -> None:
        self.transport = transport
        self.answer_seconds = answer_seconds
        self.last_id = 0
        self.waiting: dict[int, asyncio.Future[Json]] = {}
        self.over: ConversationError | None = None

    async def initialize(self) -> Json:
        """Shake hands: the request, its reply, and the notification that it was understood."""
        result = await self.request(
            "initialize",
            {
                "protocolVersion": LATEST_VERSION,
                "capabilities": {},
                "clientInfo": CLIENT_INFO,
            },
        )
        if result.get("protocolVersion") not in KNOWN_VERSIONS:
            raise ConversationError(
                f"The server speaks {result.get('protocolVersion')}, which we don't"
            )
        await self.transport.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    async def request(self, method: str, params: Json | None = None) -> Json:
        """Send a request and return the result. Raises ConversationError."""
        if self.over is not None:
            raise self.over
        self.last_id += 1
        message: Json = {"jsonrpc": "2.0", "id": self.last_id, "method": method}
        if params is not None:
            message["params"] = params
        # Before the POST, because the reply may overtake the 202.
        future = self.waiting[self.last_id] = asyncio.get_running_loop().create_future()
        try:
            await self.transport.send(message)
            async with asyncio.timeout(self.answer_seconds):
                reply = await future
        except TimeoutError:
            raise ConversationError(
                f"No reply to {method} within {self.answer_seconds:g} s"
            ) from None
        finally:
            del self.waiting[message["id"]]
        if not isinstance(reply.get("result"), dict):
            raise ConversationError(f"{method} failed: {json.dumps(reply.get('error'))}")
        return reply["result"]

    async def read(self) -> None:
        """Take what arrives until the stream ends. Then end every wait."""
        try:
            async for message in self.transport.messages():
                await self._take(message)
            self.over = ConversationError("The stream ended")
        except ConversationError as error:
            self.over = error
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(self.over)

    async def _take(self, message: Json) -> None:
        if "method" not in message:
            # By its id alone: replies may come in any order.
            reply_id = message.get("id")
            future = self.waiting.get(reply_id) if type(reply_id) is int else None
            if future is not None and not future.done():
                future.set_result(message)
        elif "id" in message:
            # A server may ask too. If a client doesn't answer, it takes it for dead.
            answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
            if message["method"] == "ping":
                answer["result"] = {}
            else:
                text = f"Method not found: {message['method']}"
                answer["error"] = {"code": METHOD_NOT_FOUND, "message": text}
            await self.transport.send(answer)


async def refusal(response: aiohttp.ClientResponse) -> str:
    """The status, where it points, and the first line of the body."""
    text = f"{response.status} {response.reason}"
    if 300 <= response.status < 400:
        return f"{text}: it is at {response.headers.get('Location')}"
    body = (await response.content.read(400)).decode("utf-8", "replace")
    return ": ".join([text, *body.splitlines()[:1]])


async def converse(
    url: str, tool: str, arguments: Json, transcript: Transcript, answer_seconds: float
) -> Json:
    """Connect, list the tools, call one, leave. Returns the call's result."""
    # By default aiohttp gives a complete request 300 s, and would end a stream that is fine
    # and busy. Don't limit the total time. Limit the silence between two pieces.
    limits = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS
    )
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    async with aiohttp.ClientSession() as http:
        transcript.sent(f"GET {url}")
        try:
            opening = await http.get(
                url, headers=headers, timeout=limits, allow_redirects=False
            )
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ConversationError(
                f"{url} is not a URL like http://127.0.0.1:8006/sse"
            ) from None
        except aiohttp.ClientConnectorError:
            raise ConversationError(
                f"Nothing listens at {url}: is the server running?"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConversationError(f"{url} does not answer: {error}") from None
        async with opening as stream:
            transport = Transport(http, stream, transcript, answer_seconds)
            await transport.open()
            session = Session(transport, answer_seconds)
            reader = asyncio.create_task(session.read())
            try:
                await session.initialize()
                await session.request("tools/list")
                result = await session.request(
                    "tools/call", {"name": tool, "arguments": arguments}
                )
            finally:
                # End it in here: leaving the `async with` closes what it reads.
                reader.cancel()
                await asyncio.wait([reader])
        transcript.sent("close")
    return result


def json_object(text: str) -> Json:
    """The JSON object in `text`. Raises ValueError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a client's conversation, step by step.")
    parser.add_argument("url", help="of the event stream: http://127.0.0.1:8006/sse")
    parser.add_argument("tool", nargs="?", default="add")
    parser.add_argument("arguments", nargs="?", type=json_object, default={"a": 2, "b": 5})
    parser.add_argument("--whole", action="store_true", help="show long messages in full")
    parser.add_argument("--timeout", type=float, default=ANSWER_SECONDS, metavar="SECONDS")
    options = parser.parse_args()

    # SIGTERM ends it, as Ctrl-C does. A shell's `&` may have left Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    transcript = Transcript(whole=options.whole)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            result = asyncio.run(
                converse(
                    options.url, options.tool, options.arguments, transcript, options.timeout
                )
            )
            texts = [part.get("text", "") for part in result.get("content", [])]
            said = "\n".join(map(printable, " ".join(texts).split("\n")))
            print(f"\n{options.tool} says: {said}", flush=True)
    except BrokenPipeError:
        # Nobody reads any more, as after `| head`. Python would try again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConversationError as error:
        sys.exit(printable(str(error)))


if __name__ == "__main__":
    main()
