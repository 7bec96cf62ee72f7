"""The checks of lesson 03: a client that comes back, through every fault of the proxy.

The program follows all of the streams below at once. Many of them come through the
lesson's faulty proxy, from a small hub that is scripted here, stream by stream.
"""

from __future__ import annotations

import ast
import asyncio
import itertools
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

from workshop.checks.engine import Suite
from workshop.complaints import Complaint, complaints_in, line_it_ran, todo_of
from workshop.course import ROOT
from workshop.exercise_parts import TODO_COMMENT
from workshop.failed import Failed
from workshop.loading import load
from workshop.patience import stretched
from workshop.running import ProgramError, abort, environment

STANDARD = "HTML standard, 9.2"
COURSE = "this course"

# What the program is told, in seconds.
HEARTBEAT = stretched(0.4)
RETRY = 0.02
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.15

# The scripted hub beats this often; on the quiet stream the first beat is late.
BEAT = stretched(0.2)
LATE_BEAT = 1.5 * HEARTBEAT
QUIET_BEATS = 6
TICK = 0.03
CROWDS = {"failing": 24, "recovering": 12}
PATIENCE = stretched(2.5)
SLOW = stretched(3.0)

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
    """Nothing but heartbeats. The first is late, as on a slow network."""
    yield b"retry: 20\n\n"
    await asyncio.sleep(LATE_BEAT)
    async for beat in beats():
        yield beat


async def burst(number: int, after: int) -> AsyncIterator[bytes | int]:
    """All at once, as after a buffering proxy."""
    yield b"retry: 20\n\n" + events(after + 1, 30)
    async for beat in beats():
        yield beat


async def ticking(number: int, after: int) -> AsyncIterator[bytes | int]:
    """An event every 30 ms, for as long as the connection lasts."""
    yield b"retry: 20\n\n"
    for each in itertools.count(after + 1):
        yield event(each)
        await asyncio.sleep(TICK)


async def few(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Five events, so that a proxy may take its time with each byte."""
    yield b"retry: 20\n\n" + events(after + 1, 5)
    async for beat in beats():
        yield beat


async def ending(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Three events, and a clean end."""
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
    """An event that only mentions it, and then the real end."""
    mentioned = event(1, '{"n": 1, "text": "not [DONE] yet"}')
    yield b"retry: 20\n\n" + mentioned + b"data: [DONE]\n\n"


async def page(number: int, after: int) -> AsyncIterator[bytes | int]:
    yield b"<!doctype html><title>Log in first</title>"


async def patient(number: int, after: int) -> AsyncIterator[bytes | int]:
    """Asks for 250 ms twice, then for 20 ms, for 250 and for none, and ends each time."""
    if number > 5:
        yield 204
    else:
        yield b"retry: %d\n\n" % (250, 250, 20, 250, 0)[number - 1]


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


KINDS = {
    "page": "text/html",
    "json": "application/json",
    "charset": "text/event-stream; charset=utf-8",
}


class ScriptedHub:
    """Answers `GET /NAME…` with the script of that name."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.asked: dict[str, list[tuple[float, str]]] = {}
        self.beats: dict[str, int] = {}
        self.empty_ids: set[str] = set()  # the paths asked for with a Last-Event-ID of nothing
        self.not_accepted: set[str] = set()  # and those without the right Accept

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
        if found and not last_event_id:
            self.empty_ids.add(path)
        if not re.search(r"\r\naccept:[^\r\n]*text/event-stream", head, re.IGNORECASE):
            self.not_accepted.add(path)
        asked = self.asked.setdefault(path, [])
        asked.append((time.monotonic(), last_event_id))
        after = int(last_event_id) if last_event_id.isdecimal() else 0
        name = path.removeprefix("/events/").partition(".")[0]
        kind = KINDS.get(name, "text/event-stream")
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
            # Of the first connection alone: a client that comes back gets more of them.
            if piece.startswith(b": heartbeat") and len(asked) == 1:
                self.beats[path] = self.beats.get(path, 0) + 1
        writer.write(b"0\r\n\r\n")


# Each stream: its script, and what the proxy does to it. None: there is no proxy.
STREAMS: dict[str, tuple[Script, Json | None]] = {
    "burst": (burst, {"buffer": 600}),
    "ticking": (ticking, None),
    "split": (few, {"split": True, "delay": 0.02, "seed": 1}),
    "ending": (ending, None),
    "cut": (history, {"cut_after": 5, "times": 2}),
    "anywhere": (history, {"cut_within": 700, "times": 6, "seed": 2}),
    "unfinished": (unfinished, None),
    "silent_second": (silent_second, None),
    "primed": (primed, None),
    "error": (history, {"status": 503, "times": 2}),
    "over": (history, {"status": 204}),
    "refused": (history, {"status": 404}),
    "gone": (history, {"status": 410}),
    "bad": (history, {"status": 400}),
    "done": (done, None),
    "page": (page, None),
    "json": (page, None),
    "charset": (few, None),
    "odd_data": (odd, None),
    "stalled": (history, {"stall_after": 5, "times": 1}),
    "quiet": (quiet, None),
    "patient": (patient, None),
    "recovering": (recovering, None),
    "failing": (history, {"status": 500}),
}
# Those that soon have something to say in any program that runs.
SETTLING = (
    *("ending", "cut", "unfinished", "silent_second", "primed", "error", "over", "refused"),
    *("gone", "bad", "done", "page", "json", "odd_data", "patient", "recovering", "failing"),
)
# What `read` raises when its TODOs are not done yet; all else is a mistake in the code.
EXPECTED = re.compile(r"(Client|Server|Socket|Connection|Timeout|OS|JSONDecode)\w*\(")


class Lab:
    """The scripted hub and the proxies in front of it, in a thread."""

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
            crowd = CROWDS.get(name)
            paths = [f"{name}.{n}" for n in range(crowd)] if crowd else [name]
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
        self.path = path
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
        self._times: list[float] = []
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
                self._times.append(time.monotonic())
                try:
                    value = json.loads(line)
                    value["time"] = self._times[-1]
                    self._said.setdefault(value["url"], []).append(value)
                except (ValueError, KeyError, TypeError):
                    self._other.append(line.decode("utf-8", "replace"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_until_following(self) -> None:
        """Wait for the line that says so. Raises ProgramError."""

        def follows() -> bool:
            return any(line.startswith('{"following"') for line in self._other)

        with self._changed:
            self._changed.wait_for(lambda: follows() or self._ended, timeout=stretched(10))
            if not follows():
                self._changed.wait_for(lambda: self._ended, timeout=1)
                raise ProgramError("It did not begin to follow. It printed:\n" + self.rest)

    @property
    def rest(self) -> str:
        """What it printed that is not about a stream: tracebacks, prints of the learner."""
        return "".join(self._other)

    def complaints(self) -> list[Complaint]:
        """What Python has said of the file so far."""
        with self._changed:
            return complaints_in(self.rest, self.path)

    def silent_for(self) -> float:
        """Seconds since its last line."""
        with self._changed:
            return time.monotonic() - self._times[-1]

    def abort(self) -> None:
        """End it; it prints the line that it was running."""
        abort(self.process)
        self._reader.join(1)

    def spoke_between(self, begin: float, end: float) -> bool:
        """Whether it printed a line in this time."""
        with self._changed:
            return any(begin < each < end for each in self._times)

    def mistake(self, name: str) -> str:
        """How this stream crashed, where that was for a mistake in the code."""
        crashes = [str(each) for each in self.said(name, "crashed")]
        return next((each for each in crashes if not EXPECTED.match(each)), "")

    def todo_at(self, crash: str) -> str:
        """The TODO above the line that a crash names, in the same definition, as text."""
        found = re.search(r" in line (\d+):", crash)
        lines = self.path.read_text(encoding="utf-8").splitlines()
        above = lines[: int(found[1])] if found else []
        todo = ""
        for line in above:
            if re.match(r"(async def|def|class) ", line):
                todo = ""
            elif named := TODO_COMMENT.match(line):
                todo = f", at TODO {named[1]}"
        return todo

    def returns(self, name: str) -> bool:
        """Whether there is a `return` in the function of this name, or no such function."""
        tree = ast.parse(self.path.read_text(encoding="utf-8-sig"))
        found = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        return not found or any(isinstance(node, ast.Return) for node in ast.walk(found[0]))

    def lines(self, name: str, number: int = 0) -> list[Json]:
        """What was said about a stream, in order, each with its `time`."""
        with self._changed:
            return list(self._said.get(self.lab.urls[name][number], []))

    def said(self, name: str, key: str, number: int = 0) -> list[Any]:
        """The values of `key` in what was said about a stream, in order."""
        return [line[key] for line in self.lines(name, number) if key in line]

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
        """What went back and forth on a stream, as text: the requests, what was printed."""
        sent = "".join(
            f"GET /events/{name}  Last-Event-ID: {id or '(none)'}\n"
            for _, id in self.lab.requests(name)[:8]
        )
        with self._changed:
            said = self._said.get(self.lab.urls[name][0], [])
        hidden = ("url", "time")
        lines = [{key: line[key] for key in line if key not in hidden} for line in said]
        received = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines[-6:])
        return sent, received or self.rest[-600:]

    def fail(self, hint: str, name: str, wanted: str) -> Failed:
        """A failure that shows what was seen on a stream."""
        sent, received = self.seen(name)
        if self.mistake(name):
            hint = "crashed"
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
    start_heading="Your client",
    start_title="The program starts and follows the streams it is given",
    printed=lambda follower: follower.rest,
)


def all_arrive(
    follower: Follower, name: str, last: int, hint: str, *, seconds: float = PATIENCE
) -> None:
    """Wait for the events 1 to `last` of a stream; each must come once and in order."""
    follower.wait(lambda: follower.numbers(name)[-1:] == [last], seconds=seconds)
    numbers = follower.numbers(name)
    if len(numbers) != len(set(numbers)):
        raise follower.fail(hint, name, f"each of the events 1 to {last} once")
    if numbers != list(range(1, last + 1)):
        raise follower.fail(hint, name, f"the events 1 to {last}, in order")


def stops(follower: Follower, name: str, hint: str) -> None:
    """The program says that the stream is over, and does not come back."""
    follower.wait(lambda: any(follower.said(name, key) for key in ("over", "waits", "crashed")))
    if not follower.said(name, "over") or len(follower.lab.requests(name)) > 1:
        raise follower.fail(hint, name, 'one request, and then {"over": …}')


@suite.check(
    "goes-on",
    "It neither crashes over a mistake in the code nor hangs",
    why="One slip, such as a name that does not exist, looks like a dozen other mistakes.",
    read="Your client",
    rule=COURSE,
    hints={
        "crashed": "Your code raised an exception that has nothing to do with the network. "
        "The last line shows it, and the line of your file that it came from.",
        "not-a-text": "What came back as the reason for the end is not a text. `read` returns "
        "a text or None. An error is raised, not returned.",
        "hangs": "The program has stopped printing, although events keep coming. Is there a "
        "loop that never ends, or a call that waits for long without `await`?",
    },
)
def goes_on(follower: Follower) -> None:
    def settled(name: str) -> bool:
        keys = ("data", "over", "waits", "crashed")
        return any(follower.said(name, key) for key in keys)

    def crashed() -> list[str]:
        return [name for name in SETTLING if follower.mistake(name)]

    follower.wait(lambda: bool(crashed()) or all(map(settled, SETTLING)), seconds=SLOW)
    for name in crashed():
        todo = follower.todo_at(follower.mistake(name))
        wanted = f"no {follower.mistake(name).split('(')[0]}{todo}"
        failure = follower.fail("crashed", name, wanted)
        if "over=" in follower.mistake(name) and "serializable" in follower.mistake(name):
            failure.hint, failure.wanted = "not-a-text", "a text, or None"
            todo = ", at TODO 3"
        # A missing `await` breaks something else, somewhere below.
        forgotten = [each for each in follower.complaints() if "never awaited" in each.said]
        failure.todo = int(todo[-1]) if todo else None
        if forgotten:
            failure.hint, failure.wanted = "crashed", wanted
            failure.todo = todo_of(forgotten[0]) or failure.todo
        raise failure
    if not all(map(settled, SETTLING)) and follower.silent_for() > 1:
        follower.abort()
        line = line_it_ran(follower.rest, follower.path)
        raise Failed(
            "hangs",
            todo=todo_of(line) if line else None,
            received=follower.rest[-900:],
            wanted="a line for each event and each wait",
            label="Printed",
        )


@suite.check(
    "does-not-hurry",
    "It waits before it comes back",
    todo=1,
    after=("goes-on",),
    why="A client that comes back at once asks a server that is down thousands of times a "
    "second.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "at-once": "The connection broke, and your client came back without waiting. Does a "
        "`continue` skip the wait? Set `over = None`, and let the loop run to its end.",
    },
)
def does_not_hurry(follower: Follower) -> None:
    def said_something(name: str) -> bool:
        return any(follower.said(name, key) for key in ("over", "waits", "crashed"))

    for name in ("cut", "failing"):
        follower.wait(
            lambda name=name: said_something(name) or len(follower.lab.requests(name)) > 1
        )
        # It says so before it waits, but what it says may still be on its way.
        if not follower.wait(lambda name=name: said_something(name), seconds=stretched(0.5)):
            raise follower.fail("at-once", name, '{"waits": …} before the second request')


@suite.check(
    "reads-a-stream",
    "It reads an answer that is an event stream",
    todo=3,
    after=("does-not-hurry",),
    why="Only an answer that is not an event stream may be refused.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "refused": "The answer was 200 with `text/event-stream`, and `read` gave it up. Look "
        "at the comparisons before the loop over the pieces.",
    },
)
def reads_a_stream(follower: Follower) -> None:
    def gave_up() -> bool:
        # On a busy machine a connection may be given up once for no reason.
        tries = len(follower.said("burst", "waits"))
        return tries > 3 or any(follower.said("burst", key) for key in ("over", "crashed"))

    follower.wait(lambda: bool(follower.said("burst", "data")) or gave_up())
    if not follower.said("burst", "data") and gave_up():
        raise follower.fail("refused", "burst", "the events 1 to 30")


@suite.check(
    "arrives",
    "Events that come in one chunk are all handled",
    after=("reads-a-stream",),
    why="A proxy may collect events and pass them on together. A client that takes one "
    "event from each piece loses the others.",
    read="Your client",
    rule=STANDARD + ".6",
    hints={
        "lost": "Some events of one piece were not handled. `parser.feed` returns a list.",
        "twice": "Each event came once and was handled twice. `handle` must be called in one "
        "place only: inside the `try` (TODO 4).",
        "skipped-too": "Events that are all right were handled, and then skipped as well. What "
        "the line says was raised beside `handle`, in your own `try` (TODO 4). `handle` is no "
        "coroutine: it is called without `await`.",
    },
)
def arrives(follower: Follower) -> None:
    try:
        all_arrive(follower, "burst", 30, "lost")
    except Failed as failure:
        numbers = follower.numbers("burst")
        once = len(follower.lab.requests("burst")) == 1
        if failure.hint == "lost" and once and len(numbers) != len(set(numbers)):
            failure.hint, failure.todo = "twice", 4
        raise
    if follower.said("burst", "skipped"):
        failure = follower.fail("skipped-too", "burst", "nothing skipped")
        failure.todo = 4
        raise failure


@suite.check(
    "split",
    "Events that come in many small pieces are put together",
    after=("arrives",),
    why="The network cuts the bytes anywhere: inside a line, inside a character.",
    read="Your client",
    rule=STANDARD + ".6",
    hints={
        "torn": "An event whose bytes came in several pieces was lost. One parser must see "
        "all the pieces of a connection: it keeps what is not complete yet."
    },
)
def split(follower: Follower) -> None:
    all_arrive(follower, "split", 5, "torn")


@suite.check(
    "does-not-block",
    "While one stream waits, the others go on",
    todo=1,
    after=("split",),
    why="All streams share one thread. A call that sleeps in it stops every one of them.",
    read="Coming back",
    rule=COURSE,
    hints={
        "blocked": "While one stream waited, no other stream got anything, although events "
        "came every 30 ms. `time.sleep` stops the event loop: use `await asyncio.sleep`."
    },
)
def does_not_block(follower: Follower) -> None:
    streams = ("patient", "silent_second")

    def pauses(name: str) -> list[Json]:
        lines = follower.lines(name)
        return [line for line in lines if line.get("waits", 0) >= 0.1][:2]

    def ready() -> bool:
        ended = all(
            follower.said(name, "over") or follower.said(name, "crashed") for name in streams
        )
        return ended or all(len(pauses(name)) == 2 for name in streams)

    follower.wait(ready, seconds=SLOW)
    blocked = 0
    for name in streams:
        for number, pause in enumerate(pauses(name)):
            said, length = pause["time"], pause["waits"]
            slept_after = not follower.spoke_between(said, said + 0.8 * length)
            slept_before = not follower.spoke_between(said - 0.8 * length, said)
            # A sleep after the last line seen so far may only seem to be one.
            over = time.monotonic() > said + length
            blocked += (over and slept_after) or (number > 0 and slept_before)
    if blocked > 1:
        lines = follower.path.read_text(encoding="utf-8").splitlines()
        places = [number for number, line in enumerate(lines, 1) if "time.sleep(" in line]
        wanted = "events of other streams during the wait"
        failure = follower.fail("blocked", "patient", wanted)
        if places:
            failure.wanted += f", line {places[0]}"
            failure.todo = todo_of(Complaint(follower.path, "", places[0]))
        raise failure


@suite.check(
    "comes-back-after-the-end",
    "It comes back when the server ends the connection cleanly",
    todo=1,
    after=("does-not-block",),
    why="A hub that restarts, or that cuts off a slow reader, ends the stream without an "
    "error. An end is not a `[DONE]`.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "gave-up": "The stream ended, and your client did not ask for it again. When `read` "
        "returns None, the loop must go on."
    },
)
def comes_back_after_the_end(follower: Follower) -> None:
    def came_back() -> bool:
        # Or it means to, in its own good time: that is another check's business.
        return len(follower.lab.requests("ending")) > 1 or bool(
            follower.said("ending", "waits")
        )

    follower.wait(lambda: came_back() or bool(follower.said("ending", "over")))
    if not came_back():
        raise follower.fail("gave-up", "ending", "a second request for the stream")


@suite.check(
    "milliseconds",
    "It takes `retry` as milliseconds",
    todo=6,
    after=("comes-back-after-the-end",),
    why="Taken as seconds, a `retry: 2000` is more than half an hour.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "seconds": "The stream said `retry: 20`, which is 0.02 s, and the wait is many "
        "seconds. `reconnection_time` is in milliseconds."
    },
)
def milliseconds(follower: Follower) -> None:
    follower.wait(lambda: bool(follower.said("ending", "waits")))
    if max(follower.said("ending", "waits"), default=0) > 10:
        raise follower.fail("seconds", "ending", "a wait of 0.02 s and a little more")


@suite.check(
    "comes-back-after-a-cut",
    "It comes back when the connection breaks",
    todo=1,
    after=("milliseconds",),
    why="Most connections do not end, they break: then aiohttp raises an error.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "gave-up": "The connection broke, and the error ended the stream. Catch "
        "`aiohttp.ClientError`: it is the parent of everything that aiohttp raises for a lost "
        "connection, `ClientPayloadError` too."
    },
)
def comes_back_after_a_cut(follower: Follower) -> None:
    if not follower.wait(lambda: len(follower.lab.requests("cut")) > 1):
        raise follower.fail("gave-up", "cut", "a second request for the stream")


@suite.check(
    "catches-both",
    "It comes back when `read` itself says that the answer was bad",
    todo=1,
    after=("comes-back-after-a-cut",),
    why="Not every error of a connection comes from aiohttp. `ConnectionError`, which `read` "
    "raises for a 5xx, is Python's own: an `OSError`.",
    read="Coming back",
    rule=COURSE,
    hints={
        "os-error": "`read` raised ConnectionError, and that ended the stream. ConnectionError "
        "is an `OSError`, not an `aiohttp.ClientError`: catch both.",
    },
)
def catches_both(follower: Follower) -> None:
    keys = ("over", "waits", "crashed")
    follower.wait(lambda: any(follower.said("error", key) for key in keys))
    if any(
        str(each).startswith("ConnectionError(") for each in follower.said("error", "crashed")
    ):
        raise follower.fail("os-error", "error", '{"waits": …}, and a second request')


@suite.check(
    "resumes",
    "It says where it stopped, and no event is lost or doubled",
    todo=2,
    after=("catches-both",),
    why="Without `Last-Event-ID` the hub can't know what this reader has missed.",
    read="Coming back to the right place",
    rule=STANDARD + ".3",
    hints={
        "no-id": "The second request carries no `Last-Event-ID`. Put the id into the headers.",
        "after-an-end-only": "After a clean end the id was sent, after a broken connection "
        "it was not. Remember the id in both cases: a line in the `try`, after `read`, does "
        "not run when `read` raises.",
        "old-id": "The second request carries the wrong id. Remember what the parser says at "
        "the end of each connection.",
        "lost-or-doubled": "The ids were sent, and still not every event was handled once.",
        "empty-id": "The first request carries a `Last-Event-ID` with nothing in it. Send it "
        "only if there is an id.",
        "accept-lost": "The id was sent, and `Accept: text/event-stream` was not sent with it. "
        "Add the id to the headers that are there: a new dict replaces them.",
    },
)
def resumes(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("cut")) > 2)
    ids = [id for _, id in follower.lab.requests("cut")[1:3]]
    if "" in ids:
        follower.wait(lambda: len(follower.lab.requests("ending")) > 1)
        sent_after_an_end = any(id for _, id in follower.lab.requests("ending")[1:])
        hint = "after-an-end-only" if sent_after_an_end else "no-id"
        raise follower.fail(hint, "cut", "Last-Event-ID: 5 in the second request")
    if ids != ["5", "10"]:
        raise follower.fail("old-id", "cut", "Last-Event-ID: 5, and then 10")
    all_arrive(follower, "cut", 30, "lost-or-doubled")
    if "/events/cut" in follower.lab.hub.empty_ids:
        raise follower.fail("empty-id", "cut", "no Last-Event-ID in the first request")
    if "/events/cut" in follower.lab.hub.not_accepted:
        raise follower.fail("accept-lost", "cut", "Accept: text/event-stream in each request")


@suite.check(
    "keeps-the-id",
    "It still knows the id after a connection without events",
    todo=2,
    after=("resumes",),
    why="A second cut may come before the next event. The position must outlive it.",
    read="Coming back to the right place",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "After a connection that brought no event, the id was gone. A new parser "
        "starts without an id unless you give it one."
    },
)
def keeps_the_id(follower: Follower) -> None:
    follower.wait(lambda: len(follower.lab.requests("silent_second")) > 2)
    ids = [id for _, id in follower.lab.requests("silent_second")[:3]]
    if ids != ["", "1", "1"]:
        raise follower.fail("forgotten", "silent_second", "Last-Event-ID: 1 in the third too")


@suite.check(
    "unfinished",
    "It asks again for an event that was cut in the middle",
    todo=2,
    after=("resumes",),
    why="The id of an event comes before its data. A client that keeps it as soon as its line "
    "comes, and not when the event is complete, will skip the event that was cut.",
    read="Coming back to the right place",
    rule=STANDARD + ".6",
    hints={
        "too-early": "The id of an unfinished event was sent, so the hub continued after it. "
        "`parser.last_event_id` moves at the blank line: use that."
    },
)
def unfinished_event(follower: Follower) -> None:
    all_arrive(follower, "unfinished", 3, "too-early")


@suite.check(
    "primed",
    "An id without an event counts",
    todo=2,
    after=("resumes",),
    why="The hub opens each stream with an id and no data, so that a reader that is cut off "
    "before its first event can still say where it was.",
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
    why="A connection does not break between two events. It breaks anywhere, even before the "
    "first byte of the answer.",
    read="Coming back",
    rule=STANDARD + ".3",
    hints={
        "lost": "After a cut at a random place the stream did not go on. A cut before the "
        "answer raises a different error than a cut within it: catch `aiohttp.ClientError`.",
    },
)
def anywhere(follower: Follower) -> None:
    all_arrive(follower, "anywhere", 30, "lost")


@suite.check(
    "server-errors",
    "It comes back after a 5xx",
    todo=3,
    after=("catches-both",),
    why="A 5xx says that the server, or a proxy in front of it, is in trouble now.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "gave-up": "A 503 ended the stream for good. Only 204, a 4xx and a 200 that is not an "
        "event stream do that: raise ConnectionError for all else, and the loop comes back. "
        "Look at the status first: the page that comes with a 503 is no event stream either."
    },
)
def server_errors(follower: Follower) -> None:
    all_arrive(follower, "error", 30, "gave-up")


@suite.check(
    "stops-at-204",
    "It stops for good at 204",
    todo=3,
    after=("catches-both",),
    why="204 is how a server tells a client of an event stream to stop reconnecting.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was 204, and your client asked for the stream again. `read` "
        "must return a string, and `follow` must return that text.",
        "never-returns": "The answer was 204, and your client asked for the stream again. "
        "There is no `return` in `follow`, so it goes on whatever `read` says: when `read` "
        "returns a text, return it (TODO 1).",
    },
)
def stops_at_204(follower: Follower) -> None:
    try:
        stops(follower, "over", "came-back")
    except Failed as failure:
        if failure.hint == "came-back" and not follower.returns("follow"):
            failure.hint, failure.todo = "never-returns", 1
        raise


@suite.check(
    "stops-at-4xx",
    "It stops for good at any 4xx",
    todo=3,
    after=("stops-at-204",),
    why="A 4xx says that the request is wrong. The same request will be wrong next time, too.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was 404, and your client asked for the stream again. Return a "
        "text for every status from 400 to 499.",
        "not-all": "It stopped at 404, and came back after 410. Return a text for every status "
        "from 400 to 499, and not only for those that you know.",
        "off-by-one": "It stopped at 404, and came back after 400. That is a 4xx, too: "
        "`400 <= response.status < 500`.",
    },
)
def stops_at_4xx(follower: Follower) -> None:
    stops(follower, "refused", "came-back")
    stops(follower, "gone", "not-all")
    stops(follower, "bad", "off-by-one")


@suite.check(
    "stops-at-done",
    "It stops for good at `[DONE]`",
    todo=3,
    after=("stops-at-204",),
    why="When a type is closed, the hub says `data: [DONE]` and ends the stream. Without that, "
    "the end would look like any lost connection.",
    read="Stopping for good",
    rule=COURSE,
    hints={
        "came-back": "`[DONE]` came, and your client asked for the stream again. Return a "
        "string: `break` and `return None` only end this connection.",
        "raised": "`[DONE]` came, and raised an error. Compare the text of `event.data` "
        "before anything tries to read it as JSON.",
        "too-early": "An event whose data has `[DONE]` somewhere in it ended the stream. Only "
        "the whole of the data counts: compare with `==`, not with `in`.",
        "handled": "`[DONE]` was handled as an event. Look for it before you call `handle`.",
    },
)
def stops_at_done(follower: Follower) -> None:
    stops(follower, "done", "raised" if follower.said("done", "crashed") else "came-back")
    if not follower.said("done", "data") and not follower.said("done", "skipped"):
        raise follower.fail("too-early", "done", "one event, and then the end")
    if follower.said("done", "skipped") or len(follower.said("done", "data")) != 1:
        raise follower.fail("handled", "done", "one event, and then the end")


@suite.check(
    "stops-at-a-page",
    "It stops for good when the answer is not an event stream",
    todo=3,
    after=("stops-at-204",),
    why="A login page with status 200 is not a stream. The standard says to give up, whatever "
    "the page contains.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "came-back": "The answer was `text/html` with 200, and your client asked for the "
        "stream again. Look at `response.content_type`.",
        "not-all": "It stopped at `text/html`, and came back after `application/json`. Only "
        "`text/event-stream` is an event stream: return a string for all else.",
    },
)
def stops_at_a_page(follower: Follower) -> None:
    stops(follower, "page", "came-back")
    stops(follower, "json", "not-all")


@suite.check(
    "charset",
    "A `charset` in the content type changes nothing",
    todo=3,
    after=("catches-both",),
    why="Many servers send `text/event-stream; charset=utf-8`. That is an event stream.",
    read="Stopping for good",
    rule=STANDARD + ".1",
    hints={
        "refused": "The answer was `text/event-stream; charset=utf-8`, and `read` gave it up. "
        "The header may have parameters: `response.content_type` leaves them out."
    },
)
def charset(follower: Follower) -> None:
    all_arrive(follower, "charset", 5, "refused")


@suite.check(
    "odd-data",
    "An event that can't be handled costs nothing but itself",
    todo=4,
    after=("stops-at-done",),
    why="One publisher's mistake must not take the stream away from everybody.",
    read="An event that can't be handled",
    rule=COURSE,
    hints={
        "ended": "The handler raised, and that ended the stream. Catch it around `handle`.",
        "reconnected": "The handler raised, and your client gave up the connection. Catch it "
        "around `handle` alone, inside the loop over the events.",
        "rest-lost": "Event 2 was skipped, and event 3 was lost with it: they came in one "
        "piece. After a skipped event the loop over the events must go on: catch around "
        "`handle` alone, without `break` or `return`.",
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
        hint = "rest-lost"
        if gave_up():
            hint = "reconnected" if follower.said("odd_data", "waits") else "ended"
        raise follower.fail(hint, "odd_data", wanted)
    if not follower.said("odd_data", "skipped"):
        raise follower.fail("not-said", "odd_data", wanted)


@suite.check(
    "silence",
    "It gives up a connection that has fallen silent",
    todo=5,
    after=("anywhere",),
    why="A laptop that slept, a router that forgot: the connection is gone, and neither side "
    "is told. Only the missing heartbeat shows it.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "waits-for-ever": "Nothing came for 2.5 heartbeats, and the connection was kept. Set "
        "`sock_read`, in seconds."
    },
)
def silence(follower: Follower) -> None:
    limit = 2.5 * HEARTBEAT
    all_arrive(follower, "stalled", 30, "waits-for-ever", seconds=limit + PATIENCE)
    first, second = (when for when, _ in follower.lab.requests("stalled")[:2])
    if second - first > 2 * limit:
        raise follower.fail("waits-for-ever", "stalled", f"a second request after {limit:g} s")


@suite.check(
    "stays",
    "It keeps a connection that is quiet and alive",
    todo=5,
    after=("resumes",),
    why="A stream may have nothing to say for hours. Its heartbeats say that it is alive, and "
    "one of them may be late.",
    read="Two clocks",
    rule=COURSE,
    hints={
        "impatient": "Your client gave the connection up before a heartbeat that was a little "
        "late. Wait for 2.5 heartbeats.",
        "total": "Heartbeats kept coming, and still your client gave the connection up: "
        "something limits its total time. Set `total=None`.",
    },
)
def stays(follower: Follower) -> None:
    def requests() -> list[float]:
        return [when for when, _ in follower.lab.requests("quiet")]

    def beats() -> int:
        return follower.lab.hub.beats.get("/events/quiet", 0)

    follower.wait(lambda: beats() >= QUIET_BEATS or len(requests()) > 1, seconds=SLOW)
    if len(requests()) == 1:
        return
    # A busy machine makes some connections last longer than they should: the shortest counts.
    follower.wait(lambda: len(requests()) > 3)
    lasted = min(later - earlier for earlier, later in itertools.pairwise(requests()))
    hint = "impatient" if lasted < 2 * HEARTBEAT else "total"
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
        "too-soon": "The stream asked for 250 ms, and the wait was shorter. Start from "
        "`self.retry`, in seconds with their fractions (`/`, not `//`), and add the random "
        "part.",
        "capped": "The stream asked for 250 ms, and the wait was `longest_backoff`, which is "
        "shorter. That limit is for the random part alone: add `self.retry` afterwards.",
        "never-smaller": "The stream asked for 250 ms and later for 20 ms, and the wait was "
        "still 250 ms. What it asked for last counts.",
        "zero-ignored": "The stream asked for 0 ms, and the wait was still 250 ms. 0 is a "
        "number like any other, but Python takes it as false: ask whether it `is not None`.",
    },
)
def honours_retry(follower: Follower) -> None:
    def waits() -> list[float]:
        return follower.said("patient", "waits")

    follower.wait(lambda: len(waits()) > 4 or bool(follower.said("patient", "over")))
    wait = (waits() or [0])[0]
    if wait < 0.25:
        hint = "capped" if abs(wait - LONGEST_BACKOFF) < 1e-9 else "too-soon"
        raise follower.fail(hint, "patient", "a wait of 0.25 s and a little more")
    if len(waits()) > 2 and waits()[2] >= 0.25:
        raise follower.fail("never-smaller", "patient", "a third wait of less than 0.25 s")
    if len(waits()) > 4 and waits()[4] >= 0.25:
        raise follower.fail("zero-ignored", "patient", "a fifth wait of less than 0.25 s")


@suite.check(
    "keeps-retry",
    "It keeps `retry` until the stream asks for another",
    todo=6,
    after=("honours-retry",),
    why="A connection that fails before it has said anything leaves the reconnection time as "
    "it was.",
    read="Waiting",
    rule=STANDARD + ".2",
    hints={
        "forgotten": "After a connection that asked for nothing, the reconnection time was "
        "gone. Change `self.retry` only when there is a new one."
    },
)
def keeps_retry(follower: Follower) -> None:
    follower.wait(lambda: len(follower.said("silent_second", "waits")) > 1)
    waits = follower.said("silent_second", "waits")
    if len(waits) < 2 or waits[1] < 0.2:
        raise follower.fail("forgotten", "silent_second", "waits of 0.2 s at least")


def waits_of_crowd(follower: Follower, number: int) -> list[float]:
    """The waits with this index, of those streams that always fail and got that far."""
    crowd = range(CROWDS["failing"])
    follower.wait(
        lambda: all(len(follower.said("failing", "waits", n)) > number for n in crowd)
    )
    waits = [follower.said("failing", "waits", n) for n in crowd]
    return [each[number] for each in waits if len(each) > number]


@suite.check(
    "begins-small",
    "After one failure it does not wait long",
    todo=6,
    after=("server-errors",),
    why="Most failures are over in a moment. Only when they repeat is there reason to wait.",
    read="Waiting",
    rule=COURSE,
    hints={
        "too-long": "The first wait was longer than `retry` and `first_backoff` together. The "
        "limit is `first_backoff` itself at first: it doubles after a failure, not before."
    },
)
def begins_small(follower: Follower) -> None:
    if max(waits_of_crowd(follower, 0), default=0) > RETRY + FIRST_BACKOFF:
        wanted = f"first waits of {RETRY + FIRST_BACKOFF:g} s at most"
        raise follower.fail("too-long", "failing", wanted)


@suite.check(
    "backs-off",
    "It waits longer with each failure in a row",
    todo=6,
    after=("begins-small", "honours-retry"),
    why="A server that fails needs room. Clients that keep knocking keep it down.",
    read="Waiting",
    rule=STANDARD + ".3",
    hints={
        "same-range": "After three failures no wait was longer than at first. Double the limit "
        "of the random part with each failure in a row.",
        "too-slow": "After three failures the waits are a little longer, and not eight times "
        "as long. The limit doubles each time: `first_backoff * 2 ** failures`.",
    },
)
def backs_off(follower: Follower) -> None:
    longest = max(waits_of_crowd(follower, 3) + waits_of_crowd(follower, 4), default=0) - RETRY
    if longest <= 5 * FIRST_BACKOFF:
        hint = "same-range" if longest <= 2 * FIRST_BACKOFF else "too-slow"
        wanted = f"waits of up to {RETRY + LONGEST_BACKOFF:g} s after three failures"
        raise follower.fail(hint, "failing", wanted)


@suite.check(
    "spreads",
    "Clients that fail together do not come back together",
    todo=6,
    after=("begins-small",),
    why="When a hub restarts, all of its clients fail in the same moment. Without a random "
    "part they all come back in the same moment, again and again.",
    read="Waiting",
    rule=COURSE,
    hints={
        "together": "Many clients failed together, and several of their waits are the same. "
        "Add `random.uniform(0, limit)` to `self.retry`, after the first failure too."
    },
)
def spreads(follower: Follower) -> None:
    for number in (0, 2):
        waits = waits_of_crowd(follower, number)
        if not waits or len(set(waits)) < len(waits):
            wanted = f"{CROWDS['failing']} clients with {CROWDS['failing']} different waits"
            raise follower.fail("together", "failing", wanted)


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
    why="The failures of this morning must not slow down tonight's reconnect.",
    read="Waiting",
    rule=COURSE,
    hints={
        "remembers": "An event had come, and the next wait was still as long as after four "
        "failures. Set the count back to 0 when an event comes."
    },
)
def starts_over(follower: Follower) -> None:
    crowd = range(CROWDS["recovering"])

    def waits(number: int) -> list[float]:
        return follower.said("recovering", "waits", number)

    follower.wait(lambda: all(len(waits(n)) > 4 for n in crowd))
    if any(each[4:] and each[4] > RETRY + FIRST_BACKOFF for each in map(waits, crowd)):
        raise follower.fail(
            "remembers", "recovering", f"{RETRY + FIRST_BACKOFF:g} s at most after the event"
        )
