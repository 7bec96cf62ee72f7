"""The checks of lesson 04: JSON-RPC and MCP's handshake over stdin and stdout."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.checks.engine import Suite
from workshop.complaints import Complaint, complaints_in, todo_of
from workshop.failed import Failed
from workshop.patience import stretched
from workshop.running import ProgramError

Json = dict[str, Any]

# How long, in seconds, a check waits for a reply. A dozen children start within that time,
# on whatever machine this is. A server that says nothing at all is found out sooner.
PATIENCE = stretched(2.0)
SHORT = stretched(0.5)

STDIO = "MCP, stdio: MUST"
JSON_RPC = "JSON-RPC 2.0"

# Enough answers to fill Python's buffer: 8 KiB, and 128 KiB since Python 3.14.
MANY = io.DEFAULT_BUFFER_SIZE // 20


def environment() -> dict[str, str]:
    """As an MCP client would start it: with PYTHONUNBUFFERED a missing flush would hide."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of stdout: its bytes, and the JSON object in it or None."""

    raw: bytes
    message: Json | None


class Child:
    """The program under check as a child process, and every byte on its pipes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self._out = bytearray()
        self._log = bytearray()
        self._grew = threading.Condition()
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        assert self.process.stdout is not None and self.process.stderr is not None
        self._open = 2
        for pipe, kept in ((self.process.stdout, self._out), (self.process.stderr, self._log)):
            threading.Thread(target=self._keep, args=(pipe.fileno(), kept), daemon=True).start()

    def _keep(self, fileno: int, kept: bytearray) -> None:
        while piece := os.read(fileno, 65_536):
            with self._grew:
                kept += piece
                self._grew.notify_all()
        with self._grew:
            self._open -= 1
            self._grew.notify_all()

    @property
    def out(self) -> bytes:
        """What has come on stdout so far."""
        with self._grew:
            return bytes(self._out)

    @property
    def log(self) -> str:
        """The end of stderr. Of a traceback: the last place in this file, and the exception."""
        return end_of_log(self.whole_log, self.path)

    @property
    def whole_log(self) -> str:
        """All that has come on stderr so far."""
        with self._grew:
            return self._log.decode("utf-8", "replace")

    @property
    def crashed(self) -> bool:
        """Whether stderr has a traceback on it."""
        with self._grew:
            return b"Traceback (most recent call last):" in self._log

    @property
    def ended(self) -> bool:
        """Whether the program is gone: nothing holds its outputs open any more."""
        with self._grew:
            return self._open == 0

    def send(self, raw: bytes) -> None:
        """Write to the program's stdin. If it no longer reads there, that shows up later."""
        assert self.process.stdin is not None
        stdin = self.process.stdin.fileno()
        deadline = time.monotonic() + SHORT
        while raw and (left := deadline - time.monotonic()) > 0:
            try:
                raw = raw[os.write(stdin, raw) :]
            except BlockingIOError:  # the pipe is full
                select.select([], [stdin], [], left)
            except BrokenPipeError:
                return

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, ready: Callable[[bytes], bool], seconds: float | None = None) -> bool:
        """Wait until `ready(stdout)`; False when time runs out or both outputs ended first."""
        deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
        with self._grew:
            while not ready(bytes(self._out)):
                left = deadline - time.monotonic()
                if left <= 0 or self._open == 0:
                    return False
                self._grew.wait(left)
            return True

    def wait_for_lines(self, count: int, start: int) -> bool:
        """Wait until so many line ends have come from byte `start` on."""
        return self.wait(lambda out: out.count(b"\n", start) >= count)

    def status(self, seconds: float) -> int | None:
        """The exit status, or None when the program is still there after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def next_line(self, start: int = 0) -> Line | None:
        """The first whole line of stdout from byte `start` on; None when none comes."""
        if not self.wait(lambda out: b"\n" in out[start:]):
            return None
        raw = self.out[start:].partition(b"\n")[0] + b"\n"
        return Line(raw, json_object(raw))

    def ask(self, message: Json | bytes) -> Line:
        """Send a message and return the line that comes. Raises Failed when none does."""
        raw = message if isinstance(message, bytes) else as_line(message)
        start = len(self.out)
        self.send(raw)
        line = self.next_line(start)
        if line is not None:
            return line
        if self.ended:
            hint = "crashed" if self.crashed else "no-connection"
            raise Failed(hint, sent=raw, received=self.log, wanted="a reply")
        raise Failed("no-answer", sent=raw, received=self.out[start:], wanted="a reply")

    def replies_before_pong(self, raw: bytes, died: str) -> list[Line]:
        """Send `raw` and a ping; return the lines that come before the ping's answer.

        The ping saves a long wait to find out that nothing comes. Raises Failed, with the
        hint `died` if the program has ended.
        """
        start = len(self.out)
        self.send(raw + as_line(ping("after")))
        if not self.wait(lambda out: b'"after"' in out[start:] and out.endswith(b"\n")):
            hint = died if self.ended else "no-answer"
            raise Failed(hint, sent=raw, received=self.log, wanted="a server that goes on")
        lines = self.out[start:].splitlines(keepends=True)
        return [Line(line, json_object(line)) for line in lines if b'"after"' not in line]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close_stdin()


@dataclass(frozen=True, slots=True)
class Target:
    """The file under check, and the first child of it, which is started for all checks.

    `at_once` is whether that child answered its first message before more came.
    """

    path: Path
    first: Child
    at_once: bool

    @contextmanager
    def child(self) -> Iterator[Child]:
        """One more child, for one check alone."""
        child = Child(self.path)
        try:
            yield child
        finally:
            child.close()

    @contextmanager
    def session(self) -> Iterator[Child]:
        """One more child, after its handshake."""
        with self.child() as child:
            child.ask(initialize_request("2025-11-25"))
            child.send(as_line(INITIALIZED))
            yield child


@contextmanager
def open_program(path: Path) -> Iterator[Target]:
    """Start the file and send it a ping. Raises ProgramError when that ends it."""
    first = Child(path)
    try:
        first.send(as_line(ping(1)))
        # Something comes, or it ends, or it stays silent: only its end matters here.
        at_once = first.wait(lambda out: out != b"", 2 * SHORT)
        status = first.status(SHORT) if first.ended else None
        if status not in (None, 0) and not first.out:
            raise ProgramError(first.whole_log or f"nothing, and ended with status {status}")
        yield Target(path, first, at_once)
    finally:
        first.close()


suite = Suite(
    "04_stdio_server",
    open_program=open_program,
    start_heading="Run it",
    start_title="The program starts",
    start_hint="It ended, either before the first message or because of it. If it printed an "
    "exception, that names the line.",
)


def end_of_log(text: str, path: Path) -> str:
    """The last lines of a log; of a traceback, the last place in `path` and the exception."""
    lines = text.splitlines()
    places = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    ours = [index for index in places if lines[index].startswith(f'  File "{path}"')]
    if not ours:
        return "\n".join(lines[-5:])
    start = ours[-1]
    stop = next((index for index in places if index > start), len(lines))
    exception = [line for line in lines[places[-1] + 1 :] if not line.startswith(" ")]
    kept = lines[start:stop] + (exception if stop < len(lines) else [])
    return "\n".join([lines[start].strip().replace(str(path), path.name), *kept[1:]])


def as_line(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


def json_object(raw: bytes) -> Json | None:
    """The JSON object in these bytes, or None."""
    try:
        value = json.loads(raw.decode("utf-8"))  # bytes would be taken in UTF-16 too
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except ValueError:
        return False
    return True


def ping(id: int | str) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": "ping"}


def request(method: str, params: Json) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def initialize_request(version: str) -> Json:
    client = {"name": "workshop", "version": "1.0.0"}
    return request(
        "initialize",
        {"protocolVersion": version, "capabilities": {}, "clientInfo": client},
    )


INITIALIZED: Json = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def place_of(raw: bytes, key: str) -> int | None:
    """Where the value of a key begins in a line of JSON; None when the key is not there."""
    found = re.search(rb'"%s"\s*:\s*' % key.encode(), raw)
    return found.end() if found else None


def result_in(line: Line) -> Any:
    return None if line.message is None else line.message.get("result")


def error_code(line: Line) -> Any:
    """The code of the error in a reply, or None when there is no error in it."""
    error = None if line.message is None else line.message.get("error")
    return error.get("code") if isinstance(error, dict) else None


def check_code(line: Line, wanted: int, sent: bytes, *, hint: str = "wrong-code") -> None:
    """Raises Failed when the line is not an error with this code."""
    if error_code(line) != wanted:
        at = place_of(line.raw, "code")
        raise Failed(hint, sent=sent, received=line.raw, at=at, wanted=f'"code": {wanted}')


@suite.check(
    "reads-lines",
    "A message is answered when its line arrives",
    todo=1,
    read="One message, one line",
    rule=STDIO,
    why="The client sends its next message when it has this answer. Until then both wait.",
    hints={
        "silent": "Nothing came on stdout, not even after stdin was closed. Does the loop run, "
        "and does it send what `reply_to` returns?",
        "only-at-the-end": "The answer came when stdin was closed, which a client does when it "
        "leaves. `read()` and `readlines()` wait for that: loop over the stream instead.",
        "first-line-only": "The first line was answered and the second was not. "
        "Is there a `return` or a `break` inside the loop, or no loop at all?",
        "pieces": "Several lines came at once and were taken for one message. `read` and "
        "`read1` return whatever has arrived: loop over the stream, which gives you lines.",
        "wrong-way-round": "The message with an id got no reply, and one without an id did. "
        "TODO 4 has it the wrong way round: a request has an id, a notification has none.",
    },
)
def reads_lines(target: Target) -> None:
    child, sent = target.first, as_line(ping(1))
    came = target.at_once
    if not came:
        # A server that reads, and only forgets to flush, sends when its buffer is full.
        child.send(sent * MANY)
        came = child.wait(lambda out: out != b"", SHORT)
    if not came:
        child.close_stdin()
        late = child.wait(lambda out: out != b"", SHORT)
        if not late and '"jsonrpc"' in child.log:
            return  # it does answer, on stderr: the next check is about that
        hint = "only-at-the-end" if late else "silent"
        if not late and answers_a_notification(target):
            hint = "wrong-way-round"
        received = child.out.partition(b"\n")[0] if late else child.log
        raise Failed(hint, sent=sent, received=received, wanted="a reply while stdin is open")
    before = len(child.out)
    child.send(sent * MANY)
    grew = child.wait(lambda out: len(out) > before)
    if "Extra data" in child.log or b'"error"' in child.out[before:]:
        received = child.log or child.out[before:].partition(b"\n")[0]
        raise Failed("pieces", sent=sent * 2, received=received, wanted="a reply to each line")
    if not grew:
        hint = "crashed" if child.crashed else "first-line-only"
        raised = complaints_in(child.whole_log, target.path)
        raise Failed(
            hint,
            sent=sent,
            received=child.log,
            wanted="one more reply",
            # What ends it after a reply to the same message need not be the loop.
            todo=todo_of(raised[-1]) if raised else None,
        )


def answers_a_notification(target: Target) -> bool:
    with target.child() as child:
        child.send(as_line({"jsonrpc": "2.0", "method": "ping"}))
        return child.wait(lambda out: out != b"", SHORT)


@suite.check(
    "one-line",
    "Stdout carries messages, one per line, and nothing else",
    todo=2,
    after=("reads-lines",),
    read="One message, one line",
    rule=STDIO,
    why="The client reads up to the end of a line and takes what it has as one message.",
    hints={
        "not-flushed": "Nothing came until several kilobytes of answers had piled up: they "
        "wait in Python's buffer. Call `flush()` after each message.",
        "on-stderr": "The reply went to stderr, where the client never looks for one. Write it "
        "to `outgoing`, which is stdout.",
        "no-line-end": "The message has come but its line has no end, so the client keeps "
        'reading. Add b"\\n".',
        "line-break-inside": "The JSON is spread over several lines, and each one is taken for "
        "a message. Leave out `indent`.",
        "line-end-first": "The line end comes before the message. The client gets an empty "
        "line, and then waits for the end of the next one.",
        "header": "Send just the line, with nothing in front of it. `Content-Length` belongs "
        "to the Language Server Protocol, `data:` to event streams.",
        "no-json": "This is not a JSON object in UTF-8. `json.dumps(message).encode()` turns "
        "the message into one; `str` gives Python's own notation.",
        "stray-text": "This is not a message. What printed it? Stdout belongs to the protocol: "
        "print to sys.stderr.",
    },
)
def one_line(target: Target) -> None:
    sent = as_line(ping(1))
    with target.child() as child:
        child.send(sent)
        # One that has shown that it can has the time it needs; the other we need not wait for.
        if not child.wait(lambda out: out != b"", PATIENCE if target.at_once else 2 * SHORT):
            if '"jsonrpc"' in child.log:
                raise Failed("on-stderr", sent=sent, received=child.log, wanted="it on stdout")
            raise Failed("not-flushed", sent=sent, wanted="one line, now")
        child.wait(lambda out: b"\n" in out, SHORT)
        out = child.out
    if re.match(rb"[A-Za-z-]+:\s", out):
        raise Failed("header", sent=sent, received=out, at=0, wanted="a line of JSON")
    if b"\n" not in out:
        if json_object(out.removesuffix(rb"\n")) is not None:
            at = len(out.removesuffix(rb"\n"))
            raise Failed("no-line-end", sent=sent, received=out, at=at, wanted="\\n")
        raise Failed("stray-text", sent=sent, received=out, at=0, wanted="a line of JSON")
    first = out.partition(b"\n")[0]
    if json_object(first) is None:
        # Whole over several lines, or no JSON at all?
        if json_object(out) is not None or first.strip() == b"{":
            at = len(first)
            hint = "line-break-inside" if first else "line-end-first"
            raise Failed(hint, sent=sent, received=out, at=at, wanted="one line")
        if first[:1] in b'{["' or not is_utf_8(out):
            raise Failed("no-json", sent=sent, received=out, at=0, wanted="a line of JSON")
        raise Failed("stray-text", sent=sent, received=out, at=0, wanted="a line of JSON")


@suite.check(
    "goes-on",
    "After each message the server reads the next one",
    todo=1,
    after=("one-line",),
    read="One message, one line",
    rule="MCP, Lifecycle, Shutdown: the client ends the session",
    why="Only the end of stdin ends a session. One bad message costs one message.",
    hints={
        "none-sent": "None was sent, as `null`. Send the reply only if it is not None.",
        "left-at-none": "There was nothing to send for this message, and the server left. "
        "When `reply_to` returns None, go on with the next line: no `return`, no `break`.",
        "left-after-error": "This message is wrong, and the server left because of it. Send "
        "the error and go on with the next line: no `return`, no `break`, no `exit`.",
    },
)
def goes_on(target: Target) -> None:
    unknown_tool = request("tools/call", {"name": "subtract", "arguments": {}})
    with target.child() as child:
        for sent, hint in (
            (as_line(INITIALIZED), "left-at-none"),
            (as_line(request("server/discover", {})), "left-after-error"),
            (as_line(unknown_tool), "left-after-error"),
            (b"hello\n", "left-after-error"),
        ):
            start = len(child.out)
            child.send(sent + as_line(ping(1)) * 2)
            # The message may have a reply. A server that read on sends two lines, or three.
            child.wait_for_lines(2, start)
            received = child.out[start:]
            if b"null" in received.splitlines():
                at = received.find(b"null\n")
                raise Failed("none-sent", sent=sent, received=received, at=at, wanted="nothing")
            if received.count(b"\n") >= 2:
                continue
            # An exception, or text on stderr instead of a reply, is not the loop's fault.
            by_the_loop = b'"error"' in received or child.status(SHORT) == 0
            if child.ended and not child.crashed and by_the_loop:
                received = received or child.log.encode()
                raise Failed(hint, sent=sent, received=received, wanted="a server that goes on")
            return


@suite.check(
    "only-messages",
    "The rest of a session is messages too, to its very end",
    todo=2,
    after=("one-line", "goes-on"),
    read="Nothing but messages on stdout",
    rule=STDIO,
    why="Anything else that comes is taken for a message, or spoils the one after it.",
    hints={
        "stray-text": "This is not a message. What printed it? Stdout belongs to the protocol: "
        "print to sys.stderr. A print that is not flushed comes out at the end.",
        "empty-line": "A line without a message. One line end after each message is enough.",
    },
)
def only_messages(target: Target) -> None:
    messages = [
        initialize_request("2025-11-25"),
        INITIALIZED,
        request("tools/list", {}),
        request("tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}}),
        request("tools/call", {"name": "add", "arguments": {"a": 2}}),
        request("server/discover", {}),
    ]
    sent = b"".join(map(as_line, messages)) + b"hello\n"
    with target.child() as child:
        child.send(sent)
        child.close_stdin()
        child.wait(lambda out: False, 2 * SHORT)  # to its end; whether it leaves is "leaves"
        out = child.out
    start = 0
    for line in out.splitlines(keepends=True):
        if json_object(line) is None:
            hint = "stray-text" if line.strip() else "empty-line"
            todo = todo_of_the_print(target.path) if line.strip() else None
            raise Failed(hint, sent=sent, received=out, at=start, wanted="messages", todo=todo)
        start += len(line)


def todo_of_the_print(path: Path) -> int | None:
    """The TODO above the only `print` to stdout; None when there is none, or several."""
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8-sig")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        if not any(keyword.arg == "file" for keyword in node.keywords)
    ]
    return todo_of(Complaint(path, "", found[0])) if len(found) == 1 else None


@suite.check(
    "leaves",
    "When stdin ends, the server exits with status 0",
    todo=1,
    after=("one-line",),
    alone=True,  # a server that stays may do so in a busy loop, which slows the others down
    read="Leaving",
    rule="MCP, Lifecycle, Shutdown: the client closes stdin first",
    why="Closing stdin is how a client says goodbye. A server that stays is a leaked process.",
    hints={
        "stays": 'It is still running. An empty read means the end: leave the loop on b"".',
        "bad-status": "It exited with a status that says something went wrong. The end of "
        "stdin is the normal end: just return.",
    },
)
def leaves(target: Target) -> None:
    with target.child() as child:
        child.ask(as_line(ping(1)))
        child.close_stdin()
        status = child.status(1.0)
        if status is None:
            raise Failed("stays", sent="(end of stdin)", wanted="exit status 0")
        if status != 0:
            received = f"exit status {status}\n{child.log}"
            raise Failed("bad-status", sent="(end of stdin)", received=received, wanted="0")


@suite.check(
    "initialize",
    "`initialize` is answered with version, capabilities and name",
    todo=3,
    after=("only-messages",),
    read="The handshake",
    rule="MCP 2024-11-05 to 2025-11-25, Lifecycle: MUST",
    why="Until a client has this answer it asks for nothing else.",
    hints={
        "no-result": "`initialize` must be answered with a result. If the program ended, "
        "its last line says why.",
        "missing": "The result needs three keys: `protocolVersion`, `capabilities` and "
        "`serverInfo`, spelled exactly like that.",
        "wrong-kind": "The key is there, but its value is of the wrong kind. "
        "`protocolVersion` is one string. `capabilities` and `serverInfo` are objects.",
        "wrapped": "There is a result in the result. Return only what is inside: `reply_to` "
        "adds `jsonrpc`, `id` and `result`.",
        "no-tools": "Announce the tools: `capabilities` needs an object `tools`, which may be "
        "empty. A client does not ask for what the server has not announced.",
    },
)
def initialize(target: Target) -> None:
    sent = as_line(initialize_request("2025-11-25"))
    with target.child() as child:
        try:
            line = child.ask(sent)
        except Failed as failure:
            raise Failed(
                "no-result", sent=sent, received=failure.received, wanted="a result"
            ) from failure
    result = result_in(line)
    if not isinstance(result, dict):
        raise Failed("no-result", sent=sent, received=line.raw, wanted='"result": {…}')
    for key, kind in (("protocolVersion", str), ("capabilities", dict), ("serverInfo", dict)):
        if not isinstance(result.get(key), kind):
            hint = "wrapped" if "result" in result else "missing"
            if result.get(key) is not None:
                hint = "wrong-kind"
            at = place_of(line.raw, key) or place_of(line.raw, "result")
            raise Failed(hint, sent=sent, received=line.raw, at=at, wanted=f'"{key}"')
    if not isinstance(result["capabilities"].get("tools"), dict):
        at = place_of(line.raw, "capabilities")
        raise Failed("no-tools", sent=sent, received=line.raw, at=at, wanted='{"tools": {}}')


@suite.check(
    "version",
    "Both sides agree on a version",
    todo=3,
    after=("initialize",),
    read="The handshake",
    rule="MCP 2024-11-05 to 2025-11-25, Version Negotiation: MUST",
    why="From here on both sides follow that version.",
    hints={
        "ignored": "The client asked for a version that you speak, and got another one. "
        "Agree to what it asks for if you can.",
        "not-newest": "You were asked for a version that you don't speak. Offer your newest, "
        "and let the client decide.",
        "echoed": "There is no such version, and you agreed to it. Offer your newest instead: "
        "then the client can leave, or agree.",
        "refused": "A version that you don't speak is not an error: offer your newest, and let "
        "the client decide.",
    },
)
def version(target: Target) -> None:
    newest = "2025-11-25"
    for asked in ("2024-11-05", newest, "1900-01-01"):
        sent = as_line(initialize_request(asked))
        with target.child() as child:
            line = child.ask(sent)
        result = result_in(line)
        if not isinstance(result, dict):
            raise Failed("refused", sent=sent, received=line.raw, wanted='"result": {…}')
        at = place_of(line.raw, "protocolVersion")
        got = result.get("protocolVersion")
        if asked != "1900-01-01" and got != asked:
            raise Failed("ignored", sent=sent, received=line.raw, at=at, wanted=f'"{asked}"')
        if asked == "1900-01-01" and got == asked:
            raise Failed(
                "echoed", sent=sent, received=line.raw, at=at, wanted="a version of yours"
            )
        if asked == "1900-01-01" and got != newest:
            raise Failed("not-newest", sent=sent, received=line.raw, at=at, wanted=newest)


@suite.check(
    "id",
    "A reply carries the id of its request",
    todo=4,
    after=("only-messages",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST be the same",
    why="The id is the only thing that says which question this answer belongs to.",
    hints={
        "not-the-id": "This is not the id of the request. Take it from the message.",
        "other-type": 'The id changed its type on the way: 7 and "7" are two ids. '
        "Give back the value itself.",
        "zero-lost": "0 is an id like any other, but Python treats it as false. "
        'Ask whether "id" is in the message, not whether it is true.',
    },
)
def same_id(target: Target) -> None:
    with target.child() as child:
        for id in (7, "seven", 0):
            sent = as_line(ping(id))
            try:
                line = child.ask(sent)
            except Failed as failure:
                if id == 0 and failure.hint == "no-answer":  # taken for a notification
                    failure.hint = "zero-lost"
                raise
            got = None if line.message is None else line.message.get("id")
            if got == id and type(got) is type(id):
                continue
            hint = "not-the-id"
            if id == 0:
                hint = "zero-lost"
            elif str(got) == str(id):
                hint = "other-type"
            at = place_of(line.raw, "id")
            raise Failed(
                hint, sent=sent, received=line.raw, at=at, wanted=f'"id": {json.dumps(id)}'
            )


@suite.check(
    "any-text",
    "Line breaks and letters of every script fit in the line",
    todo=2,
    after=("id",),
    read="One message, one line",
    rule=f"{STDIO} not contain embedded newlines, MUST be UTF-8",
    why="The reply repeats text that the client chose. It must still be one line of UTF-8.",
    hints={
        "line-break": "The text has a line break in it, and now your line has one too. "
        "`json.dumps` writes it as a backslash and an n: leave that as it is.",
        "not-utf-8": "The line is not UTF-8. Encode it as UTF-8, or let `json.dumps` escape "
        "what is not ASCII.",
        "not-read": "The line is JSON in UTF-8, and was refused as if it were not. "
        "`json.loads` takes the bytes as they came (TODO 8).",
        "died": "Sending this text ended the server. Encode it as UTF-8, which has every "
        "letter, or let `json.dumps` escape what is not ASCII.",
    },
)
def any_text(target: Target) -> None:
    for id in ("in\ntwo lines", "日本", "é"):
        sent = as_line(ping(id))
        with target.child() as child:
            try:
                line = child.ask(sent)
            except Failed as failure:
                if failure.hint == "crashed":
                    failure.hint = "died"
                raise
        if not is_utf_8(line.raw):
            raise Failed("not-utf-8", sent=sent, received=line.raw, wanted=sent.decode())
        if error_code(line) == -32700:
            at = place_of(line.raw, "error")
            wanted = f'"id": {json.dumps(id)}'
            raise Failed("not-read", sent=sent, received=line.raw, at=at, wanted=wanted, todo=8)
        if line.message is None:
            at = len(line.raw) - 1
            raise Failed("line-break", sent=sent, received=line.raw, at=at, wanted="\\n")


@suite.check(
    "notifications",
    "A notification gets no reply",
    todo=4,
    after=("id",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST NOT",
    why="Nothing waits for it. A client that gets one takes it for the answer to something.",
    hints={
        "answered": "`notifications/initialized` has no id, so nothing waits for a reply. "
        "Return None before you make one.",
        "unknown-answered": "This has no id, so it is a notification and gets no reply, not "
        "even an error: look for the id, not for the name.",
        "refused": "A message without an id was refused as invalid. It is valid: it is a "
        "notification. Let it through, and return None for it.",
        "died": "The server ended at the notification, which is a message without an id. Ask "
        "whether there is one before you use it.",
    },
)
def notifications(target: Target) -> None:
    unknown: Json = {"jsonrpc": "2.0", "method": "notifications/never/heard/of"}
    with target.child() as child:
        for notification, hint in (
            (INITIALIZED, "answered"),
            (unknown, "unknown-answered"),
            ({"jsonrpc": "2.0", "method": "ping"}, "unknown-answered"),
        ):
            sent = as_line(notification)
            for line in child.replies_before_pong(sent, "died")[:1]:
                if error_code(line) == -32600:
                    hint = "refused"
                raise Failed(hint, sent=sent, received=line.raw, at=0, wanted="nothing")


@suite.check(
    "tools-list",
    "`tools/list` lists add and echo",
    todo=5,
    after=("initialize", "id", "notifications"),
    read="Tools",
    rule="MCP, Tools: MUST",
    why="The list is all that a model knows of a tool: its name, its use and its arguments.",
    hints={
        "no-tools": "The result must be an object whose `tools` is a list with add and echo.",
        "no-schema": "Each tool needs `inputSchema`, an object that says "
        '"type": "object". On the wire the name is written in camel case.',
    },
)
def tools_list(target: Target) -> None:
    sent = as_line(request("tools/list", {}))
    with target.session() as child:
        line = child.ask(sent)
    result = result_in(line)
    tools = result.get("tools") if isinstance(result, dict) else None
    known = (
        {tool.get("name") for tool in tools if isinstance(tool, dict)}
        if isinstance(tools, list)
        else set()
    )
    if not isinstance(tools, list) or not {"add", "echo"} <= known:
        at = place_of(line.raw, "result")
        raise Failed("no-tools", sent=sent, received=line.raw, at=at, wanted='{"tools": […]}')
    for tool in tools:
        schema = tool.get("inputSchema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            at = place_of(line.raw, "input_schema") or line.raw.find(tool["name"].encode())
            raise Failed(
                "no-schema", sent=sent, received=line.raw, at=at, wanted='"inputSchema": {…}'
            )


def call(child: Child, name: str, arguments: Json) -> tuple[bytes, Line]:
    """Call a tool. Returns what was sent and what came."""
    sent = as_line(request("tools/call", {"name": name, "arguments": arguments}))
    return sent, child.ask(sent)


@suite.check(
    "tools-call",
    "`tools/call` runs add",
    todo=6,
    after=("initialize", "id", "notifications"),
    read="Tools",
    rule="MCP, Tools: MUST",
    why="The content is what the model gets to read.",
    hints={
        "refused": "This call is right, and the answer is an error. The arguments are in "
        '`params["arguments"]`.',
        "no-content": "The result needs `content`, a list: "
        '[{"type": "text", "text": "5"}]. A tool may give back several things.',
        "no-string": "The `text` of a text item is a string, even when it is a number. "
        "A client that checks types refuses the whole answer.",
        "no-type": 'Each piece of content says what it is: "type": "text".',
        "wrong-sum": "This is not the sum. Add first, then turn the sum into text.",
        "fraction-lost": "2.5 and 0.25 were not added as they came. The schema says number, "
        "not integer: add what you were given.",
        "is-error": "The tool worked, and `isError` says that it failed. Make it false, "
        "or leave it out.",
    },
)
def tools_call(target: Target) -> None:
    with target.session() as child:
        sent, line = call(child, "add", {"a": 2, "b": 3})
        sent_fraction, fraction = call(child, "add", {"a": 2.5, "b": 0.25})
    result = result_in(line)
    content = result.get("content") if isinstance(result, dict) else None
    if error_code(line) is not None:
        at = place_of(line.raw, "error")
        raise Failed("refused", sent=sent, received=line.raw, at=at, wanted='"result": {…}')
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        at = place_of(line.raw, "content") or place_of(line.raw, "result")
        raise Failed("no-content", sent=sent, received=line.raw, at=at, wanted='"content": […]')
    if content[0].get("type") != "text":
        at = place_of(line.raw, "content")
        raise Failed("no-type", sent=sent, received=line.raw, at=at, wanted='"type": "text"')
    text, at = content[0].get("text"), place_of(line.raw, "text")
    if not isinstance(text, str):
        raise Failed("no-string", sent=sent, received=line.raw, at=at, wanted='"text": "5"')
    if text not in ("5", "5.0"):
        raise Failed("wrong-sum", sent=sent, received=line.raw, at=at, wanted='"text": "5"')
    if result.get("isError", False) is not False:
        at = place_of(line.raw, "isError")
        raise Failed("is-error", sent=sent, received=line.raw, at=at, wanted="false")
    if text_in(fraction) != "2.75":
        at, wanted = place_of(fraction.raw, "text"), '"text": "2.75"'
        raise Failed(
            "fraction-lost", sent=sent_fraction, received=fraction.raw, at=at, wanted=wanted
        )


def text_in(line: Line) -> Any:
    """The text of the first content in a reply, or None."""
    result = result_in(line)
    content = result.get("content") if isinstance(result, dict) else None
    return content[0].get("text") if content else None


@suite.check(
    "echo",
    "`echo` returns its text unchanged",
    todo=6,
    after=("tools-call", "any-text"),
    read="Tools",
    rule="this lesson",
    why="Spaces, line breaks and letters of every script are the caller's, not ours.",
    hints={"differs": "The text came back changed. Give back exactly what came."},
)
def echo(target: Target) -> None:
    message = "  two lines\nand é 日本 \n"
    with target.session() as child:
        sent, line = call(child, "echo", {"message": message})
    if text_in(line) != message:
        at = place_of(line.raw, "text")
        raise Failed("differs", sent=sent, received=line.raw, at=at, wanted=json.dumps(message))


@suite.check(
    "bad-call",
    "A call that can't be made is refused",
    todo=6,
    after=("tools-call",),
    read="Tools",
    rule="MCP, Tools, Error Handling",
    why="A model guesses names and forgets arguments. It needs to be told, not cut off.",
    hints={
        "died": "The call ended the server, and with it everything else the client wanted. "
        "Turn the exception that its last line names into an RpcError.",
        "taken": "There is no such tool, but the reply looks as if there were. Raise RpcError.",
        "guessed": "The argument `b` is missing, and the tool ran all the same. Say so with an "
        "RpcError: otherwise a model that forgot it would never know.",
        "echo-guessed": "`echo` was called without its `message`, and answered all the same. "
        "`get` gives None for a missing argument: refuse the call with an RpcError.",
        "wrong-code": "`tools/call` exists, its params are wrong: INVALID_PARAMS. RpcError "
        "takes the code first, and then the text.",
    },
)
def bad_call(target: Target) -> None:
    unknown = as_line(request("tools/call", {"name": "subtract", "arguments": {}}))
    missing = as_line(request("tools/call", {"name": "add", "arguments": {"a": 2}}))
    silent_echo = as_line(request("tools/call", {"name": "echo", "arguments": {}}))
    with target.session() as child:
        for sent, taken in (
            (unknown, "taken"),
            (missing, "guessed"),
            (silent_echo, "echo-guessed"),
        ):
            try:
                line = child.ask(sent)
            except Failed as failure:
                if failure.hint != "no-answer":
                    failure.hint = "died"
                failure.wanted = '"code": -32602'
                raise
            result = result_in(line)
            if isinstance(result, dict) and result.get("isError") is True:
                continue  # since 2025-11-25 this is how wrong arguments should be reported
            if result is not None:
                at = place_of(line.raw, "result")
                raise Failed(
                    taken, sent=sent, received=line.raw, at=at, wanted='"code": -32602'
                )
            check_code(line, -32602, sent)


@suite.check(
    "unknown-method",
    "An unknown method gets error -32601",
    todo=7,
    after=("initialize", "id", "notifications"),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="Newer clients send `server/discover` first. A server that says nothing stalls them.",
    hints={
        "died": "The question ended the server. Turn the exception into an RpcError.",
        "silent": "No reply came. The client waits until its patience ends: ten seconds, "
        "for the official one.",
        "taken": "The client now believes that this method exists and that this is its "
        "result. Raise RpcError.",
        "wrong-code": "The code for a method that does not exist is METHOD_NOT_FOUND. RpcError "
        "takes the code first, and then the text.",
    },
)
def unknown_method(target: Target) -> None:
    sent = as_line(request("server/discover", {}))
    with target.session() as child:
        replies = child.replies_before_pong(sent, "died")
    if not replies:
        raise Failed("silent", sent=sent, wanted='"code": -32601')
    line = replies[0]
    if line.message is not None and "result" in line.message:
        at = place_of(line.raw, "result")
        raise Failed("taken", sent=sent, received=line.raw, at=at, wanted='"code": -32601')
    check_code(line, -32601, sent)


@suite.check(
    "error-id",
    "An error carries the id of its request too",
    todo=4,
    after=("unknown-method",),
    read="Ids and notifications",
    rule=f"{JSON_RPC}: MUST be the same",
    why="An error is a response like any other: without the id, the client keeps waiting.",
    hints={
        "id-lost": "The error does not say which request it is about. Set `request_id` as soon "
        "as you have the message: before anything can raise an RpcError.",
    },
)
def error_id(target: Target) -> None:
    sent = as_line({**request("server/discover", {}), "id": "who are you"})
    with target.session() as child:
        line = child.ask(sent)
    if line.message is not None and line.message.get("id") != "who are you":
        at = place_of(line.raw, "id")
        raise Failed("id-lost", sent=sent, received=line.raw, at=at, wanted='"who are you"')


@suite.check(
    "not-json",
    "A line that is not JSON gets error -32700",
    todo=8,
    after=("id",),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="One garbled line should cost one message, not the connection.",
    hints={
        "died": "The line ended the server. Catch what `json.loads` raises: ValueError, "
        "of which JSONDecodeError and UnicodeDecodeError are two kinds.",
        "silent": "No reply came. There is no id to answer with, so the id is null, "
        "but the client should learn that something was garbled.",
        "wrong-code": "The code for a line that is not JSON, or not UTF-8, is PARSE_ERROR.",
        "read-as-text": "This line is not UTF-8, and something decoded it before `json.loads` "
        "saw its bytes. `sys.stdin` gives text: `incoming` gives the bytes (TODO 1).",
    },
)
def not_json(target: Target) -> None:
    with target.child() as child:
        for sent in (b"hello\n", b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}\n'):
            try:
                replies = child.replies_before_pong(sent, "died")
            except Failed as failure:
                # Not even `serve` got the line: its loop decodes before it hands on.
                raised = complaints_in(child.whole_log, target.path)[-1:]
                if any(one.said.startswith("UnicodeDecodeError") for one in raised) and (
                    todo_of(raised[0]) == 1
                ):
                    failure.hint, failure.todo = "read-as-text", 1
                raise
            if not replies:
                raise Failed("silent", sent=sent, wanted='"code": -32700')
            # How Python keeps a byte in a text that can't have it.
            if b"udcff" in replies[0].raw:
                raise Failed(
                    "read-as-text",
                    sent=sent,
                    received=replies[0].raw,
                    at=replies[0].raw.find(b"udcff") - 1,
                    wanted='"code": -32700',
                    todo=1,
                )
            check_code(replies[0], -32700, sent)


@suite.check(
    "not-a-request",
    "JSON that is not a request gets error -32600",
    todo=8,
    after=("not-json",),
    read="When something is wrong",
    rule=f"{JSON_RPC}, section 5.1",
    why="Valid JSON can be anything: a list, a number, an object with other keys.",
    hints={
        "died": "This is JSON, but not what the next line of your code expects. Ask whether it "
        "is a dict with a string under `method` before you use it.",
        "silent": "No reply came. The client that sent this believes that it was understood.",
        "wrong-code": "It is JSON, but not a request: INVALID_REQUEST. A method is a string.",
    },
)
def not_a_request(target: Target) -> None:
    with target.child() as child:
        no_method: Json = {"jsonrpc": "2.0", "id": 1}
        for sent in (b"[]\n", as_line(no_method), as_line({**no_method, "method": 5})):
            replies = child.replies_before_pong(sent, "died")
            if not replies:
                raise Failed("silent", sent=sent, wanted='"code": -32600')
            check_code(replies[0], -32600, sent)
