# %% [markdown]
# # Lesson 04: MCP over stdin and stdout
#
# The same lesson as [lessons/04_stdio_server.md](../lessons/04_stdio_server.md), hands-on: you talk
# to a server through two pipes, message by message, watch the answers come, break it, and write
# one. It takes about 100 minutes, exercise included. It needs no earlier lesson.
#
# It teaches JSON-RPC 2.0, MCP's *stdio* transport, and the handshake `initialize`, as the
# specification's revisions 2024-11-05 to 2025-11-25 define it.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
from workshop.notebook import begin_at, check, run, start_child, start_exercise

# %% [markdown]
# ## A whole session
#
# A client starts a server as its child and prints every message, both ways:

# %%
run("scripts/04_stdio_server/stdio_client.py")

# %% [markdown]
# Each numbered message is one line on a pipe. Messages 1 to 3 are the handshake, 4 and 5
# the list of tools, 6 to 9 two calls, 10 and 11 a question that this server can't answer.
#
# ## Your server
#
# This copies the exercise to `work/04_stdio_server/exercise.py`: a server that reads everything and
# says nothing. Eight TODOs make it speak.

# %%
start_exercise("04")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 04` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 4, with TODOs 1 to 3 done. Remove the `#`:

# %%
# begin_at("04", todo=4)

# %% [markdown]
# ## Be the client
#
# Start the lesson's server, with a pipe on its stdin and one on its stdout. `ask` writes one line
# and waits for one.
#
# **Predict:** three questions. Does the server answer each one at once, or when you have asked them
# all? And which id does each answer have?

# %%
server = start_child("scripts/04_stdio_server/stdio_server.py")
for id in (1, "two", 0):
    server.ask({"jsonrpc": "2.0", "id": id, "method": "ping"})

# %% [markdown]
# Each answer comes at once, and the pipe stays open for the next question. The id comes back as it
# was sent: `1` stays a number and `"two"` a string, and `0` is an id like any other. It is the only
# thing that says which question an answer belongs to.
#
# **Change** the ids, and run the cell again: what about `-1`, a sentence, or two equal ones?
#
# A server has to read one line, answer it, and only then read the next one.

# %% todo 1

# %%
check("04", todo=1)

# %% [markdown]
# ## A message that is not flushed
#
# This server answers each line but never calls `flush`. **Predict:** when do its answers come?

# %%
forgetful = start_child(
    "-c",
    """
import sys
for line in sys.stdin:
    print('{"jsonrpc": "2.0", "id": 1, "result": {}}')
""",
)
forgetful.tell({"jsonrpc": "2.0", "id": 1, "method": "ping"})
forgetful.tell({"jsonrpc": "2.0", "id": 2, "method": "ping"})
forgetful.hang_up()
forgetful.hear()
forgetful.hear()

# %% [markdown]
# Python keeps what you write to a pipe in a buffer of 8 KiB or more, so nothing comes until the
# server ends. A client that waited for the first answer would wait for ever. **Change** the `print`:
# give it `flush=True`, and replace the two `tell`s, `hang_up` and `hear`s by two `ask`s.

# %% todo 2

# %%
check("04", todo=2)

# %% [markdown]
# ## The handshake
#
# The client proposes the newest revision that it speaks. **Predict:** what does the server answer to
# a revision that it speaks, and to one that never existed?

# %%
for version in ("2025-06-18", "1900-01-01"):
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "notebook", "version": "1.0.0"},
    }
    server.ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})

# %% [markdown]
# It agrees if it speaks that one too. Otherwise it offers its own newest, and the client agrees or
# leaves. **Change** the versions: does it speak `2025-03-26`?

# %% todo 3

# %%
check("04", todo=3)

# %% [markdown]
# ## Ids and notifications
#
# `notifications/initialized` ends the handshake. It has no id. **Predict:** two messages go out. How
# many lines come back?

# %%
server.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
server.ask({"jsonrpc": "2.0", "id": "after", "method": "ping"})

# %% todo 4

# %%
check("04", todo=4)

# %% [markdown]
# ## Tools
#
# A tool is a function that the client may call. The result is a list of content, here one text
# item. **Predict:** the message has a line break in it, and a message is one line. How does it
# travel?

# %%
call = {"name": "add", "arguments": {"a": 2, "b": 3}}
server.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
call = {"name": "echo", "arguments": {"message": "two\nlines"}}
server.ask({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})

# %% [markdown]
# As a backslash and an `n`.

# %% todo 5

# %%
check("04", todo=5)

# %% todo 6

# %%
check("04", todo=6)

# %% [markdown]
# ## When something is wrong
#
# **Predict:** which of these lines ends the session?

# %%
for line in (
    "hello",
    "[]",
    '{"jsonrpc": "2.0", "id": 1, "method": "server/discover"}',
    '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "nope"}}',
    '{"jsonrpc": "2.0", "id": "still there?", "method": "ping"}',
):
    server.ask(line)

# %% [markdown]
# None of them. Each gets an error with a number, and the server goes on. **Change** the lines.
#
# | code | means |
# |---|---|
# | -32700 | this is not JSON |
# | -32600 | JSON, but not a request |
# | -32601 | no such method; also `server/discover`, which newer clients send first |
# | -32602 | the method exists, but its params are wrong |

# %% todo 7

# %%
check("04", todo=7)

# %% todo 8

# %%
check("04", todo=8)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("04")

# %% [markdown]
# And a session with your own server:

# %%
run(
    "scripts/04_stdio_server/stdio_client.py",
    "--timeout",
    "1",
    "work/04_stdio_server/exercise.py",
)

# %% [markdown]
# ## Nothing but messages on stdout
#
# Here a `print` for debugging comes before the answer, on the same line, and the answer is lost:
#
# ```python scripts/04_stdio_server/stray_print_broken.py::serve
# ```

# %%
broken = "scripts/04_stdio_server/stray_print_broken.py"
run("scripts/04_stdio_server/stdio_client.py", "--timeout", "1", broken)

# %% [markdown]
# **Change** `broken` to `fixed` in the name, and run it again. For your own lines, use
# `print(…, file=sys.stderr)`. But libraries print too, and so do programs that a tool starts.
# `stdio_server.py` moves both pipes out of their reach:
#
# ```python scripts/04_stdio_server/stdio_server.py::take_the_wire
# ```
#
# ## Leaving
#
# No message ends a session. Close the server's stdin, and it exits with status 0:

# %%
server.leave()

# %% [markdown]
# ## Two clients
#
# A stdio server has one stdin, so each client starts its own server. Compare that with two
# clients of lesson 05's server, one process for all. (The program starts it for you.)

# %%
server = "scripts/05_sse_server/sse_server.py"
run("scripts/04_stdio_server/compare.py", "--calls", "200", server)

# %% [markdown]
# Use stdio for what runs on your own machine and for you alone: it is quicker, and needs no
# port and no password. Use HTTP as soon as there is a second person, a second machine or a
# browser: one more client costs it a stream instead of a process.
#
# ## What to remember
#
# - A message is one line of JSON: no line break inside, one at the end, flushed.
# - Stdout belongs to the protocol, stderr to people.
# - Every request gets exactly one response, with its id. A notification gets none.
# - Answer a method that you don't know with -32601. Silence leaves the client waiting.
# - When stdin ends, exit.
