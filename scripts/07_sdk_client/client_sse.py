"""A client for any MCP server over SSE: its tools at a prompt, or one request for a script.

    uv run scripts/07_sdk_client/client_sse.py http://127.0.0.1:8006/sse
    uv run scripts/07_sdk_client/client_sse.py http://127.0.0.1:8006/sse --once "add 2 5"

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from types import FrameType
from typing import Any

import plain_language
from connection import Connection, Problem
from dotenv import load_dotenv
from mcp_types import (
    CallToolResult,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)
from typed import Mistyped, listing, parameters_of, read_json, read_positional

HELP = """\
add 2 5                    call the tool add; quotes keep words together
call add {"a": 2, "b": 5}  the same, with the arguments as JSON
tools                      ask the server for its tools again
quit                       quit, as Ctrl-D does. Ctrl-C cancels a call.
Anything else is plain language: a model uses the tools.
ask add two and five       plain language that begins with the name of a tool"""
COMMANDS = ("ask", "call", "help", "quit", "tools")


class Failed(Exception):
    """The request failed. The text says why."""


class Cancelled(Exception):
    """Ctrl-C was pressed."""


def printable(text: str) -> str:
    """What a server sends is shown and never obeyed: no control characters reach a terminal."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text
    )


def say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    print(printable(text) if sys.stdout.isatty() else text, flush=True)


def text_of(result: CallToolResult) -> str:
    """The texts of a result, and one line for each thing in it that is not text."""
    parts: list[str] = []
    for content in result.content:
        match content:
            case TextContent():
                parts.append(content.text)
            case EmbeddedResource(resource=TextResourceContents(text=text)):
                parts.append(text)
            case ResourceLink():
                parts.append(f"{content.name}: {content.uri}")
            case _:
                parts.append(f"({content.type}, not shown)")
    return "\n".join(parts)


class Conversation:
    """Takes requests line by line, and answers them through the connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tools: dict[str, Tool] = {}

    async def list_tools(self) -> str:
        self.tools = {tool.name: tool for tool in await self.connection.list_tools()}
        count = "1 tool:" if len(self.tools) == 1 else f"{len(self.tools)} tools:"
        return "\n".join([count, listing(self.tools.values())]).rstrip()

    async def answer(self, line: str) -> str:
        """The answer to one line. Raises Failed, Mistyped or Problem."""
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "help":
            return HELP
        if word == "tools":
            return await self.list_tools()
        if word == "call":
            name, _, arguments = rest.partition(" ")
            return await self.call(self.known(name).name, read_json(arguments or "{}"))
        if word == "ask":
            return await self.ask(rest)
        if word not in self.tools:
            return await self.ask(line)
        try:
            arguments = read_positional(rest, self.tools[word])
        except Mistyped:
            # "add two and five" begins like a call, but may be plain language.
            wordy = len(rest.split()) > len(parameters_of(self.tools[word])[0])
            if not plain_language.configured() and not (wordy and self.understood(line)):
                raise
            return await self.ask(line)
        return await self.call(word, arguments)

    def understood(self, request: str) -> bool:
        return plain_language.understood(request, list(self.tools.values()))

    def known(self, name: str) -> Tool:
        if name not in self.tools:
            raise Failed(f"There is no tool {name!r}. The tools are: {', '.join(self.tools)}.")
        return self.tools[name]

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        result = await self.connection.call(name, arguments, on_progress)
        if result.is_error:
            raise Failed(f"{name} failed: {text_of(result)}")
        return text_of(result)

    async def ask(self, request: str) -> str:
        """Plain language. What the model calls is shown, and so is what it gets."""
        if not self.understood(request):
            word = request.partition(" ")[0]
            names = ", ".join(self.tools)
            raise Failed(
                f"{word!r} is not a tool; the tools are: {names}.\n"
                f"{plain_language.HOW_TO_CONFIGURE}"
            )

        async def call_tool(name: str, arguments: dict[str, Any]) -> str:
            say(f"  calls {name} {json.dumps(arguments, ensure_ascii=False)}")
            try:
                answer = await self.call(name, arguments)
            except (Failed, Problem) as error:
                answer = str(error)  # for the model, which may try something else
            say(f"  gets {answer}")
            return answer

        try:
            return await plain_language.ask(request, list(self.tools.values()), call_tool)
        except plain_language.ModelError as error:
            raise Failed(str(error)) from None


async def on_progress(progress: float, total: float | None, message: str | None) -> None:
    of_total = "" if total is None else f" of {total:g}"
    say(f"  progress {progress:g}{of_total}" + (f": {message}" if message else ""))


async def unless_ctrl_c(work: Coroutine[Any, Any, str]) -> str:
    """The result of `work`, which Ctrl-C cancels. Raises Cancelled if it did."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)

    def cancel(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGINT, cancel)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        signal.signal(signal.SIGINT, before)
    if task.cancelled():
        # The SDK has sent notifications/cancelled on the way.
        raise Cancelled
    return task.result()


async def do(conversation: Conversation, line: str) -> bool:
    """Answer one line on stdout, or say on stderr why not. Returns whether it succeeded."""
    try:
        show(await unless_ctrl_c(conversation.answer(line)))
    except (Failed, Mistyped, Problem) as error:
        say(str(error))
        return False
    except Cancelled:
        say("Cancelled; the server has been told.")
        return False
    return True


async def lines_of_a_pipe() -> AsyncIterator[str]:
    """What arrives on stdin, line by line."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str] = asyncio.Queue()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are not UTF-8 do no harm

    def read() -> None:
        # In a daemon thread, which may wait for ever without keeping the program alive.
        with contextlib.suppress(RuntimeError):  # the program is ending: the loop is closed
            for line in sys.stdin:
                loop.call_soon_threadsafe(queue.put_nowait, line)
            loop.call_soon_threadsafe(queue.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    while line := await queue.get():
        yield line


async def lines_of_a_terminal(conversation: Conversation) -> AsyncIterator[str]:
    """What is typed at the prompt: Tab completes names, Up brings back earlier lines."""
    # Here and not above: a script with --once needs none of it.
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import DynamicCompleter, NestedCompleter
    from prompt_toolkit.patch_stdout import patch_stdout

    def completer() -> NestedCompleter:
        names = dict.fromkeys(conversation.tools)
        words = {**names, **dict.fromkeys(COMMANDS), "call": names}
        return NestedCompleter.from_nested_dict(words)

    session: PromptSession[str] = PromptSession(
        "> ", completer=DynamicCompleter(completer), complete_while_typing=False
    )
    # What is printed meanwhile, "connecting again", goes above the line being typed.
    with patch_stdout():
        while True:
            try:
                line = await session.prompt_async()
            except KeyboardInterrupt:
                continue  # throw the line away, as a shell does
            except EOFError:
                return
            yield line


async def converse(connection: Connection) -> bool:
    """List the tools, then answer lines until there are no more. Whether all succeeded."""
    conversation = Conversation(connection)
    print(f"Connected to {printable(connection.server)}", flush=True)
    show(await conversation.list_tools())
    if sys.stdin.isatty():
        print("Type a tool and its arguments, or help. Ctrl-D to quit.", flush=True)
        lines = lines_of_a_terminal(conversation)
    else:
        lines = lines_of_a_pipe()
    well = True
    async for line in lines:
        if line.strip() in ("quit", "exit"):
            break
        if line.strip():
            well = await do(conversation, line.strip()) and well
    return well or sys.stdin.isatty()


async def once(connection: Connection, request: str) -> bool:
    """Answer one request. Returns whether it succeeded."""
    conversation = Conversation(connection)
    await conversation.list_tools()
    return await do(conversation, request.strip())


async def run(arguments: argparse.Namespace) -> int:
    """Connect, and do what the command line says. Returns the exit status."""
    this = asyncio.current_task()
    assert this is not None
    # What a signal handler raises comes up in the code that it interrupts, and some of that
    # keeps it: one SIGTERM in six was lost while connecting. To be cancelled is not lost.
    with contextlib.suppress(NotImplementedError):  # on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with Connection(
            arguments.url,
            headers=dict(arguments.header),
            seconds=arguments.timeout,
            tell=say,
            come_back=arguments.once is None,
        ) as connection:
            if arguments.once is not None:
                return 0 if await once(connection, arguments.once) else 1
            work = asyncio.create_task(converse(connection))
            over = asyncio.create_task(connection.over())
            try:
                await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    # Lost for good, while the prompt waits for a line that nobody can answer.
                    work.cancel()
                    await asyncio.wait({work})
                    raise over.result()
                return 0 if work.result() else 1
            finally:
                over.cancel()
    except Problem as problem:
        say(str(problem))
        return 1


def header(text: str) -> tuple[str, str]:
    """`Name: value` as curl takes it."""
    name, colon, value = text.partition(":")
    if not (name and colon):
        raise argparse.ArgumentTypeError("a header is 'Name: value'")
    return name.strip(), value.strip()


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line: `words`, or what the program was started with."""
    parser = argparse.ArgumentParser(description="Use the tools of an MCP server over SSE.")
    parser.add_argument("url", help="its event stream, such as http://127.0.0.1:8006/sse")
    parser.add_argument("--once", metavar="REQUEST", help="do one request and exit")
    parser.add_argument(
        "--header", action="append", default=[], type=header, metavar="'NAME: VALUE'"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="for connecting, and for each call (default: 30)",
    )
    arguments = parser.parse_args(words)
    if not 0 < arguments.timeout <= 86_400:
        parser.error("--timeout is a number of seconds, more than 0 and at most a day")
    return arguments


def main() -> int:
    arguments = parse()
    load_dotenv()
    # Killed at once, it would leave the terminal as the prompt needs it: without an echo of
    # what is typed. The status is the one that a shell gives for SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `&` may have left it ignored
    try:
        return asyncio.run(run(arguments))
    except KeyboardInterrupt:
        return 130  # a shell's status for a program that Ctrl-C ended
    except asyncio.CancelledError:
        return 143  # as above
    except BrokenPipeError:
        # Nobody reads any more, as after `| head`. Python would try again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # a shell's status for that


if __name__ == "__main__":
    sys.exit(main())
