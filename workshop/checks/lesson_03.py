"""The checks of lesson 03: a client that comes back, through every fault of the proxy.

The program follows all of the streams below at once. Most of them come through the
lesson's faulty proxy, from a small hub of these checks that is scripted stream by stream.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshop.checks.engine import Failed, Suite
from workshop.running import ProgramError, environment
from workshop.wire import ROOT, load

STANDARD = "HTML standard, 9.2"
COURSE = "this course"

# What the program is told, in seconds.
HEARTBEAT = 0.3
RETRY = 0.02
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.15

# The scripted hub says something this often, so nobody who waits 2.5 heartbeats gives up.
BEAT = 0.2
QUIET_BEATS = 6
CROWD = 12
PATIENCE = 1.5

Json = dict[str, Any]
Script = Callable[[int, int], AsyncIterator[bytes | int]]


def event(number: int, data: str = "", type: str = "orders") -> bytes:
    """An event of the hub; its data says its number."""
    data = data or json.dumps({"n": number})
    return f"event: {type}\nid: {number}\ndata: {data}\n\n".encode()


def events(first: int, last: int) -> bytes:
    return b"".join(event(number) for number in range(first, last + 1))


async def beats() -> AsyncIterator[bytes | int]:
    """Comments for as long as the connection lasts."""
    while True:
        yield b": heartbeat\n\n"
        await asyncio.sleep(BEAT)


async def history(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Thirty events, from the one after the id that was sent, and then heartbeats."""
    yield b"retry: 20\n\n"
    for each in range(after + 1, 31):
        yield event(each)
    async for beat in beats():
        yield beat


async def quiet(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Nothing but heartbeats."""
    yield b"retry: 20\n\n"
    async for beat in beats():
        yield beat


async def burst(number: int, after: int) -> AsyncIterator[bytes | int]:
    """All at once, as after a buffering proxy."""
    yield b"retry: 20\n\n" + events(after + 1, 30)
    async for beat in beats():
        yield beat


async def few(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Five events, so that a proxy may take its time with each byte."""
    yield b"retry: 20\n\n" + events(after + 1, 5)
    async for beat in beats():
        yield beat


async def ending(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Three events, and an orderly end."""
    yield b"retry: 20\n\n" + events(after + 1, after + 3)
    if number > 1:
        async for beat in beats():
            yield beat


async def unfinished(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The second event lacks its blank line when the connection ends."""
    if number == 1:
        yield b"retry: 20\n\n" + event(1) + event(2)[:-1]
        return
    yield events(after + 1, 3)
    async for beat in beats():
        yield beat


async def silent_second(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The second connection ends before it has said anything."""
    if number == 1:
        yield b"retry: 200\n\n" + event(1)
    elif number > 2:
        yield events(after + 1, 2)
        async for beat in beats():
            yield beat
    else:
        yield b": nothing yet\n\n"


async def primed(number: int, after: int) -> AsyncIterator[bytes | int]:
    """The first connection says only where it begins: an id and no event."""
    if number == 1:
        yield b"id: 7\nretry: 20\n\n"
        return
    yield events(after + 1, 8)
    async for beat in beats():
        yield beat


async def done(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"retry: 20\n\n" + event(1) + b"data: [DONE]\n\n"


async def page(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"<!doctype html><title>Log in first</title>"


async def patient(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Asks for 250 ms, and ends."""
    if number > 2:
        yield 204
    else:
        yield b"retry: 250\n\n"


async def recovering(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Four failures, then an event, then nothing more."""
    if number <= 4:
        yield 500
    elif number == 5:
        yield b"retry: 20\n\n" + event(1)
    else:
        yield 204


async def odd(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"retry: 20\n\n"
    if after < 3:
        yield event(1) + event(2, "{oops") + event(3)
    async for beat in beats():
        yield beat


class ScriptedHub:
    """Answers `GET /NAME…` with the script of that name."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.asked: dict[str, list[tuple[float, str]]] = {}
        self.beats: dict[str, int] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or the proxy has gone, or the checks are over
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        found = re.search(r"\r\nlast-event-id:[ \t]*([^\r\n]*)", head, re.IGNORECASE)
        last_event_id = found.group(1) if found else ""
        asked = self.asked.setdefault(path, [])
        asked.append((time.monotonic(), last_event_id))
        after = int(last_event_id) if last_event_id.isdecimal() else 0
        name = path.removeprefix("/events/").partition(".")[0]
        kind = "text/html" if name == "page" else "text/event-stream"
        opened = False
        async for piece in self.scripts[name](len(asked), after):
            if isinstance(piece, int):
                writer.write(f"HTTP/1.1 {piece} X\r\nConnection: close\r\n\r\n".encode())
                return
            if not opened:
                opened = True
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
                    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
                )
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            # Of the first connection alone: who comes back gets more of them.
            if piece.startswith(b": heartbeat") and len(asked) == 1:
                self.beats[path] = self.beats.get(path, 0) + 1
        writer.write(b"0\r\n\r\n")


# Each stream: its script, and what the proxy does to it. None: no proxy between.
STREAMS: dict[str, tuple[Script, Json | None]] = {
    "burst": (burst, {"buffer": 600}),
    "split": (few, {"split": True, "delay": 0.003, "seed": 1}),
    "ending": (ending, None),
    "cut": (history, {"cut_after": 5, "times": 2}),
    "anywhere": (history, {"cut_within": 700, "times": 6, "seed": 2}),
    "unfinished": (unfinished, None),
    "silent_second": (silent_second, None),
    "primed": (primed, None),
    "error": (history, {"status": 500, "times": 2}),
    "over": (history, {"status": 204}),
    "refused": (history, {"status": 404}),
    "done": (done, None),
    "page": (page, None),
    "odd_data": (odd, None),
    "stalled": (history, {"stall_after": 5, "times": 1}),
    "quiet": (quiet, None),
    "patient": (patient, None),
    "recovering": (recovering, None),
    "failing": (history, {"status": 500}),
}
MANY = ("recovering", "failing")


class Lab:
    """The scripted hub and the proxies in front of it, in a thread of their own."""

    def __init__(self) -> None:
        self.hub = ScriptedHub({name: script for name, (script, _) in STREAMS.items()})
        self.urls: dict[str, list[str]] = {}
        self._proxies: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)

    async def _start(self) -> None:
        proxy_module = load(ROOT / "scripts/03_event_hub/faulty_proxy.py")
        server = await asyncio.start_server(self.hub.answer, "127.0.0.1", 0, backlog=128)
        hub_port: int = server.sockets[0].getsockname()[1]
        for name, (_, options) in STREAMS.items():
            port = hub_port
            if options is not None:
                faults = dict(options)
                seed = faults.pop("seed", None)
                proxy = proxy_module.FaultyProxy(
                    ("127.0.0.1", hub_port), proxy_module.Faults(**faults), seed=seed
                )
                port = await proxy.start()
                self._proxies[name] = proxy
            paths = [name] if name not in MANY else [f"{name}.{n}" for n in range(CROWD)]
            self.urls[name] = [f"http://127.0.0.1:{port}/events/{path}" for path in paths]

    def requests(self, name: str, number: int = 0) -> list[tuple[float, str]]:
        """The requests for a stream so far: when, in seconds, and with which Last-Event-ID."""
        path = "/" + self.urls[name][number].split("/", 3)[3]
        if name in self._proxies:
            requests = list(self._proxies[name].requests)
            return [(each.time, each.last_event_id) for each in requests if each.path == path]
        return list(self.hub.asked.get(path, []))

    def close(self) -> None:
        async def stop() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)


class Follower:
    """The program under check, and what it has printed of each stream."""

    def __init__(self, path: Path, lab: Lab) -> None:
        self.lab = lab
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(path), "--heartbeat", str(HEARTBEAT)),
                *("--retry", str(RETRY), "--first-backoff", str(FIRST_BACKOFF)),
                *("--longest-backoff", str(LONGEST_BACKOFF)),
                *(url for urls in lab.urls.values() for url in urls),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        self._said: dict[str, list[Json]] = {}
        self._other: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                try:
                    value = json.loads(line)
                    self._said.setdefault(value["url"], []).append(value)
                except (ValueError, KeyError, TypeError):
                    self._other.append(line.decode("utf-8", "replace"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_until_following(self) -> None:
        """Wait for its first line. Raises ProgramError."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._other) or self._ended, timeout=10)
            if not self._other or '"following"' not in self._other[0]:
                self._changed.wait_for(lambda: self._ended, timeout=1)
                raise ProgramError("It did not begin to follow. It printed:\n" + self.rest)

    @property
    def rest(self) -> str:
        """What it printed that is about no stream: tracebacks, prints of the learner."""
        return "".join(self._other)

    def said(self, name: str, key: str, number: int = 0) -> list[Any]:
        """The values of `key` in what was said about a stream, in order."""
        with self._changed:
            lines = self._said.get(self.lab.urls[name][number], [])
            return [line[key] for line in lines if key in line]

    def wait(self, ready: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        """Wait until `ready()`, or until time is up."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    return ready()
                # Some of what is waited for is seen by the proxy and printed by nobody.
                self._changed.wait(min(left, 0.02))
            return True

    def numbers(self, name: str) -> list[int]:
        """The numbers of the events handled so far."""
        return [data["n"] for data in self.said(name, "data")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(2)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def seen(self, name: str) -> tuple[str, str]:
        """What went to and fro on a stream, as text: the requests, what was printed."""
        sent = "".join(
            f"GET /events/{name}  Last-Event-ID: {id or '(none)'}\n"
            for _, id in self.lab.requests(name)[:8]
        )
        with self._changed:
            said = self._said.get(self.lab.urls[name][0], [])
        lines = [{key: line[key] for key in line if key != "url"} for line in said]
        received = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines[-6:])
        return sent, received or self.rest[-600:]

    def fail(self, hint: str, name: str, wanted: str) -> Failed:
        """A failure that shows what was seen on a stream."""
        sent, received = self.seen(name)
        return Failed(hint, sent=sent, received=received, wanted=wanted, label="Printed")


@contextmanager
def open_program(path: Path) -> Iterator[Follower]:
    """Start the program on all streams of a new lab."""
    lab = Lab()
    try:
        follower = Follower(path, lab)
        try:
            follower.wait_until_following()
            yield follower
        finally:
            follower.close()
    finally:
        lab.close()


suite = Suite(
    "03_event_hub",
    open_program=open_program,
    start_heading="The exercise",
    start_title="The program starts and follows the streams it is given",
)


def all_arrive(follower: Follower, name: str, last: int, lost: str, doubled: str) -> None:
    """Wait for the events 1 to `last` of a stream; each must come once and in order."""
    wanted = list(range(1, last + 1))
    follower.wait(lambda: follower.numbers(name)[-1:] == [last])
    numbers = follower.numbers(name)
    if len(numbers) != len(set(numbers)):
        raise follower.fail(doubled, name, f"each of the events 1 to {last} once")
    if numbers != wanted:
        raise follower.fail(lost, name, f"the events 1 to {last}, in order")


def comes_back(follower: Follower, name: str, hint: str) -> None:
    """Wait for the second request for a stream."""
    if not follower.wait(lambda: len(follower.lab.requests(name)) > 1):
        raise follower.fail(hint, name, "a second request for the stream")


def stops(follower: Follower, name: str, hint: str) -> None:
    """The program says that the stream is over, and does not come back."""
    follower.wait(lambda: bool(follower.said(name, "over") or follower.said(name, "waits")))
    if not follower.said(name, "over") or len(follower.lab.requests(name)) > 1:
        raise follower.fail(hint, name, 'one request, and then {"over": …}')


@suite.check(
    "arrives",
    "Events that come in one piece are all handled",
    why="A proxy may collect events and pass them on together. A client that takes one "
    "event a piece loses the others.",
    read="The client",
    rule=STANDARD + ".6",
    hints={"lost": "Some events of one piece were not handled. `parser.feed` returns a list."},
)
def arrives(follower: Follower) -> None:
    all_arrive(follower, "burst", 30, "lost", "lost")


@suite.check(
    "split",
    "Events that come in many small pieces are whole",
    after=("arrives",),
    why="The network cuts the bytes where it likes: within a line, within a letter.",
    read="The client",
    rule=STANDARD + ".6",
    hints={
        "torn": "An event whose bytes came in several pieces was lost. One parser must see "
        "all the pieces of a connection: it keeps what has not ended yet."
    },
)
def split(follower: Follower) -> None:
    all_arrive(follower, "split", 5, "torn", "torn")


@suite.check(
    "comes-back-after-the-end",
    "It comes back when a connection ends in good order",
    todo=1,
    after=("split",),
    why="A hub that restarts, or that cuts a slow reader, ends the stream without an error. "
    "An end is no `[DONE]`.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "gave-up": "The stream ended and nobody asked for it again. When `read` returns None, "
        "the loop must go on."
    },
)
def comes_back_after_the_end(follower: Follower) -> None:
    comes_back(follower, "ending", "gave-up")


@suite.check(
    "comes-back-after-a-cut",
    "It comes back when the connection is cut",
    todo=1,
    after=("comes-back-after-the-end",),
    why="Most connections do not end, they break: aiohttp then raises an error.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "crashed": "The connection was cut and the error ended the whole stream. Catch "
        "`aiohttp.ClientError`: it is the parent of all that aiohttp raises for a lost "
        "connection, `ClientPayloadError` too."
    },
)
def comes_back_after_a_cut(follower: Follower) -> None:
    comes_back(follower, "cut", "crashed")


@suite.check(
    "resumes",
    "It says where it stopped, and nothing is lost or doubled",
    todo=2,
    after=("comes-back-after-a-cut",),
    why="Without `Last-Event-ID` the hub can't know what this reader has missed.",
    read="Coming back to the right place",
    rule=STANDARD + ".3",
    hints={
        "no-id": "The second request carries no `Last-Event-ID`. Put the id into the headers.",
        "old-id": "The second request carries a wrong id. Remember what the parser says at the "
        "end of each connection.",
        "lost-or-doubled": "The ids were sent, and still not every event was handled once.",
    },
)
def resumes(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("cut")) > 2)
    ids = [id for _, id in follower.lab.requests("cut")[1:3]]
    if "" in ids:
        raise follower.fail("no-id", "cut", "Last-Event-ID: 5 in the second request")
    if ids != ["5", "10"]:
        raise follower.fail("old-id", "cut", "Last-Event-ID: 5, and then 10")
    all_arrive(follower, "cut", 30, "lost-or-doubled", "lost-or-doubled")


@suite.check(
    "keeps-the-id",
    "It still knows the id after a connection without events",
    todo=2,
    after=("resumes",),
    why="A second cut may come before the next event. The position must outlive it.",
    read="Coming back to the right place",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "After a connection that brought no event the id was gone. A new parser "
        "begins without an id unless it is given one."
    },
)
def keeps_the_id(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("silent_second")) > 2)
    ids = [id for _, id in follower.lab.requests("silent_second")[:3]]
    if ids != ["", "1", "1"]:
        raise follower.fail("forgotten", "silent_second", "Last-Event-ID: 1 in the third too")


@suite.check(
    "unfinished",
    "An event that was cut in the middle is asked for again",
    todo=2,
    after=("resumes",),
    why="The id of an event stands before its data. Whoever keeps it when its line comes, and "
    "not when the event is complete, skips the event that was cut.",
    read="Coming back to the right place",
    rule=STANDARD + ".6",
    hints={
        "too-early": "The id of an unfinished event was sent, so the hub went on behind it. "
        "`parser.last_event_id` moves at the blank line: use that."
    },
)
def unfinished_event(follower: Follower) -> None:
    all_arrive(follower, "unfinished", 3, "too-early", "too-early")


@suite.check(
    "primed",
    "An id without an event counts",
    todo=2,
    after=("resumes",),
    why="The hub opens each stream with an id and no data, so that a reader cut before its "
    "first event can still say where it was.",
    read="Coming back to the right place",
    rule=STANDARD + ".6",
    hints={
        "ignored": "The stream began with an id and no event, and the next request did not "
        "send it. Take the id from the parser, not from the events."
    },
)
def primed_id(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("primed")) > 1)
    ids = [id for _, id in follower.lab.requests("primed")[:2]]
    if ids != ["", "7"]:
        raise follower.fail("ignored", "primed", "Last-Event-ID: 7 in the second request")


@suite.check(
    "anywhere",
    "Cuts at random places lose nothing",
    todo=1,
    after=("unfinished", "keeps-the-id"),
    why="A connection does not break between two events. It breaks anywhere, also before the "
    "first byte of the answer.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "lost": "After a cut at a random place the stream did not go on. A cut before the "
        "answer raises another error than a cut within it: catch `aiohttp.ClientError`.",
    },
)
def anywhere(follower: Follower) -> None:
    all_arrive(follower, "anywhere", 30, "lost", "lost")


@suite.check(
    "server-errors",
    "It comes back after a 500",
    todo=3,
    after=("comes-back-after-a-cut",),
    why="A 5xx says that the server, or a proxy before it, is in trouble now. It will pass.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "gave-up": "A 500 ended the stream for good. Only a 4xx and 204 do that: raise "
        "ConnectionError for the rest, and the loop comes back."
    },
)
def server_errors(follower: Follower) -> None:
    all_arrive(follower, "error", 30, "gave-up", "gave-up")


@suite.check(
    "stops-at-204",
    "It stops for good at 204",
    todo=3,
    after=("comes-back-after-a-cut",),
    why="204 is how a server tells a client of an event stream to stop reconnecting.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={"came-back": "The answer was 204, and the stream was asked for again. Return."},
)
def stops_at_204(follower: Follower) -> None:
    stops(follower, "over", "came-back")


@suite.check(
    "stops-at-404",
    "It stops for good at 4xx",
    todo=3,
    after=("comes-back-after-a-cut",),
    why="A 4xx says that the request is wrong. The same request will be as wrong next time.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={"came-back": "The answer was 404, and the stream was asked for again. Return."},
)
def stops_at_404(follower: Follower) -> None:
    stops(follower, "refused", "came-back")


@suite.check(
    "stops-at-done",
    "It stops for good at `[DONE]`",
    todo=3,
    after=("comes-back-after-a-cut",),
    why="When its type is closed the hub says `data: [DONE]` and ends the stream. Without that "
    "word an end looks like any other cut.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "came-back": "`[DONE]` came, and the stream was asked for again. Return.",
        "handled": "`[DONE]` was handled as an event. Look for it before you call `handle`.",
    },
)
def stops_at_done(follower: Follower) -> None:
    stops(follower, "done", "came-back")
    if follower.said("done", "skipped") or len(follower.said("done", "data")) != 1:
        raise follower.fail("handled", "done", "one event, and then the end")


@suite.check(
    "stops-at-a-page",
    "It stops for good when the answer is no event stream",
    todo=3,
    after=("comes-back-after-a-cut",),
    why="A login page with status 200 is no stream. The standard fails such a connection, "
    "whatever is in it.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was `text/html` with 200, and the stream was asked for again. "
        "Look at `response.content_type`."
    },
)
def stops_at_a_page(follower: Follower) -> None:
    stops(follower, "page", "came-back")


@suite.check(
    "odd-data",
    "An event that can't be handled costs nothing but itself",
    todo=4,
    after=("comes-back-after-a-cut",),
    why="One publisher's mistake must not take the stream from all that listen.",
    read="The client",
    rule=COURSE,
    hints={
        "crashed": "The handler raised, and the stream was over. Catch it around `handle`.",
        "reconnected": "The handler raised, and the connection was given up for it. Catch it "
        "around `handle` alone, within the loop over the events.",
        "not-said": "The event was skipped without a word. Say what was skipped, or nobody "
        "will ever find out.",
    },
)
def odd_data(follower: Follower) -> None:
    def gave_up() -> bool:
        return bool(follower.said("odd_data", "crashed") or follower.said("odd_data", "waits"))

    follower.wait(lambda: 3 in follower.numbers("odd_data") or gave_up())
    wanted = 'the events 1 and 3, and {"skipped": …} between them'
    if follower.numbers("odd_data") != [1, 3]:
        hint = "reconnected" if follower.said("odd_data", "waits") else "crashed"
        raise follower.fail(hint, "odd_data", wanted)
    if not follower.said("odd_data", "skipped"):
        raise follower.fail("not-said", "odd_data", wanted)


@suite.check(
    "silence",
    "It gives up a connection that has fallen silent",
    todo=5,
    after=("resumes",),
    why="A laptop that slept, a router that forgot: the connection is gone, and neither side "
    "is told. Only the missing heartbeat shows it.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "waits-for-ever": "Nothing came for 2.5 heartbeats, and the connection was kept. Set "
        "`sock_read`."
    },
)
def silence(follower: Follower) -> None:
    all_arrive(follower, "stalled", 30, "waits-for-ever", "waits-for-ever")


@suite.check(
    "stays",
    "It keeps a connection that is quiet and alive",
    todo=5,
    after=("resumes",),
    why="A stream may have nothing to say for hours. Its heartbeats say that it lives.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "impatient": "The connection was given up before the next heartbeat could come. Wait "
        "for 2.5 heartbeats.",
        "total": "Heartbeats came all the time, and still the connection was given up: "
        "something limits it as a whole. Set `total=None`.",
    },
)
def stays(follower: Follower) -> None:
    def beats() -> int:
        return follower.lab.hub.beats.get("/events/quiet", 0)

    follower.wait(lambda: beats() >= QUIET_BEATS or len(follower.lab.requests("quiet")) > 1)
    if len(follower.lab.requests("quiet")) > 1:
        hint = "total" if beats() > 2 else "impatient"
        raise follower.fail(hint, "quiet", "one request, however long the stream is quiet")


@suite.check(
    "honours-retry",
    "It waits at least as long as the stream asked",
    todo=6,
    after=("comes-back-after-a-cut",),
    why="`retry` is how a server keeps its clients from coming back too soon.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "too-soon": "The stream asked for 250 ms and the wait was shorter. Start from "
        "`self.retry`, and add the random part.",
        "seconds": "The stream asked for 250 ms, and the wait is minutes. `retry` is in "
        "milliseconds.",
    },
)
def honours_retry(follower: Follower) -> None:
    follower.wait(lambda: bool(follower.said("patient", "waits")))
    wait = (follower.said("patient", "waits") or [0])[0]
    if wait > 10:
        raise follower.fail("seconds", "patient", "a wait of 0.25 s and a little more")
    if wait < 0.25:
        raise follower.fail("too-soon", "patient", "a wait of 0.25 s and a little more")


@suite.check(
    "keeps-retry",
    "What the stream asked for holds until it asks for another",
    todo=6,
    after=("honours-retry",),
    why="A connection that fails before it has said anything leaves the reconnection time as "
    "it was.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "A connection that asked for nothing took the reconnection time away. "
        "Change `self.retry` only when there is a new one."
    },
)
def keeps_retry(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("silent_second")) > 2)
    waits = follower.said("silent_second", "waits")
    crashed = follower.said("silent_second", "crashed")
    if crashed or len(waits) < 2 or waits[1] < 0.2:
        raise follower.fail("forgotten", "silent_second", "waits of 0.2 s at least")


def waits_of_crowd(follower: Follower, number: int) -> list[float]:
    """The waits with this index, of those streams that always fail and came so far."""
    follower.wait(
        lambda: all(len(follower.said("failing", "waits", n)) > number for n in range(CROWD))
    )
    waits = [follower.said("failing", "waits", n) for n in range(CROWD)]
    return [each[number] for each in waits if len(each) > number]


@suite.check(
    "backs-off",
    "It waits longer with each failure in a row",
    todo=6,
    after=("server-errors",),
    why="A server that fails needs room. Clients that keep knocking keep it down.",
    read="Waiting",
    rule=STANDARD + ".3",
    hints={
        "same-range": "After three failures no wait was longer than at first. Double the limit "
        "of the random part with each failure in a row."
    },
)
def backs_off(follower: Follower) -> None:
    if max(waits_of_crowd(follower, 3), default=0) <= RETRY + 2 * FIRST_BACKOFF:
        raise follower.fail(
            "same-range",
            "failing",
            f"waits of up to {RETRY + LONGEST_BACKOFF:g} s at the fourth",
        )


@suite.check(
    "spreads",
    "Clients that fail together do not come back together",
    todo=6,
    after=("server-errors",),
    why="When a hub restarts, all of its clients fail in one moment. Without a random part "
    "they all come back in one moment, again and again.",
    read="Waiting",
    rule=COURSE,
    hints={
        "together": f"{CROWD} clients failed together, and several waits are the same. Use "
        "`random.uniform(0, limit)`."
    },
)
def spreads(follower: Follower) -> None:
    waits = waits_of_crowd(follower, 2)
    if not waits or len(set(waits)) < len(waits):
        raise follower.fail("together", "failing", f"{CROWD} different waits")


@suite.check(
    "bounded",
    "No wait grows without end",
    todo=6,
    after=("backs-off",),
    why="Doubled twenty times, half a second is six days.",
    read="Waiting",
    rule=COURSE,
    hints={
        "unbounded": "A wait was longer than `retry` and `longest_backoff` together. Take the "
        "smaller of the doubled limit and `longest_backoff`.",
    },
)
def bounded(follower: Follower) -> None:
    waits = waits_of_crowd(follower, 5) + waits_of_crowd(follower, 4)
    if not waits or max(waits) > RETRY + LONGEST_BACKOFF + 0.001:
        raise follower.fail(
            "unbounded", "failing", f"waits of {RETRY + LONGEST_BACKOFF:g} s at most"
        )


@suite.check(
    "starts-over",
    "An event makes it forget the failures",
    todo=6,
    after=("backs-off",),
    why="The failures of this morning must not slow down the reconnect of tonight.",
    read="Waiting",
    rule=COURSE,
    hints={
        "remembers": "An event had come, and the next wait was still as long as after four "
        "failures. Set the count back."
    },
)
def starts_over(follower: Follower) -> None:
    def waits(number: int) -> list[float]:
        return follower.said("recovering", "waits", number)

    follower.wait(lambda: all(len(waits(n)) > 4 for n in range(CROWD)))
    if any(each[4:] and each[4] > RETRY + FIRST_BACKOFF for each in map(waits, range(CROWD))):
        raise follower.fail(
            "remembers", "recovering", f"{RETRY + FIRST_BACKOFF:g} s at most after the event"
        )
