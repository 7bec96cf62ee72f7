"""What the checks put around a learner's agent: an MCP server and a model, both recorded.

The learner's program runs in a process, with the URL of `ToolServer` on its command line
and that of `ModelServer` in its environment. It gets one request after another. The model
follows a script: which tools it calls depends on the request alone. So each answer that
needs a tool shows on the wire, and an answer without a call is found out.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workshop.background_reader import BackgroundReader
from workshop.checks.loop_thread import LoopThread
from workshop.complaints import complaints_in, todo_of
from workshop.failed import Failed
from workshop.running import HOST, ProgramError, environment, free_port

Json = dict[str, Any]

# How long the program may take until it asks for a request: its libraries are large.
STARTING = 30.0
# How long it may take for one request.
PATIENCE = 2.5

WITHOUT = "hidden"
# Name: description (or None), annotations (or None).
TOOLS: dict[str, tuple[str | None, Json | None]] = {
    "look": ("Look at something.", None),
    "stir": (None, {"readOnlyHint": False, "destructiveHint": False}),
    "erase": ("Erase something.", {"destructiveHint": True}),
    "broken": ("Never works.", None),
    "hidden": ("Hidden by --without.", None),
    "audit": ("Reads the audit log. For internal use.", None),
}
WHY = "the kettle is empty"

# What the model does for each request: rounds of calls, each (tool, arguments).
Round = list[tuple[str, Json]]
SCRIPT: dict[str, list[Round]] = {
    "look": [[("look", {"at": "the moon"})]],
    "stir": [[("stir", {})]],
    "fail": [[("broken", {})]],
    "erase": [
        [("erase", {"what": "draft"}), ("erase", {"what": "diary"})],
        [("erase", {"what": "cache"})],
    ],
    "again": [[("look", {"at": "the sun"})]],
}
# What the person says no to.
UNWANTED = "diary"


@dataclass
class Turn:
    """One request, and everything that happened because of it."""

    request: str
    log: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)  # params of each tools/call
    told: list[str] = field(default_factory=list)  # results, as the model got them
    tools: list[str] = field(default_factory=list)  # that the model saw
    asked: list[str] = field(default_factory=list)  # questions to the person
    asked_before: list[int] = field(default_factory=list)  # calls made before each question

    def answer(self) -> str:
        """The last line that the program printed."""
        return self.printed[-1] if self.printed else ""


class Lab:
    """The two servers, in a thread, and the learner's program."""

    def __init__(self) -> None:
        self.port = free_port()
        self.streams: list[Session] = []
        self.handshakes = 0
        self.output: list[str] = []
        self.turns: dict[str, Turn] = {}
        self.turn = Turn("")
        self.seconds: float | None = None
        self.streams_before_restart = 0
        self._process: subprocess.Popen[str] | None = None
        self._file: Path | None = None
        self.crashed_in: str | None = None
        """The request during which the program ended in an exception."""
        self._servers = LoopThread()
        self._tools: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers.run(self._listen())
        self._model = self._servers.run(asyncio.start_server(self._serve_model, HOST, 0))
        self._model_port: int = self._model.sockets[0].getsockname()[1]

    # --- the tool server -----------------------------------------------------------------

    async def _listen(self) -> None:
        self._tools = await asyncio.start_server(self._serve_tools, HOST, self.port)

    async def _go_away(self) -> None:
        """Like a server that is stopped: nothing listens, and all connections break."""
        if self._tools is not None:
            self._tools.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve_tools(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        try:
            while request := await read_request(reader):
                await self._answer_tools(*request, writer)
                if request[0] == "GET":
                    await reader.read()  # until the connection is torn down
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the server
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer_tools(
        self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if method == "GET":
            session = Session(len(self.streams) + 1, writer)
            self.streams.append(session)
            self.saw(f"-> GET {target}")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            session.event("endpoint", f"/message?session_id={session.number}")
            return
        number = int(re.sub(r"\D", "", target) or "0")
        known = (
            0 < number <= len(self.streams) and self.streams[number - 1].writer in self._writers
        )
        writer.write(http(202 if known else 404))
        message = json.loads(body)
        if known and "method" in message:
            self._take(self.streams[number - 1], message)

    def _take(self, session: Session, message: Json) -> None:
        """Answer as lesson 05's server does: what it does not know gets -32601."""
        method, params, number = (
            message["method"],
            message.get("params") or {},
            message.get("id"),
        )
        if method == "tools/call":
            self.turn.calls.append(params)
            given = json.dumps(params.get("arguments") or {})
            self.saw(f"-> POST tools/call {params.get('name')} {given}")
        else:
            self.saw(f"-> POST {method}")
        if number is None:
            return
        if method == "initialize":
            self.handshakes += 1
            info = {"name": "the checks' server", "version": "1"}
            result = {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }
            session.reply(number, {"result": result})
        elif method == "tools/list":
            session.reply(number, {"result": {"tools": listed()}})
        elif method == "tools/call" and params.get("name") == "broken":
            self.saw(f"<- error: {WHY}")
            session.reply(number, {"error": {"code": -32000, "message": WHY}})
        elif method == "tools/call":
            text = f"{params.get('name')} was done"
            self.saw(f"<- result: {text}")
            session.reply(number, {"result": {"content": [{"type": "text", "text": text}]}})
        else:
            error = {"code": -32601, "message": f"Method not found: {method}"}
            session.reply(number, {"error": error})

    # --- the model -----------------------------------------------------------------------

    async def _serve_model(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while request := await read_request(reader):
                answer = json.dumps(self._think(json.loads(request[2]))).encode()
                writer.write(http(200, answer))
        writer.close()

    def _think(self, asked: Json) -> Json:
        """The model's next message, as the script has it for the last request."""
        messages: list[Json] = asked["messages"]
        last = max(n for n, one in enumerate(messages) if one["role"] == "user")
        rounds = SCRIPT.get(text_of(messages[last]["content"]).strip(), [])
        after = messages[last + 1 :]
        done = sum(one["role"] == "assistant" and bool(one.get("tool_calls")) for one in after)
        self.turn.tools = [one["function"]["name"] for one in asked.get("tools") or []]
        self.turn.told = [text_of(one["content"]) for one in after if one["role"] == "tool"]
        message: Json = {"role": "assistant", "content": None}
        wanted = rounds[done] if done < len(rounds) else []
        # A model can only call what it sees.
        wanted = [call for call in wanted if call[0] in self.turn.tools]
        if wanted:
            self.saw(f"<- the model calls {', '.join(name for name, _ in wanted)}")
            message["tool_calls"] = [
                {
                    "id": f"call_{done}_{number}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for number, (name, arguments) in enumerate(wanted)
            ]
        else:
            told = "; ".join(self.turn.told) or "nothing"
            message["content"] = f"The model was told: {told}."
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if wanted else "stop",
        }
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [choice],
        }

    # --- the learner's program -----------------------------------------------------------

    def drive(self, program: Path) -> None:
        """Run the program through all requests. Raises ProgramError when it can't be run."""
        self._file = program
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("driver.py")),
                str(program),
                f"http://{HOST}:{self.port}/sse",
                "--without",
                WITHOUT,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment(
                {
                    "OPENAI_API_KEY": "none",
                    "OPENAI_BASE_URL": f"http://{HOST}:{self._model_port}/v1",
                    "OPENAI_MODEL": "scripted",
                    "OPENAI_AGENTS_DISABLE_TRACING": "1",
                }
            ),
        )
        assert self._process.stdout is not None
        self._reader = BackgroundReader(self._process.stdout, self._keep)

        def asks() -> bool:
            return any("Model: " in line for line in self.output)

        if not self._reader.wait(asks, STARTING):
            printed = "".join(self.output[-20:])
            raise ProgramError(
                f"The program does not get to its first request. It printed:\n{printed}"
            )
        with suppress(ValueError):
            self.seconds = json.loads(self.output[0])["seconds"]
        for request in SCRIPT:
            if request == "again":
                self.streams_before_restart = len(self.streams)
                self._servers.run(self._go_away())
                self._servers.run(self._listen())
            self._ask(request)

    def _ask(self, request: str) -> None:
        """One request: decide what the program asks, until it has printed an answer."""
        turn = self.turn = self.turns[request] = Turn(request)
        self._type(request)
        decided = 0

        def answered() -> bool:
            return bool(turn.asked[decided:] or turn.printed)

        while self._reader.wait(answered, PATIENCE):
            if not turn.asked[decided:]:
                return
            question = turn.asked[decided]
            decided += 1
            self._type("n" if UNWANTED in question else "y")

    def _type(self, line: str) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        with suppress(OSError):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def _keep(self, line: str) -> None:
        self.output.append(line)
        text = line.strip()
        if text.startswith("Traceback ") and self.crashed_in is None:
            self.crashed_in = self.turn.request
        if self.crashed_in is not None:
            pass  # the rest of it: complaints show it better
        elif text.startswith("Approve "):
            self.turn.asked_before.append(len(self.turn.calls))
            self.turn.asked.append(text)
            self.turn.log.append(f"** prints: {text}")
        elif text and self.turn.request:
            self.turn.log.append(f"** prints: {text}")
            self.turn.printed.append(text)

    def saw(self, line: str) -> None:
        self.turn.log.append(line)

    # --- what the checks ask -------------------------------------------------------------

    def called(self, request: str, tool: str) -> list[Json]:
        """The arguments of each call of the tool that reached the server in this turn."""
        calls = self.turns[request].calls
        return [one.get("arguments") or {} for one in calls if one.get("name") == tool]

    def fail(self, hint: str, request: str, wanted: str, *, at: str = "") -> Failed:
        """A failure that shows the turn, with a caret under the last `at` in it."""
        turn = self.turns[request]
        received = "\n".join([f"** the request: {request}", *turn.log[-11:]])
        place = received.rfind(at) if at else -1
        return Failed(
            hint,
            received=received,
            at=len(received[:place].encode()) if place >= 0 else None,
            wanted=wanted,
            label="The turn",
        )

    def crash(self, request: str, wanted: str) -> Failed:
        """The program has ended in an exception: say so, and which TODO it came out of."""
        failure = self.fail("crashed", request, wanted)
        assert self._file is not None
        complaints = complaints_in("".join(self.output), self._file)
        failure.todo = todo_of(complaints[-1]) if complaints else None
        return failure

    def close(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            self._reader.join(2)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

        async def stop_listening() -> None:
            for server in (self._tools, self._model):
                if server is not None:
                    server.close()

        self._servers.run(stop_listening())
        self._servers.close()


@dataclass
class Session:
    """One stream of the tool server."""

    number: int
    writer: asyncio.StreamWriter

    def event(self, kind: str, data: str) -> None:
        piece = f"event: {kind}\ndata: {data}\n\n".encode()
        self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def reply(self, number: object, outcome: Json) -> None:
        self.event("message", json.dumps({"jsonrpc": "2.0", "id": number, **outcome}))


def listed() -> list[Json]:
    """The tools as `tools/list` has them."""
    found: list[Json] = []
    for name, (description, hints) in TOOLS.items():
        tool: Json = {"name": name, "inputSchema": {"type": "object"}}
        if description is not None:
            tool["description"] = description
        if hints is not None:
            tool["annotations"] = hints
        found.append(tool)
    return found


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
    """The next request on a connection: method, target and body. None at its end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
    except asyncio.IncompleteReadError:
        return None
    method, target = head.split(" ", 2)[:2]
    return method, target, body


def http(status: int, body: bytes = b"") -> bytes:
    """A whole response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def text_of(content: Any) -> str:
    """The text of a message: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


@contextmanager
def open_program(path: Path) -> Iterator[Lab]:
    """Run the learner's agent through all requests, once."""
    lab = Lab()
    try:
        lab.drive(path)
        yield lab
    finally:
        lab.close()
