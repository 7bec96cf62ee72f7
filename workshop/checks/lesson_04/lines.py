"""One message, one line, from the first to the end of stdin."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

from workshop.checks.lesson_04 import waits
from workshop.checks.lesson_04.messages import (
    INITIALIZED,
    as_line,
    initialize_request,
    is_utf_8,
    json_object,
    ping,
    request,
)
from workshop.checks.lesson_04.opening import STDIO, Target, suite
from workshop.complaints import Complaint, complaints_in, todo_of
from workshop.failed import Failed

# Enough answers to fill Python's buffer: 8 KiB, and 128 KiB since Python 3.14.
MANY = io.DEFAULT_BUFFER_SIZE // 20


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
        came = child.wait(lambda out: out != b"", waits.SHORT)
    if not came:
        child.close_stdin()
        late = child.wait(lambda out: out != b"", waits.SHORT)
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
        return child.wait(lambda out: out != b"", waits.SHORT)


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
        seconds = waits.PATIENCE if target.at_once else 2 * waits.SHORT
        if not child.wait(lambda out: out != b"", seconds):
            if '"jsonrpc"' in child.log:
                raise Failed("on-stderr", sent=sent, received=child.log, wanted="it on stdout")
            raise Failed("not-flushed", sent=sent, wanted="one line, now")
        child.wait(lambda out: b"\n" in out, waits.SHORT)
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
            by_the_loop = b'"error"' in received or child.status(waits.SHORT) == 0
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
        # To its end; whether it leaves is for "leaves".
        child.wait(lambda out: False, 2 * waits.SHORT)
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
