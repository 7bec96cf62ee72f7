# %% [markdown]
# # Lesson 05: An MCP server over SSE, by hand
#
# The lesson hands-on: you speak to an MCP server message by message, see what goes wrong with two
# clients, with a client that leaves and with a page from the web, and build a server that
# withstands it. 140 minutes. The text with all the reasons is
# [lessons/05_sse_server.md](../lessons/05_sse_server.md).
#
# It teaches the transport HTTP+SSE of MCP's revision 2024-11-05. Streamable HTTP replaced it in
# 2025 and it is deprecated, but much of what is out there still speaks it.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
from IPython.display import IFrame
from mcp import ClientSession
from mcp.client.sse import sse_client

from workshop.notebook import (
    begin_at,
    check,
    listen,
    post,
    run,
    show_stream,
    start,
    start_exercise,
)

# %% [markdown]
# ## What they say to each other
#
# Start the smallest server, and open its stream. Its first event says where to POST.

# %%
first = start("scripts/05_sse_server/first_server.py")
stream = listen(first.url + "/sse")
stream.show(1)
endpoint = first.url + stream.last.data

# %% [markdown]
# MCP's messages are *JSON-RPC 2.0*. A **request** is an object with an `id`, a `method` and
# `params`. Its **response** has the same `id`, and a `result` or an `error`. A message without an
# `id` is a **notification**.
#
# **Predict:** the next cell POSTs three messages. How many events will come on the stream?


# %%
def request(id: str | int, method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


hello = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "notebook", "version": "1"},
}
initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}

post(endpoint, request(1, "initialize", **hello))
post(endpoint, initialized)
post(endpoint, request(2, "tools/call", name="echo", arguments={"message": "hello SSE"}))
stream.show(None, seconds=0.5)

# %% [markdown]
# Two: a notification gets no reply. Each POST was answered with 202, *accepted*, and an empty
# body. The replies came on the stream, and the `id` says which request each one belongs to.
#
# **Change** the `id` of a request, its `message`, or the method, and run the cell again. This
# small server knows `initialize`, `tools/list` and `tools/call`.
#
# This is its entire transport. A queue holds the replies until they are sent:
#
# ```python scripts/05_sse_server/first_server.py::events
# ```
#
# ```python scripts/05_sse_server/first_server.py::receive_message
# ```

# %% [markdown]
# ## Your server
#
# Now get your own copy: about 400 lines, in the order of this lesson, with gaps marked `TODO`.

# %%
stream.close()
start_exercise("05")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file, `work/05_sse_server/exercise.py`, becomes what the cell says. You
# can also edit the file: then run the cell, and it shows what the file has.
#
# The cell after it checks that TODO alone. Stuck? In a terminal, `uv run workshop hint 05` gives a
# hint, and one more each time.
#
# *Coming late?* This starts you at TODO 4, with TODOs 1 to 3 done. Remove the `#`:

# %%
# begin_at("05", todo=4)

# %% [markdown]
# ## The stream
#
# A silent stream looks dead, and proxies cut it. So a server says something from time to time. A
# line that begins with a colon is a *comment*: it keeps the connection busy, and no parser
# reports it.
#
# **Predict:** this server sends a heartbeat every 0.3 seconds. What comes in the first second, and
# when?

# %%
finished = "scripts/05_sse_server/sse_server.py"
server = start(finished, "--heartbeat", "0.3", "--heartbeat-style", "comment")
show_stream(server.url + "/sse", seconds=1)

# %% [markdown]
# First came `endpoint`. `connected` is an extra of ours: a client has to ignore events that it does
# not know. **Change** the heartbeat to `0.1`, or the style to `event`, and run it again.
#
# The loop must wait for two things: for the next event, and for the time when a heartbeat is due.
# `asyncio.timeout` around the wait does both. After a heartbeat the loop goes on.

# %% todo 1

# %%
check("05", todo=1)

# %% [markdown]
# ## Sessions
#
# The first server has one queue. A and B open a stream each. Then A asks twice.
#
# **Predict:** who gets which reply?

# %%
a = listen(first.url + "/sse", name="A")
b = listen(first.url + "/sse", name="B")
a.show(1)
b.show(1)
question = request("A's first", "tools/call", name="echo", arguments={"message": "for A"})
post(first.url + "/message", question)
post(first.url + "/message", {**question, "id": "A's second"})
a.show(None, seconds=0.3)
b.show(None, seconds=0.3)
a.close()
b.close()

# %% [markdown]
# Both streams take turns reading from one queue, so B has read what A asked for. Real servers have
# had this bug.
#
# So each stream gets a **session**: an id, and a queue of its own. The endpoint event tells the
# client its id, as `/message?session_id=…`, and each POST brings it back. Anyone who has the id can
# send messages in this session, so nobody may guess it.

# %% todo 2

# %%
check("05", todo=2)

# %% [markdown]
# ## A client that leaves
#
# **Predict:** two clients connect, and one of them leaves. What does `/health` count before and
# afterwards, and what happens to a message for the session that has ended?

# %%
stays, leaves = listen(server.url + "/sse"), listen(server.url + "/sse")
leaves.show(1)
show_stream(server.url + "/health")
leaves.close()
show_stream(server.url + "/health")
post(server.url + leaves.last.data, request(1, "ping"))
stays.close()

# %% [markdown]
# When a client leaves, no line *after* the loop is ever reached: the task is cancelled, and Python
# raises `CancelledError` in the middle of the loop.

# %% todo 3

# %%
check("05", todo=3)

# %% [markdown]
# ## POST
#
# An unknown id, or one whose stream has closed, gets 404. Some tools take a minute, and a client
# limits how long its POST may take. So answer 202 at once, and let a *task* send the reply when it
# is ready. Anything that cannot be read as a message has no usable id: say so in the response to
# the POST itself, with 400.

# %% todo 4

# %%
check("05", todo=4)

# %% [markdown]
# ## JSON-RPC
#
# Now send what a careless client might send. **Predict** for each of these: is the answer in the
# response to the POST, on the stream, or nowhere?

# %%
stream = listen(server.url + "/sse")
stream.show(1)
endpoint = server.url + stream.last.data
post(endpoint, request(1, "initialize", **hello))
post(endpoint, initialized)
for careless in (
    '{"jsonrpc": "2.0", "id": 2, ',
    '"hello"',
    request("x", "server/discover"),
    request(0, "ping"),
    {"jsonrpc": "2.0", "method": "notifications/nonsense"},
):
    post(endpoint, careless)
stream.show(None, seconds=0.4)

# %% [markdown]
# What nobody can read gets 400, because no reply on the stream could answer it. Any other request
# gets exactly one reply on the stream, even if it is an error. `0` is an id like any other.
#
# **Change** the messages in the list, and run the cell again: an id `""`, no `"jsonrpc"`, a method
# that is a number.
#
# | code | meaning | its id |
# |---|---|---|
# | -32700 | not JSON | `null`: nobody could read it |
# | -32600 | JSON, but not a JSON-RPC message | `null`, or the message's own |
# | -32601 | unknown method | the request's |
# | -32602 | wrong params, unknown tool, wrong arguments | the request's |

# %% todo 5

# %%
check("05", todo=5)

# %% todo 6

# %%
check("05", todo=6)

# %% [markdown]
# ## Tools
#
# Two things can go wrong with a call, and two different readers have to know. **Predict:** which of
# these three gets an `error`, for the program that asked, and which gets a *result* with
# `isError`, for the model?

# %%
post(endpoint, request(10, "tools/call", name="nobody", arguments={}))
post(endpoint, request(11, "tools/call", name="add", arguments={"a": 1, "b": "two"}))
post(endpoint, request(12, "tools/call", name="add", arguments={"a": 1e308, "b": 1e308}))
stream.show(None, seconds=0.4)

# %% [markdown]
# A call that cannot be made is an error. A tool that was called properly and failed is a result:
# the model can read why, and try something else.

# %% todo 7

# %%
check("05", todo=7)

# %% [markdown]
# Your server has one more tool, `wait`. It sleeps with `time.sleep`, and that stops the event loop,
# which all sessions share. For as long as it sleeps nobody gets an answer, not even `/health`.

# %% todo 8

# %%
check("05", todo=8)

# %% [markdown]
# ## The door
#
# Your server listens on 127.0.0.1. But your browser is there, too, and it runs the scripts of every
# page that you visit. `Origin` is the site whose page sent a request, `Host` the name by which the
# browser reached the server.
#
# **Predict:** which of these does the finished server let in?

# %%
ping = request(20, "ping")
post(endpoint, ping, {"Origin": "http://evil.example"})
post(endpoint, ping, {"Origin": server.url})
post(endpoint, ping, {"Origin": server.url + ".evil.example"})
post(endpoint, ping, {"Host": "evil.example"})
post(endpoint, ping, {"Content-Type": "text/plain"})
post(endpoint, ping, {"Content-Type": "application/json; charset=utf-8"})
stream.show(None, seconds=0.3)

# %% [markdown]
# The trap is comparing only the beginning: `http://127.0.0.1:8000.evil.example` begins like one of
# your own names. Compare the whole value.

# %% todo 9

# %%
check("05", todo=9)

# %% [markdown]
# The body is the other half of the door. A page may send `text/plain` to any server without asking.
# And a body may come in chunks, without a length and without an end. Count as it arrives.

# %% todo 10

# %%
check("05", todo=10)

# %% [markdown]
# ## A reader that sleeps
#
# A client keeps sending requests and never reads its stream. Where do the replies go?
# `sessions_server.py` has no limit:

# %%
stream.close()
unbounded = start("scripts/05_sse_server/sessions_server.py")
run("scripts/05_sse_server/sleeping_reader.py", unbounded.url + "/sse")
unbounded.stop()

# %% [markdown]
# All of it waits in the server's memory. When a queue is full you can wait, throw the reply away, or
# close the session. Only closing is honest: the client gets 404 and starts again.

# %% todo 11

# %%
check("05", todo=11)

# %% [markdown]
# ## Shutting down
#
# A stream never ends by itself. A server that waits politely until all responses are complete never
# exits. **Predict:** how long does the finished server take with a stream open, and what does its
# client see?

# %%
stream = listen(server.url + "/sse")
stream.show(1)
server.stop()
stream.show(None, seconds=1)

# %% todo 12

# %%
check("05", todo=12)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("05")

# %% [markdown]
# Talk to your own server, first by hand, then with the official SDK's client. (As long as something
# is missing in it, these cells show what.)

# %%
mine = start("work/05_sse_server/exercise.py", "--heartbeat", "0.5")
with listen(mine.url + "/sse") as stream:
    stream.show(1)
    post(mine.url + stream.last.data, request(1, "initialize", **hello))
    post(mine.url + stream.last.data, initialized)
    post(mine.url + stream.last.data, request(2, "tools/list"))
    stream.show(None, seconds=1.2)

# %%
server = start(finished)
async with sse_client(server.url + "/sse") as (read, write):
    async with ClientSession(read, write) as session:
        welcome = await session.initialize()
        print(welcome.server_info.name, welcome.protocol_version)
        print([tool.name for tool in (await session.list_tools()).tools])
        print((await session.call_tool("add", {"a": 2, "b": 3})).content[0].text)

# %% [markdown]
# This is the finished server. `Unknown SSE event: connected` is not an error: the SDK says that it
# ignores this event of ours. **Change** `server` to `mine`, and the SDK's client uses yours.
#
# And in a page, with `EventSource` and `fetch`. (If the notebook runs on another machine than your
# browser, the frame stays empty.)

# %%
IFrame(server.url, width="100%", height=640)

# %% [markdown]
# ## What to remember
#
# - A stream that stays open, whose first event says where to POST; 202 for each POST; replies on
#   the stream, in any order, with the request's id.
# - A session for each stream, with an id that nobody can guess. It ends with its stream.
# - A notification gets no reply. A request gets exactly one.
# - An error is for the program, a result with `isError` for the model.
# - Heartbeats, a bound on what waits, and an end for every stream.
