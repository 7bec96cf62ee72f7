"""The servers that go wrong in one way, each a `Site` with something done differently."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from workshop.checks.lesson_07.server import Json, Site, Stream
from workshop.checks.lesson_07.settings import (
    ASKED_RETRY,
    AWAY,
    FEW_FAILURES,
    PATIENCE,
    SHORT_ANSWER,
)
from workshop.running import HOST, free_port


class Interrupting(Site):
    """Replies to a call, and interrupts the stream once the client has the result."""

    turns: ClassVar[list[list[str]]] = [["look"], ["look"]]

    async def called(self, stream: Stream, call: Json) -> None:
        stream.result_of(call)
        if stream.session == "one":
            await stream.writer.drain()
            await self.lab.said_soon(self.name, lambda line: "result" in line)
            self.interrupt(stream)

    def interrupt(self, stream: Stream) -> None:
        raise NotImplementedError


class Ending(Interrupting):
    """Ends the stream after a call; the next call is made when the client is back."""

    async def opened(self, stream: Stream, number: int) -> None:
        self.lab.go(self.name)
        if number == 2:
            # The second call is made now, before there is a session for it.
            await self.lab.said_soon(self.name, lambda line: line.get("asked") == 1)
            # And all that was said before that has come, too.
            self.lab.came_back[self.name] = self.lab.waits_said(self.name)
        stream.endpoint()

    def interrupt(self, stream: Stream) -> None:
        stream.end()


class Cutting(Ending):
    """Breaks the stream in the middle of an event."""

    def interrupt(self, stream: Stream) -> None:
        stream.cut()


class Restarting(Interrupting):
    """Goes away for a while."""

    async def start(self) -> None:
        # Not a port that the kernel chooses: it could be taken when the server comes back.
        self.port = self.port or free_port()
        await super().start()

    def interrupt(self, stream: Stream) -> None:
        self.lab.keep(self._restart())

    async def _restart(self) -> None:
        self.go_away()
        # The second call is made when the client knows, and while nothing listens.
        await self.lab.said_soon(self.name, lambda line: "says" in line)
        self.lab.go(self.name)
        await asyncio.sleep(AWAY)
        self.saw("<- the server listens again")
        await self.start()


class Forgetting(Site):
    """Takes four calls, and ends the stream before it replied to any."""

    turns: ClassVar[list[list[str]]] = [["look", "store", "pay", "send"]]
    taken = 0

    async def called(self, stream: Stream, call: Json) -> None:
        if stream.session != "one":
            stream.result_of(call)
            return
        self.taken += 1
        if self.taken == 4:
            stream.end()


class Refusing(Site):
    """Answers a call with 404 and leaves the stream open, as behind a proxy."""

    turns: ClassVar[list[list[str]]] = [["pay"]]

    async def takes(self, stream: Stream, message: Json) -> bool:
        if stream.session != "one" or message.get("method") != "tools/call":
            return True
        if len(self.posts) > 8:
            await asyncio.sleep(PATIENCE)  # a client that retries in a loop would stop the rest
        return False


class Hurried(Site):
    """Its client allows little time for calls."""

    turns: ClassVar[list[list[str]]] = [["look"], ["look"]]
    settings: ClassVar[Json] = {"answer": SHORT_ANSWER}

    async def opened(self, stream: Stream, number: int) -> None:
        stream.endpoint()

    async def _handle(self, stream: Stream, message: Json) -> None:
        await super()._handle(stream, message)
        if message.get("method") == "tools/list":
            # Not sooner: the short time limit is for the call, not for the handshake.
            self.lab.go(self.name)


class Slow(Hurried):
    """Replies too late to the first call, and at once to the second."""

    silent = True

    async def called(self, stream: Stream, call: Json) -> None:
        if not self.silent:
            stream.result_of(call)
            return
        await self.lab.said_soon(self.name, lambda line: "raised" in line)
        self.silent = False
        stream.result_of(call)
        self.lab.go(self.name)


class Away(Hurried):
    """Ends the stream, and is away for longer than a call may take."""

    def refuses(self, number: int) -> bool:
        if number == 2:
            self.lab.go(self.name)
        return number > 1

    async def called(self, stream: Stream, call: Json) -> None:
        stream.result_of(call)
        stream.end()


class Absolute(Site):
    """Names its endpoint with an absolute URL."""

    async def opened(self, stream: Stream, number: int) -> None:
        self.lab.go(self.name)
        stream.endpoint(f"http://{HOST}:{self.port}/message")


class Elsewhere(Site):
    """Names an endpoint on another server."""

    async def opened(self, stream: Stream, number: int) -> None:
        self.lab.go(self.name)
        stream.endpoint(f"http://{HOST}:{self.lab.sites['not_elsewhere'].port}/message")


class LooksAlike(Site):
    """Names an endpoint on another server, whose URL begins like ours."""

    async def opened(self, stream: Stream, number: int) -> None:
        self.lab.go(self.name)
        other = self.lab.sites["not_looks_alike"].port
        stream.endpoint(f"http://{HOST}:{self.port}@{HOST}:{other}/message")


class Wrong(Site):
    """Takes what the client of one of the last two sends there."""

    def saw(self, line: str) -> None:
        self.lab.sites[self.name.removeprefix("not_")].saw(f"{line} (on the other server)")


class Leaving(Ending):
    """Ends the stream, and from then on answers 503."""

    settings: ClassVar[Json] = {"most_failures": FEW_FAILURES}

    def refuses(self, number: int) -> bool:
        if number == 2:
            self.lab.go(self.name)
        return number > 1


class Settled(Site):
    """Replies to a call and ends the stream in the same piece."""

    async def called(self, stream: Stream, call: Json) -> None:
        if stream.session == "one":
            stream.reply_and_end(call["id"])
        else:
            stream.result_of(call)


class Unreadable(Site):
    """Sends something that is not JSON."""

    async def opened(self, stream: Stream, number: int) -> None:
        if number == 1:
            self.lab.go(self.name)
        if number > 3:
            await asyncio.sleep(PATIENCE)  # a client that comes back each time
        self.saw("<- event: message, data: what is this?")
        stream.event("message", "what is this?")


class Asking(Site):
    """Asks for a reconnection time, and ends."""

    ended = 0.0

    async def opened(self, stream: Stream, number: int) -> None:
        if number == 1:
            self.lab.go(self.name)
            self.saw(f"<- retry: {ASKED_RETRY}")
            stream.write(f"retry: {ASKED_RETRY}\n\n")
        stream.endpoint()

    async def called(self, stream: Stream, call: Json) -> None:
        stream.result_of(call)
        if stream.session == "one":
            self.ended = time.monotonic()
            stream.end()


SITES: dict[str, type[Site]] = {
    "ending": Ending,
    "cutting": Cutting,
    "restarting": Restarting,
    "forgetting": Forgetting,
    "refusing": Refusing,
    "slow": Slow,
    "away": Away,
    "absolute": Absolute,
    "elsewhere": Elsewhere,
    "looks_alike": LooksAlike,
    "settled": Settled,
    "unreadable": Unreadable,
    "leaving": Leaving,
    "asking": Asking,
}
ASTRAY = ("not_elsewhere", "not_looks_alike")
