"""The checks of lesson 07: a client that survives a restart of its server.

The learner's client talks to all of the servers below at once. Each is a small MCP
server over HTTP+SSE that goes wrong in one way: it ends the stream, breaks it, goes away
for a while, forgets a session. Everything that goes over the wire is recorded.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from workshop.checks.engine import Suite
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.raw_client import read_json
from workshop.running import HOST, ProgramError, environment, free_port

COURSE = "this course"
SSE = "HTML standard, 9.2"
TRANSPORT = "HTTP+SSE 2024-11-05"
LIFECYCLE = "MCP: the initialization phase"

# How long, in seconds, a check waits for something that should come at once.
PATIENCE = stretched(1.5)

# What the clients are told, in seconds.
SETTINGS = {
    "answer": 20.0,
    "retry": 0.02,
    "first_backoff": 0.02,
    "longest_backoff": 0.1,
    "most_failures": 100,
}
SHORT_ANSWER = stretched(0.3)
FEW_FAILURES = 4
ASKED_RETRY = 300  # milliseconds
AWAY = stretched(0.2)  # how long nothing listens while a server restarts

# The same for the waits, which are asked for without a wire.
PACE = {
    "settings": {
        **SETTINGS,
        "retry": 1.0,
        "first_backoff": 2.0,
        "longest_backoff": 16.0,
    },
    "of": 60,
    "waits": 8,
    "asked": 40_000,  # milliseconds, and longer than `longest_backoff`
}

TOOLS = {
    "look": {"readOnlyHint": True},
    "store": {"readOnlyHint": False, "idempotentHint": True},
    "pay": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False},
    "send": {},
}
SESSIONS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# What a mistake in the learner's own code raises, whichever TODO it is in.
BUGS = ("AttributeError", "KeyError", "NameError", "TypeError", "UnboundLocalError")

Json = dict[str, Any]


class Stream:
    """An answer to GET /sse. Its session is over when it is."""

    def __init__(self, site: Site, number: int, writer: asyncio.StreamWriter) -> None:
        self.site = site
        self.session = SESSIONS[min(number, 9)]
        self.writer = writer
        self.initialized = False
        self.open = True
        self.done = asyncio.Event()

    def write(self, text: str) -> None:
        piece = text.encode()
        with suppress(OSError):
            self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def event(self, kind: str, data: str) -> None:
        self.write(f"event: {kind}\ndata: {data}\n\n")

    def endpoint(self, uri: str = "/message") -> None:
        """The first event."""
        uri = f"{uri}?session_id={self.session}"
        self.site.saw(f"<- event: endpoint, data: {uri}")
        self.event("endpoint", uri)

    def reply(self, request_id: object, result: Json) -> None:
        self.event(
            "message", json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})
        )

    def result_of(self, call: Json) -> None:
        """Reply to a call: its text is the session it ran in."""
        self.site.saw(f"<- the result of {name_of(call)}")
        self.reply(call["id"], {"content": [{"type": "text", "text": self.session}]})

    def end(self) -> None:
        """End cleanly."""
        self.open = False
        self.site.saw(f"<- the stream of session {self.session} ends")
        with suppress(OSError):
            self.writer.write(b"0\r\n\r\n")
        self.done.set()

    def reply_and_end(self, request_id: object) -> None:
        """Reply and end in one piece, so that the client reads both at once."""
        self.open = False
        result = {"content": [{"type": "text", "text": self.session}]}
        reply = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})
        piece = f"event: message\ndata: {reply}\n\n".encode()
        self.site.saw(f"<- the result, and the stream of session {self.session} ends")
        with suppress(OSError):
            self.writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece))
        self.done.set()

    def cut(self) -> None:
        """Break off in the middle of an event."""
        self.open = False
        self.site.saw(f"<- the stream of session {self.session} is cut")
        with suppress(OSError):
            self.writer.write(b'40\r\nevent: message\ndata: {"json')
        self.done.set()


def name_of(message: Json) -> str:
    """What a message is, in a word or two: `initialize`, `tools/call pay`."""
    method = str(message.get("method", "a response"))
    params = message.get("params")
    tool = params.get("name") if isinstance(params, dict) else None
    return f"{method} {tool}" if method == "tools/call" else method


class Site:
    """One server of the checks. This one makes no mistakes."""

    turns: ClassVar[list[list[str]]] = [["look"]]
    settings: ClassVar[Json] = {}

    def __init__(self, name: str, lab: Lab) -> None:
        self.name = name
        self.lab = lab
        self.port = 0
        self.streams: dict[str, Stream] = {}
        self.gets: list[float] = []
        self.posts: list[tuple[str, Json]] = []  # (session, message) in order
        self.log: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/sse"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=128)
        self.port = self._server.sockets[0].getsockname()[1]

    def go_away(self) -> None:
        """Like a server that is stopped: nothing listens, all connections break."""
        self.saw("<- the server is stopped: nothing listens")
        if self._server is not None:
            self._server.close()
        for stream in self.streams.values():
            stream.open = False
        for writer in self._writers:
            writer.transport.abort()

    def saw(self, line: str) -> None:
        self.log.append(line)
        self.lab.something_happened()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the checks are over
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target = head.split(" ", 2)[:2]
        if method == "GET" and target.partition("?")[0] != "/sse":
            # Another client, looking for a server that had this port before.
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if method == "GET":
            self.gets.append(time.monotonic())
            number = len(self.gets)
            self.saw(f"-> GET {target}")
            if self.refuses(number):
                self.saw("<- 503")
                writer.write(
                    b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            )
            stream = Stream(self, number, writer)
            self.streams[stream.session] = stream
            await self.opened(stream, number)
            await stream.done.wait()
            await writer.drain()
            return
        found = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(found[1])) if found else b""
        session = target.partition("session_id=")[2]
        try:
            message = read_json(body)
        except ValueError:
            message = {}
        message = message if isinstance(message, dict) else {}
        self.posts.append((session, message))
        self.saw(f"-> POST {target} {name_of(message)}")
        stream = self.streams.get(session)
        taken = stream is not None and stream.open and await self.takes(stream, message)
        status = "202 Accepted" if taken else "404 Not Found"
        if not taken:
            self.saw("<- 404: no such session")
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        if taken and stream is not None:
            await self._handle(stream, message)

    async def _handle(self, stream: Stream, message: Json) -> None:
        method, request_id = message.get("method"), message.get("id")
        if method == "initialize":
            stream.initialized = True
            stream.reply(
                request_id,
                {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": f"the checks' server {self.name}", "version": "1"},
                },
            )
        elif request_id is None:
            pass
        elif not stream.initialized:
            self.saw("<- error: the first request of a session is initialize")
            error = {"code": -32600, "message": "The first request of a session is initialize"}
            stream.event(
                "message", json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})
            )
        elif method == "tools/list":
            listed = [
                {"name": name, "inputSchema": {"type": "object"}, "annotations": annotations}
                for name, annotations in TOOLS.items()
            ]
            stream.reply(request_id, {"tools": listed})
        elif method == "tools/call":
            await self.called(stream, message)

    # --- What a bad server does differently ---

    def refuses(self, number: int) -> bool:
        """Whether the GET of this number, from 1, is answered with 503."""
        return False

    async def opened(self, stream: Stream, number: int) -> None:
        if number == 1:
            self.lab.go(self.name)
        stream.endpoint()

    async def takes(self, stream: Stream, message: Json) -> bool:
        """Whether a POST to an open session is taken, or answered with 404."""
        return True

    async def called(self, stream: Stream, call: Json) -> None:
        stream.result_of(call)


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


class Lab:
    """All the servers, in their own thread, and the learner's clients in a process."""

    def __init__(self) -> None:
        self.sites = {name: site(name, self) for name, site in SITES.items()}
        self.sites |= {name: Wrong(name, self) for name in ASTRAY}
        self.said: dict[str, list[Json]] = {name: [] for name in self.sites}
        self.pace: Json = {}
        self.crashed_tasks: list[str] = []
        self.other_output: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)

    async def _start(self) -> None:
        for site in self.sites.values():
            await site.start()

    def drive(self, program: Path) -> None:
        """Start the learner's file. Raises ProgramError when it can't be loaded."""
        plan = {
            "clients": [
                {
                    "on": name,
                    "url": self.sites[name].url,
                    "settings": SETTINGS | site.settings,
                    "turns": site.turns,
                }
                for name, site in SITES.items()
            ],
            "pace": PACE,
        }
        driver = Path(__file__).with_name("client_driver.py")
        self.process = subprocess.Popen(
            [sys.executable, str(driver), str(program), json.dumps(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(
                lambda: bool(self.pace) or self._ended, timeout=stretched(10)
            )
            if not self.pace:
                printed = "".join(self.other_output[-20:])
                raise ProgramError(f"The file can't be loaded. It printed:\n{printed}")

    def _read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                try:
                    value = json.loads(line)
                    if "pace" in value:
                        self.pace = value["pace"]
                    elif "task" in value:
                        self.crashed_tasks.append(value["task"])
                    else:
                        self._hear(value)
                except (ValueError, KeyError, TypeError):
                    self.other_output.append(line.decode("utf-8", "replace"))
            self.something_happened()
        with self._changed:
            self._ended = True
        self.something_happened()

    def _hear(self, line: Json) -> None:
        self.said[line["on"]].append(line)
        log = self.sites[line["on"]].log
        if "result" in line:
            log.append(f"** {line['call']} returns: it ran in session {line['result']}")
        elif "raised" in line:
            log.append(f"** {line['call']} raises {line['raised']}: {line['text']}")
        elif "says" in line:
            log.append(f"** says: {line['says']}")
        elif "crashed" in line:
            log.append(f"** run() crashed: {line['crashed']}")

    def something_happened(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._loop.call_soon_threadsafe(self._news.set)

    def keep(self, work: Any) -> None:
        """Run it alongside the rest."""
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def go(self, name: str) -> None:
        """Let the client make the calls of its next turn."""
        process = self.process
        if process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.write(f"{name}\n".encode())
                process.stdin.flush()

    async def said_soon(self, name: str, fits: Callable[[Json], bool]) -> None:
        """Wait until the client of this server says something like this, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(stretched(1.0)):
                while not any(fits(line) for line in list(self.said[name])):
                    self._news.clear()
                    await self._news.wait()

    def wait(self, ready: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        """Wait until `ready()`, or until time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: ready() or self._ended, timeout=seconds)

    # --- What the checks ask ---

    def outcome(self, name: str, tool: str, *, number: int = 0) -> Json | None:
        """How a call ended, the one of this number among those of the tool; or None."""
        lines = [line for line in list(self.said[name]) if line.get("call") == tool]
        return lines[number] if len(lines) > number else None

    def crashed(self, name: str) -> bool:
        """Whether an exception came out of `run`."""
        return any("crashed" in line for line in self.said[name])

    def waits_said(self, name: str) -> int:
        """How often the client said that it waits before reconnecting."""
        return sum(str(line.get("says", "")).startswith("waits") for line in self.said[name])

    def calls(self, name: str, tool: str) -> list[str]:
        """The sessions in which the tool was called, in order, whether taken or not."""
        return [
            session
            for session, message in list(self.sites[name].posts)
            if name_of(message) == f"tools/call {tool}"
        ]

    def fail(self, hint: str, name: str, wanted: str, *, at: str = "") -> Failed:
        """A failure that shows the wire, with the caret under the last `at` in it."""
        lines = list(self.sites[name].log)[-12:]
        lines += [f"** a task raised {error}" for error in self.crashed_tasks[:1]]
        if self._ended:
            lines += [line.rstrip() for line in self.other_output[-1:]]
        received = "\n".join(lines)
        place = received.rfind(at) if at else -1
        return Failed(
            hint,
            received=received,
            at=len(received[:place].encode()) if place >= 0 else None,
            wanted=wanted,
            label="The wire",
        )

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._reader.join(2)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

        async def stop() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)


@contextmanager
def open_program(path: Path) -> Iterator[Lab]:
    """Start the servers of the checks, and the learner's clients on them."""
    lab = Lab()
    try:
        lab.drive(path)
        yield lab
    finally:
        lab.close()


suite = Suite(
    "07_sdk_client",
    open_program=open_program,
    start_heading="The exercise",
    start_title="The file can be loaded, and has a `Client`, `Settings` and `Pace`",
    start_hint="Python can't read the file, or it ends at once. The last line says why.",
    printed=lambda lab: "".join(lab.other_output),
)


@suite.check(
    "opens-a-stream",
    "It opens the stream",
    todo=1,
    why="This works in the starter. Until it works again, nothing else can be checked.",
    read="When the server restarts",
    rule=TRANSPORT,
    hints={
        "no-get": "No GET came. `connect` is a coroutine: `await self.connect()`.",
    },
)
def opens_a_stream(lab: Lab) -> None:
    site = lab.sites["ending"]
    if not lab.wait(lambda: bool(site.gets)) or not site.gets:
        raise lab.fail("no-get", "ending", "GET /sse")


@suite.check(
    "takes-a-path",
    "It takes an endpoint that is only a path",
    todo=6,
    after=("opens-a-stream",),
    why="This is what most servers send. Joined to the stream's URL, it is an absolute URL.",
    read="Where the client may be sent",
    rule=TRANSPORT,
    hints={
        "refused": "The endpoint was a path on the server itself, and `checked` refused it. "
        "Compare `url`, which is already an absolute URL, and not the text of the endpoint.",
    },
)
def takes_a_path(lab: Lab) -> None:
    lab.wait(lambda: bool(lab.outcome("ending", "look") or lab.sites["ending"].posts))
    outcome = lab.outcome("ending", "look") or {}
    if outcome.get("raised") == "Gone" and not lab.sites["ending"].posts:
        raise lab.fail("refused", "ending", "POST /message?session_id=one", at="/message")


@suite.check(
    "talks",
    "It shakes hands",
    todo=2,
    after=("opens-a-stream", "takes-a-path"),
    why="This works in the starter. Until it works again, nothing else can be checked.",
    read="What goes over the wire",
    rule=LIFECYCLE,
    hints={
        "nothing-sent": "The stream named its endpoint, and nothing was sent there. "
        "`session_opened` stores the URL that `checked` returns, and starts `shake_hands` as a "
        "task: `asyncio.create_task(self.shake_hands())`.",
        "no-session": "The very first handshake did not finish. Look at the last lines: what "
        "was sent, what came, and did a task raise an exception?",
    },
)
def talks(lab: Lab) -> None:
    def shaken() -> bool:
        names = [name_of(message) for _, message in list(lab.sites["ending"].posts)]
        return "tools/list" in names

    if not lab.wait(shaken) or not shaken():
        hint = "no-session" if lab.sites["ending"].posts else "nothing-sent"
        raise lab.fail(hint, "ending", "POST /message?session_id=one tools/list")


@suite.check(
    "returns-the-result",
    "`call` returns the result",
    todo=4,
    after=("talks",),
    why="Whatever else a client survives, this is what it is for.",
    read="A POST that fails",
    rule=LIFECYCLE,
    hints={
        "no-result": "The server was ready, and the very first call did not return its result. "
        "The last lines say what happened instead. Both `call` (TODO 4) and `call_until_told` "
        "(TODO 5) have to `return await` what they call.",
        "too-soon": "The limit is 20 s, and the first call ended at once with TimeoutError. "
        "`settings.answer` is in seconds, as `asyncio.timeout` wants it.",
    },
)
def returns_the_result(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("ending", "look") is not None)
    outcome = lab.outcome("ending", "look") or {}
    if outcome.get("result") != "one":
        hint = "too-soon" if outcome.get("raised") == "TimeoutError" else "no-result"
        raise lab.fail(hint, "ending", "look returns a result of session one", at="** look")


@suite.check(
    "first-wait",
    "`next_wait` returns a time",
    todo=7,
    why="Without it the client gives up after the first stream.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "none": "The first `next_wait` of all returned None, as if it were time to give up. "
        "Is there a `return` in front of the sum?",
        "sleeps": "`next_wait` took as long as the wait. It only says how long to wait: "
        "`keep_connected` then sleeps, with `asyncio.sleep`, so that nobody else has to wait.",
    },
)
def first_wait(lab: Lab) -> None:
    if "slept" in lab.pace:
        slept = f"{lab.pace['slept']:.1f} s"
        raise Failed("sleeps", received=slept, wanted="at once", label="`next_wait` took")
    waits = [waits[0] for waits in paces(lab, "in_a_row")]
    if None in waits:
        raise Failed("none", received=repr(waits[0]), wanted="1 to 3", label="Returned")


@suite.check(
    "comes-back-after-the-end",
    "It reconnects when the stream ends cleanly",
    todo=1,
    after=("returns-the-result", "first-wait"),
    why="A server that is told to stop ends its streams without an error. To the client this "
    "looks like a stream that has nothing more to say.",
    read="When the server restarts",
    rule=SSE + ".3",
    hints={
        "gave-up": "The stream ended, and nothing opened another. `connect` returned: the loop "
        "in `keep_connected` must go on.",
        "no-wait": "The stream ended, and the client was back without waiting. After "
        "`connect`, however it ended, go on below: `session_ended`, `next_wait`, sleep.",
    },
)
def comes_back_after_the_end(lab: Lab) -> None:
    site = lab.sites["ending"]
    if not lab.wait(lambda: len(site.gets) > 1) or len(site.gets) < 2:
        hint = "crashed" if lab.crashed("ending") else "gave-up"
        raise lab.fail(hint, "ending", "a second GET /sse", at="** run()")
    if not lab.waits_said("ending"):
        raise lab.fail("no-wait", "ending", "a wait before the second GET", at="-> GET")


@suite.check(
    "comes-back-after-a-cut",
    "It reconnects when the connection breaks",
    todo=1,
    after=("comes-back-after-the-end",),
    why="A server that crashes doesn't end its streams cleanly. aiohttp then raises an error.",
    read="When the server restarts",
    rule=SSE + ".3",
    hints={
        "crashed": "The connection broke, and `run` ended. Catch `aiohttp.ClientError`: it is "
        "the base class of everything that aiohttp raises for a lost connection.",
    },
)
def comes_back_after_a_cut(lab: Lab) -> None:
    site = lab.sites["cutting"]
    if not lab.wait(lambda: len(site.gets) > 1) or len(site.gets) < 2:
        raise lab.fail("crashed", "cutting", "a second GET /sse")


@suite.check(
    "outlives-a-restart",
    "It reconnects after a time when nothing listened",
    todo=1,
    after=("comes-back-after-a-cut",),
    why="While a server restarts, its port refuses connections. The first attempt is nearly "
    "always too early.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "gave-up": f"For {AWAY:g} s nothing listened, and the client gave up. The error from a "
        "connection that can't be opened must be caught, too.",
    },
)
def outlives_a_restart(lab: Lab) -> None:
    site = lab.sites["restarting"]
    if not lab.wait(lambda: len(site.gets) > 1) or len(site.gets) < 2:
        raise lab.fail("gave-up", "restarting", "a GET /sse when the server listens again")


@suite.check(
    "outlives-a-refusal",
    "It tries again when the answer is not a stream",
    todo=1,
    after=("outlives-a-restart",),
    why="While a server starts, a proxy in front of it answers 503.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "gave-up": "The answer was 503, and the client gave up. `connect` raises "
        "ConnectionError then, which is an OSError: catch that too.",
        "spins": "The answer was 503, and the client tried again without waiting. After the "
        "`except`, don't `continue`: go on below, where it waits.",
    },
)
def outlives_a_refusal(lab: Lab) -> None:
    site = lab.sites["leaving"]
    lab.wait(lambda: len(site.gets) > 2)
    wanted = "a wait, and another GET /sse"
    if len(site.gets) < 3:
        raise lab.fail("gave-up", "leaving", wanted, at="<- 503")
    # One wait before each GET but the first. What was said may still be on its way.
    if lab.waits_said("leaving") < 2:
        lab.wait(lambda: lab.waits_said("leaving") > 1, seconds=stretched(0.3))
    if lab.waits_said("leaving") < 2:
        raise lab.fail("spins", "leaving", wanted, at="-> GET")


@suite.check(
    "catches-no-more",
    "It doesn't reconnect to a server that sends nonsense",
    todo=1,
    after=("comes-back-after-the-end",),
    why="It would send the same nonsense again. `run` has an `except` for this.",
    read="When the server restarts",
    rule=COURSE,
    hints={
        "everything": "The server sent something that is not JSON, and the client came back. "
        "Catch `aiohttp.ClientError` and `OSError` in `keep_connected`, and nothing else: "
        "`except Exception` also swallows Gone and ValueError, which should end `run`.",
    },
)
def catches_no_more(lab: Lab) -> None:
    site = lab.sites["unreadable"]
    lab.wait(lambda: lab.outcome("unreadable", "look") is not None or len(site.gets) > 1)
    if (lab.outcome("unreadable", "look") or {}).get("raised") != "Gone":
        raise lab.fail("everything", "unreadable", "look raises Gone", at="-> GET")


@suite.check(
    "new-session",
    "On the new stream it shakes hands again, at the new endpoint",
    todo=2,
    after=("comes-back-after-the-end",),
    why="A session lives in the server's memory, and ends with its stream. The new process "
    "has never heard of the old session id.",
    read="When the server restarts",
    rule=LIFECYCLE,
    hints={
        "nothing-sent": "The second stream named its endpoint, and nothing was sent there. "
        "Every `endpoint` event begins a session.",
        "old-endpoint": "With the second stream open, something was sent to the endpoint of "
        "the first. Store what the newest `endpoint` event says.",
        "no-initialize": "The first message to the new endpoint was not `initialize`. The "
        "server knows nothing about the handshake in the last session.",
    },
)
def new_session(lab: Lab) -> None:
    def sent_later() -> list[tuple[str, str]]:
        # Before its end, session one got two requests, a notification and a call.
        later = [(session, name_of(each)) for session, each in lab.sites["ending"].posts[4:]]
        # Whether a call was sent too early is for the next check.
        return [each for each in later if each != ("one", "tools/call look")]

    lab.wait(lambda: bool(sent_later()))
    later = sent_later()
    wanted = "POST …=two initialize"
    if not later:
        hint = "crashed" if lab.crashed("ending") else "nothing-sent"
        raise lab.fail(hint, "ending", wanted, at="-> GET")
    session, name = later[0]
    if session == "one":
        raise lab.fail("old-endpoint", "ending", wanted, at=f"=one {name}")
    if name != "initialize":
        raise lab.fail("no-initialize", "ending", wanted, at=name)


@suite.check(
    "waits-for-the-session",
    "A call waits until the new session is ready",
    todo=2,
    after=("new-session", "outlives-a-restart"),
    why="The caller of a tool should not have to know that the server is restarting.",
    read="When the server restarts",
    rule=LIFECYCLE,
    hints={
        "too-early": "A call was sent before the new session was initialized. Clear `ready` "
        "when a session ends.",
        "no-result": "A call that was made between two sessions had no result in the new one.",
    },
)
def waits_for_the_session(lab: Lab) -> None:
    def results() -> list[Json | None]:
        return [lab.outcome(name, "look", number=1) for name in ("ending", "restarting")]

    lab.wait(lambda: None not in results())
    if lab.calls("ending", "look")[1:2] == ["one"]:
        raise lab.fail(
            "too-early",
            "ending",
            "POST …=two tools/call look, after the handshake",
            at="=one tools/call",
        )
    for name, result in zip(("ending", "restarting"), results(), strict=True):
        if (result or {}).get("result") != "two":
            raise lab.fail("no-result", name, "the call returns, in session two")


@suite.check(
    "tells-of-the-loss",
    "A call whose stream has ended does not go on waiting",
    todo=3,
    after=("new-session", "returns-the-result"),
    why="The reply would have come on the stream that is gone. Nobody will send it again.",
    read="Calls that are lost",
    rule=COURSE,
    hints={
        "waits-for-ever": "The stream ended while `pay` waited for its reply, and it is still "
        "waiting. Set Lost as the exception of every future in `self.waiting`.",
        "not-lost": "The call ended, but not with Lost. (If you cancel a future, its caller "
        "thinks that it was cancelled itself.)",
    },
)
def tells_of_the_loss(lab: Lab) -> None:
    def outcomes() -> list[Json | None]:
        return [lab.outcome("forgetting", tool) for tool in ("pay", "send")]

    lab.wait(lambda: None not in outcomes())
    for outcome in outcomes():
        if outcome is None:
            raise lab.fail("waits-for-ever", "forgetting", "pay and send raise Lost")
        if outcome.get("raised", "Lost") not in ("Lost", *BUGS):
            raise lab.fail("not-lost", "forgetting", "pay and send raise Lost", at="raises")


@suite.check(
    "keeps-what-came",
    "A reply that came just before the end still counts",
    todo=3,
    after=("tells-of-the-loss",),
    why="A reply and the end of the stream may arrive in one piece. The future is done then, "
    "but its caller has not run yet, so it is still in `self.waiting`.",
    read="Calls that are lost",
    rule=COURSE,
    hints={
        "done-already": "The reply had come, then the stream ended, and setting an exception "
        "raised InvalidStateError: a future is done only once. Test `future.done()` first.",
    },
)
def keeps_what_came(lab: Lab) -> None:
    site = lab.sites["settled"]
    lab.wait(
        lambda: (
            lab.outcome("settled", "look") is not None
            and (len(site.gets) > 1 or lab.crashed("settled"))
        )
    )
    result = (lab.outcome("settled", "look") or {}).get("result")
    if lab.crashed("settled") or result != "one":
        wanted = "look returns, and the client reconnects"
        raise lab.fail("done-already", "settled", wanted, at="** run()")


@suite.check(
    "has-a-time-limit",
    "A call that is never answered ends at its time limit",
    todo=4,
    after=("returns-the-result",),
    why="A server that hangs keeps its stream open, heartbeats and all.",
    read="A POST that fails",
    rule="MCP, timeouts: SHOULD",
    hints={
        "waits-for-ever": f"No reply came for a second, and the limit was {SHORT_ANSWER:g} s. "
        "Put `asyncio.timeout(self.settings.answer)` around the whole call.",
        "another-error": "The call ended, but not with TimeoutError. Let it through.",
        "asked-again": "After its time limit the call was sent once more. The caller's time is "
        "up: let TimeoutError through.",
    },
)
def has_a_time_limit(lab: Lab) -> None:
    # A little less than the server takes to reply after all.
    lab.wait(lambda: lab.outcome("slow", "look") is not None, seconds=stretched(0.9))
    wanted = f"look raises TimeoutError after {SHORT_ANSWER:g} s"
    outcome = lab.outcome("slow", "look")
    if outcome is None and len(lab.calls("slow", "look")) > 1:
        raise lab.fail("asked-again", "slow", wanted, at="-> POST")
    # Without an error it is still waiting, or has had the late reply.
    raised = (outcome or {}).get("raised")
    if raised is None:
        raise lab.fail("waits-for-ever", "slow", wanted)
    if raised != "TimeoutError":
        raise lab.fail("another-error", "slow", wanted, at="** look")


@suite.check(
    "limits-the-wait",
    "A call that finds no session ends at its time limit too",
    todo=4,
    after=("has-a-time-limit", "waits-for-the-session", "keeps-what-came"),
    why="To the caller it makes no difference whether the server is slow or not there.",
    read="A POST that fails",
    rule=COURSE,
    hints={
        "waits-for-ever": "For a second there was no session, the limit was "
        f"{SHORT_ANSWER:g} s, and the call is still waiting. Put the limit around all of "
        "`call_until_told`: waiting for a session takes the caller's time too.",
    },
)
def limits_the_wait(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("away", "look", number=1) is not None, seconds=stretched(1.0))
    if (lab.outcome("away", "look", number=1) or {}).get("raised") != "TimeoutError":
        wanted = f"look raises TimeoutError after {SHORT_ANSWER:g} s"
        raise lab.fail("waits-for-ever", "away", wanted)


@suite.check(
    "late-reply",
    "A reply that comes too late does no harm",
    todo=4,
    after=("has-a-time-limit",),
    why="The server doesn't know that nobody is waiting any more, and replies anyway.",
    read="A POST that fails",
    rule="JSON-RPC 2.0",
    hints={
        "disturbed": "A reply came after its call had given up, and the next call had no "
        "result. Ignore a reply that nobody waits for.",
        "ended": "After its time limit the call ended the session, for all other calls as "
        "well. The stream is fine and only this call is over: let TimeoutError through.",
    },
)
def late_reply(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("slow", "look", number=1) is not None)
    wanted = "the second call returns, in the same session"
    if len(lab.sites["slow"].gets) > 1:
        raise lab.fail("ended", "slow", wanted, at="-> GET")
    if (lab.outcome("slow", "look", number=1) or {}).get("result") != "one":
        raise lab.fail("disturbed", "slow", wanted)


@suite.check(
    "repeats-what-is-safe",
    "A lost call is sent again if its tool says that this does no harm",
    todo=5,
    after=("tells-of-the-loss",),
    why="Looking twice is as good as looking once: here the caller need not hear of the loss.",
    read="Calls that are lost",
    rule="MCP: tool annotations",
    hints={
        "read-only": "`look` says `readOnlyHint: true`, and its call was lost. Send it again.",
        "idempotent": "`store` says `idempotentHint: true`: a second call changes nothing "
        "more. Send it again.",
    },
)
def repeats_what_is_safe(lab: Lab) -> None:
    def result(tool: str) -> object:
        return (lab.outcome("forgetting", tool) or {}).get("result")

    lab.wait(
        lambda: None not in [lab.outcome("forgetting", tool) for tool in ("look", "store")]
    )
    for tool, hint in (("look", "read-only"), ("store", "idempotent")):
        if result(tool) != "two":
            raise lab.fail(hint, "forgetting", f"the result of {tool} in session two")


@suite.check(
    "repeats-nothing-else",
    "No other lost call is ever sent twice",
    todo=5,
    after=("repeats-what-is-safe",),
    why="The server may have run it before it stopped. Paying again is paying twice.",
    read="Calls that are lost",
    rule="MCP: tool annotations",
    hints={
        "not-idempotent": "`pay` says `idempotentHint: false`, was lost, and was sent twice. "
        "(Not being destructive doesn't make it safe: two payments destroy nothing either. And "
        "is it Lost that you raise in TODO 3? NotTaken means that it has not run.)",
        "says-nothing": "`send` has no annotations, and was sent twice. A hint that is missing "
        "counts as false.",
        "not-raised": "`pay` was lost and may not be repeated, but its caller did not get "
        "Lost. The lines with `**` say what it got instead. A hint that is missing counts as "
        "false: look it up with `.get`. Then raise Lost as it came.",
    },
)
def repeats_nothing_else(lab: Lab) -> None:
    for tool in ("pay", "send"):
        if (lab.outcome("forgetting", tool) or {}).get("raised") in BUGS:
            raise lab.fail("not-raised", "forgetting", f"{tool} raises Lost", at=f"** {tool}")
    for tool, hint in (("pay", "not-idempotent"), ("send", "says-nothing")):
        if lab.calls("forgetting", tool) != ["one"]:
            raise lab.fail(
                hint, "forgetting", f"one call of {tool}", at=f"=two tools/call {tool}"
            )


@suite.check(
    "refused",
    "A call that was refused with 404 is sent in a new session",
    todo=5,
    after=("waits-for-the-session",),
    why="404 says that the session is gone. The call has certainly not run, so even a payment "
    "can be sent again, in a session that the server knows.",
    read="A POST that fails",
    rule=COURSE,
    hints={
        "passed-on": "The POST was answered with 404, and the caller got an error for it. "
        "Catch NotTaken, and go round again.",
        "same-session": "The POST was answered with 404, but the client kept that session. "
        "Call `end_stream`: the stream that it belongs to is of no further use.",
    },
)
def refused(lab: Lab) -> None:
    lab.wait(
        lambda: (
            lab.outcome("refusing", "pay") is not None or len(lab.calls("refusing", "pay")) > 3
        )
    )
    wanted = "a new stream, and pay in session two"
    if "raised" in (lab.outcome("refusing", "pay") or {}):
        raise lab.fail("passed-on", "refusing", wanted, at="** pay")
    if lab.calls("refusing", "pay") != ["one", "two"]:
        raise lab.fail("same-session", "refusing", wanted)


@suite.check(
    "endpoint-origin",
    "It sends nothing to any server but the one it connected to",
    todo=6,
    after=("returns-the-result", "catches-no-more"),
    why="The endpoint is data from outside. A server that may choose it freely can make the "
    "client send requests to any machine that the client can reach.",
    read="Where the client may be sent",
    rule=COURSE,
    hints={
        "went-there": "The endpoint was on another port, and was POSTed to. Compare the "
        "`origin()` of both URLs and raise Gone. (`session_opened` has to store the URL that "
        "`checked` returns.)",
        "looks-alike": "The endpoint only begins like the server's URL: what comes before an "
        "`@` is a user's name. Compare the `origin()` of both URLs.",
        "came-back": "The endpoint was refused, but the call did not end with Gone. A server "
        "that names such an endpoint will name it again: raise Gone, and nothing else.",
    },
)
def endpoint_origin(lab: Lab) -> None:
    lab.wait(
        lambda: all(
            lab.outcome(name, "look") is not None or lab.sites[f"not_{name}"].posts
            for name in ("elsewhere", "looks_alike")
        )
    )
    for name, hint in (("elsewhere", "went-there"), ("looks_alike", "looks-alike")):
        wanted = "no POST at all, and look raises Gone"
        if lab.sites[f"not_{name}"].posts:
            raise lab.fail(hint, name, wanted, at="-> POST")
        if (lab.outcome(name, "look") or {}).get("raised") != "Gone":
            raise lab.fail("came-back", name, wanted)


@suite.check(
    "own-origin",
    "It takes an absolute URL on the same server",
    todo=6,
    after=("returns-the-result",),
    why="The specification says that the endpoint is a URI. Many servers send an absolute one.",
    read="Where the client may be sent",
    rule=TRANSPORT,
    hints={
        "refused": "The endpoint was an absolute URL on the server itself, and was refused. "
        "Only `origin()` has to be the same.",
    },
)
def own_origin(lab: Lab) -> None:
    lab.wait(lambda: lab.outcome("absolute", "look") is not None)
    if (lab.outcome("absolute", "look") or {}).get("result") != "one":
        raise lab.fail("refused", "absolute", "the call returns", at="http:")


def paces(lab: Lab, key: str) -> Any:
    """What the learner's Paces returned. Raises Failed("crashed")."""
    if "error" in lab.pace:
        raise Failed("crashed", received=lab.pace["error"], label="Raised")
    return lab.pace[key]


def nth(lab: Lab, number: int) -> list[float]:
    """The waits with this index, from all Paces. One that gave up counts as 0."""
    return [waits[number] or 0.0 for waits in paces(lab, "in_a_row")]


def fail_pace(hint: str, waits: list[float], wanted: str) -> Failed:
    shown = " ".join(f"{wait:.2f}" for wait in waits[:10])
    return Failed(hint, received=f"{shown} …", wanted=wanted, label="The waits")


@suite.check(
    "backs-off",
    "It waits longer with each failure in a row",
    todo=7,
    after=("first-wait",),
    why="A server that starts up under a storm of clients goes down again.",
    read="How long to wait",
    rule=SSE + ".3",
    hints={
        "same-range": "With `retry` 1 s and `first_backoff` 2 s, no fourth wait was longer "
        "than a first one can be. Double the limit of the random part with each failure.",
        "not-doubled": "With `retry` 1 s and `first_backoff` 2 s, fourth waits should reach up "
        "to 17 s. The limit of the random part is `first_backoff`, doubled once for each "
        "failure before this one: 2, 4, 8, 16.",
        "not-at-least": "A wait was shorter than the reconnection time. Add the random part to "
        "`self.retry`.",
        "first": "The first wait was longer than `retry` and `first_backoff` together. Double "
        "only after the first wait.",
    },
)
def backs_off(lab: Lab) -> None:
    if min(nth(lab, 0)) < 1:
        raise fail_pace("not-at-least", nth(lab, 0), "the first waits: from 1 to 3 s")
    # A wait slightly over is for the check of the spread.
    if max(nth(lab, 0)) > 3.5:
        raise fail_pace("first", nth(lab, 0), "the first waits: from 1 to 3 s")
    if max(nth(lab, 3)) <= 3.5:
        raise fail_pace("same-range", nth(lab, 3), "the fourth waits: from 1 to 17 s")
    if max(nth(lab, 3)) <= 11:
        raise fail_pace("not-doubled", nth(lab, 3), "the fourth waits: from 1 to 17 s")


@suite.check(
    "honours-retry",
    "It waits at least as long as the stream asked",
    todo=7,
    after=("comes-back-after-the-end", "backs-off", "keeps-what-came"),
    why="`retry` is how a server says how long its restart takes.",
    read="How long to wait",
    rule=SSE + ".2",
    hints={
        "too-soon": "The stream asked for a reconnection time, and the client's wait was "
        "shorter. Store what `server_asked` is given, and start from `self.retry`.",
        "capped": "The stream asked for 40 s, `longest_backoff` was 16 s, and the wait was not "
        "40 s. `longest_backoff` limits the random part only, not the sum.",
        "seconds": "The stream asked for 40,000, and the wait was that many seconds. `retry` "
        "is in milliseconds.",
        "forgotten": "A stream asked for 40 s, the next one asked for nothing, and the wait "
        "was shorter. None changes nothing: keep the time until the server asks for another.",
    },
)
def honours_retry(lab: Lab) -> None:
    seconds = PACE["asked"] / 1_000
    wanted = "40 s, and a little more"
    asked, kept = paces(lab, "asked") or 0.0, paces(lab, "kept") or 0.0
    if asked > 100 * seconds:
        raise fail_pace("seconds", [asked], wanted)
    if asked < seconds:
        longest = PACE["settings"]["longest_backoff"]
        raise fail_pace("capped" if asked >= longest else "too-soon", [asked], wanted)
    if kept < seconds:
        raise fail_pace("forgotten", [kept], wanted)
    site = lab.sites["asking"]
    assert isinstance(site, Asking)
    lab.wait(lambda: len(site.gets) > 1)
    wanted = f"the second GET {ASKED_RETRY} ms after the end, and a little more"
    # A millisecond less is the clock's resolution.
    if len(site.gets) < 2 or site.gets[1] - site.ended < ASKED_RETRY / 1_000 - 0.005:
        raise lab.fail("too-soon", "asking", wanted, at="-> GET")


@suite.check(
    "spreads",
    "Clients that fail together do not come back together",
    todo=7,
    after=("backs-off",),
    why="A restart cuts off all clients at once. If their waits are nearly the same, "
    "they all come back at once too.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "together": "Sixty clients failed together, and several of them wait for exactly the "
        "same time. Use `random.uniform(0, limit)`.",
        "little": "Sixty clients failed together, and their waits are close together although "
        "the limit of the random part was 8 s. Spread them over all of it: "
        "`random.uniform(0, limit)`.",
    },
)
def spreads(lab: Lab) -> None:
    waits = nth(lab, 2)
    if len(set(waits)) < len(waits):
        raise fail_pace("together", waits, "sixty different waits, from 1 to 9 s")
    # Half of the limit is a well-known variant. With sixty, the outermost are near its ends.
    if max(waits) - min(waits) < 2.5:
        raise fail_pace("little", waits, "waits all over 1 to 9 s")


@suite.check(
    "bounded",
    "No wait grows without limit",
    todo=7,
    after=("backs-off", "spreads"),
    why="Doubled twenty times, half a second is six days.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "unbounded": "A wait was longer than `retry` and `longest_backoff` together.",
    },
)
def bounded(lab: Lab) -> None:
    waits = nth(lab, 6) + nth(lab, 7)
    if max(waits) > 17.001:
        raise fail_pace("unbounded", sorted(waits, reverse=True), "17 s at most")


@suite.check(
    "starts-over",
    "A session makes it forget the failures",
    todo=7,
    after=("backs-off", "spreads"),
    why="This morning's failures must not slow down tonight's reconnection.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "remembers": "A session had begun, and the next wait was as long as after eight "
        "failures. Reset the count.",
    },
)
def starts_over(lab: Lab) -> None:
    waits = [wait or 0.0 for wait in paces(lab, "after_a_session")]
    if max(waits) > 3.001:
        raise fail_pace("remembers", sorted(waits, reverse=True), "from 1 to 3 s")


@suite.check(
    "gives-up",
    "When the server stays away it gives up, and tells the waiting callers",
    todo=7,
    after=("backs-off", "waits-for-the-session", "outlives-a-refusal"),
    why="A program that waits for ever for a server that was switched off seems to hang.",
    read="How long to wait",
    rule=COURSE,
    hints={
        "never": f"After {FEW_FAILURES} failures in a row the client is still trying. Return "
        "None from `next_wait`.",
        "too-soon": f"The client gave up after fewer than {FEW_FAILURES} attempts. The first "
        "wait comes before the first attempt: look at the count before you add to it.",
    },
)
def gives_up(lab: Lab) -> None:
    site = lab.sites["leaving"]
    lab.wait(
        lambda: (
            lab.outcome("leaving", "look", number=1) is not None
            or len(site.gets) > FEW_FAILURES + 3
        )
    )
    wanted = f"{FEW_FAILURES} attempts, and then Gone"
    if len(site.gets) > FEW_FAILURES + 1:
        raise lab.fail("never", "leaving", wanted)
    outcome = lab.outcome("leaving", "look", number=1) or {}
    if outcome.get("raised") != "Gone":
        raise lab.fail("never", "leaving", wanted)
    if len(site.gets) < FEW_FAILURES + 1:
        raise lab.fail("too-soon", "leaving", wanted)
