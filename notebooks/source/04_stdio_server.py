# %% [markdown]
# # Lesson 04: MCP over stdin and stdout
#
# The same lesson as `lessons/04_stdio_server.md`, hands-on: you talk to a server through
# two pipes, message by message, watch the answers come, break it, and then write one.
# It takes about 100 minutes, exercise included. It needs no earlier lesson.
#
# It teaches JSON-RPC 2.0, MCP's *stdio* transport, and the handshake `initialize`, as the
# specification's revisions 2024-11-05 to 2025-11-25 define it.
#
# Run the cells from top to bottom.

# %%
import json
import subprocess
import sys
import time
from typing import Any

from workshop.course import ROOT
from workshop.notebook import check

FOLDER = ROOT / "scripts/04_stdio_server"

# %% [markdown]
# ## A whole session
#
# A client starts a server as its child and prints every message, both ways:

# %%
client = [sys.executable, str(FOLDER / "stdio_client.py")]
print(subprocess.run(client, capture_output=True, text=True, encoding="utf-8").stdout)

# %% [markdown]
# Each numbered message is one line on a pipe. Messages 1 to 3 are the handshake, 4 and 5
# the list of tools, 6 to 9 two calls, 10 and 11 a question that this server can't answer.
#
# ## Be the client
#
# Start the server yourself, with a pipe on its stdin and one on its stdout:


# %%
class Server:
    """A server as our child process. `ask` sends a line and prints the line that comes back."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.began = time.monotonic()

    def show(self, who: str, line: str) -> None:
        seconds = time.monotonic() - self.began
        print(f"{seconds:8.3f} s | {who} {line}", flush=True)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.show("client >", line)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> None:
        assert self.process.stdout is not None
        self.show("server >", self.process.stdout.readline().decode().rstrip())

    def ask(self, message: dict[str, Any]) -> None:
        self.tell(json.dumps(message))
        self.hear()

    def leave(self) -> int:
        """Close its stdin, which is all it takes, and return its exit status."""
        self.process.communicate()
        return self.process.returncode


server = Server(str(FOLDER / "stdio_server.py"))

# %% [markdown]
# Three questions, a quarter of a second apart. Look at the times: each answer comes at
# once, and the pipe stays open for the next question.

# %%
for id in (1, "two", 0):
    server.ask({"jsonrpc": "2.0", "id": id, "method": "ping"})
    time.sleep(0.25)  # you think about your next question

# %% [markdown]
# The id comes back as it was sent: `1` stays a number and `"two"` a string, and `0` is an id
# like any other. The id is the only thing that says which question an answer belongs to.
#
# ## The handshake
#
# The client proposes the newest revision that it speaks. The server agrees if it speaks that
# one too. Otherwise it offers its own newest, and the client agrees or leaves:

# %%
for version in ("2025-06-18", "1900-01-01"):
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "notebook", "version": "1.0.0"},
    }
    server.ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})

# %% [markdown]
# ```python scripts/04_stdio_server/stdio_server.py::initialize
# ```
#
# `notifications/initialized` ends the handshake. It has no id: the client does not wait for an
# answer, and none comes. The next line that arrives is the answer to the `ping`:

# %%
server.tell('{"jsonrpc": "2.0", "method": "notifications/initialized"}')
server.ask({"jsonrpc": "2.0", "id": "after", "method": "ping"})

# %% [markdown]
# ## Tools
#
# A tool is a function that the client may call. The result is a list of content, here one text
# item:

# %%
call = {"name": "add", "arguments": {"a": 2, "b": 3}}
server.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
call = {"name": "echo", "arguments": {"message": "two\nlines"}}
server.ask({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})

# %% [markdown]
# The line break in the message travels as a backslash and an `n`: a message is one line.
#
# ## When something is wrong
#
# Each of these gets an error with a number, and the server goes on:

# %%
for line in (
    "hello",
    "[]",
    '{"jsonrpc": "2.0", "id": 1, "method": "server/discover"}',
    '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "nope"}}',
    '{"jsonrpc": "2.0", "id": "still there?", "method": "ping"}',
):
    server.tell(line)
    server.hear()

# %% [markdown]
# | code | means | |---|---| | -32700 | this is not JSON | | -32600 | JSON, but not a
# request | | -32601 | no such method; also `server/discover`, which newer clients send
# first | | -32602 | the method exists, but its params are wrong |
#
# No message ends a session. Close the server's stdin, and it exits with status 0:

# %%
server.leave()

# %% [markdown]
# ## What breaks: a message that is not flushed
#
# This server answers each line but never calls `flush`. Python keeps what you write to a pipe
# in a buffer of 8 KiB or more, so nothing comes until the server ends:

# %%
forgetful = Server(
    "-c",
    """
import sys
for line in sys.stdin:
    print('{"jsonrpc": "2.0", "id": 1, "result": {}}')
""",
)
for _ in range(2):
    forgetful.tell('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
    time.sleep(0.25)  # a client would wait here for ever
assert forgetful.process.stdin is not None
forgetful.process.stdin.close()
forgetful.hear()
forgetful.hear()
forgetful.process.wait()

# %% [markdown]
# ## What breaks: a print
#
# Stdout belongs to the protocol. Here a `print` for debugging comes before the answer, on the
# same line, and the answer is lost:
#
# ```python scripts/04_stdio_server/stray_print_broken.py::serve
# ```

# %%
broken = [*client, "--timeout", "1", str(FOLDER / "stray_print_broken.py")]
output = subprocess.run(broken, capture_output=True, text=True, encoding="utf-8").stdout
print("…", *output.splitlines()[-8:], sep="\n")

# %% [markdown]
# For your own lines, use `print(…, file=sys.stderr)`. But libraries print too, and so do
# programs that a tool starts. `stdio_server.py` moves both pipes out of their reach:
#
# ```python scripts/04_stdio_server/stdio_server.py::take_the_wire
# ```
#
# ## Two clients
#
# A stdio server has one stdin, so each client starts its own server. Compare that with two
# clients of lesson 05's server, one process for all. (The program starts it for you.)

# %%
compare = [sys.executable, str(FOLDER / "compare.py"), "--calls", "200"]
compare.append(str(ROOT / "scripts/05_sse_server/sse_server.py"))
print(subprocess.run(compare, capture_output=True, text=True, encoding="utf-8").stdout)

# %% [markdown]
# Use stdio for what runs on your own machine and for you alone: it is quicker, and needs no
# port and no password. Use HTTP as soon as there is a second person, a second machine or a
# browser: one more client costs it a stream instead of a process.
#
# ## The exercise
#
# The next cell is a server that reads everything and says nothing. Eight TODOs make it
# speak: solve them in order. Running the cell writes it to
# `work/04_stdio_server/exercise.py`, and the cell below checks that file.

# %% exercise

# %%
check("04")

# %% [markdown]
# Stuck? `uv run workshop hint 04` in a terminal gives one more hint each time.
#
# ## What to remember
#
# - A message is one line of JSON: no line break inside, one at the end, flushed.
# - Stdout belongs to the protocol, stderr to people.
# - Every request gets exactly one response, with its id. A notification gets none.
# - Answer a method that you don't know with -32601. Silence leaves the client waiting.
# - When stdin ends, exit.
