# %% [markdown]
# # Lesson 05: An MCP server over SSE, by hand
#
# The lesson hands-on: you start a hand-built MCP server, speak to it message by message, watch
# its stream, break a rule or two, and write the exercise. 140 minutes. The text with all the
# reasons is [lessons/05_sse_server.md](../lessons/05_sse_server.md).
#
# It teaches the transport HTTP+SSE of MCP's revision 2024-11-05. Streamable HTTP replaced it in
# 2025 and it is deprecated, but much of what is out there still speaks it.
#
# Run the cells from top to bottom with Shift-Enter.

# %%
import re

from IPython.display import IFrame
from mcp import ClientSession
from mcp.client.sse import sse_client

from workshop.notebook import check, listen, post, show_stream, start

# %% [markdown]
# ## One question, one answer
#
# MCP uses JSON-RPC 2.0: a request has an `id`, and its response has the same `id`. The simplest
# way to ask is one POST with the reply in its response. That is not MCP's transport yet.

# %%
server = start("scripts/05_sse_server/sse_server.py", "--heartbeat", "0.5")
hello = {"protocolVersion": "2024-11-05", "capabilities": {}}
hello["clientInfo"] = {"name": "notebook", "version": "1"}
_ = post(
    server.url + "/message",
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
)

# %%
_ = post(server.url + "/message", {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})

# %%
arguments = {"name": "echo", "arguments": {"message": "hello SSE"}}
call_echo = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": arguments}
_ = post(server.url + "/message", call_echo)

# %% [markdown]
# ## The stream
#
# With POST alone the server can only answer. To send at any time it needs a stream, so the client
# opens one first. Its first event says where to POST. Then a heartbeat comes from time to time.
# The number in front of each piece is when it arrived.

# %%
show_stream(server.url + "/sse", events=5)

# %% [markdown]
# That stream is closed again, and its session with it. Open another one and keep it open. It is
# read in the background while you run other cells.

# %%
stream = listen(server.url + "/sse")
stream.show(2)
endpoint = re.search(r"data: (/message\S+)", stream.text)[1]

# %% [markdown]
# Ask in this session. The POST is answered with 202, *accepted*, and an empty body. The reply
# comes on the stream, as an event `message`, maybe between two heartbeats:

# %%
initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
_ = post(server.url + endpoint, initialize)
_ = post(server.url + endpoint, {"jsonrpc": "2.0", "method": "notifications/initialized"})
_ = post(server.url + endpoint, call_echo)
stream.show(None, seconds=1.2)

# %% [markdown]
# Three POSTs, two `message` events: a notification gets no reply.
#
# This is the code behind it. Two tasks wait for different things: one for something to send, one
# for the client to leave:
#
# ```python scripts/05_sse_server/sse_server.py::EventStream
# ```

# %% [markdown]
# ## The end of a session
#
# Close the stream. The server counts one fewer, and the endpoint leads nowhere:

# %%
stream.close()
show_stream(server.url + "/health")
_ = post(server.url + endpoint, call_echo)

# %% [markdown]
# ## What goes wrong
#
# An unknown method, a wrong argument, and a tool that fails. The first two are errors for the
# program that asked. The third is a *result*, for the model that wanted it.

# %%
_ = post(server.url + "/message", {"jsonrpc": "2.0", "id": 4, "method": "server/discover"})
for b in ("3", 1e308):
    numbers = {"name": "add", "arguments": {"a": 1e308, "b": b}}
    wrong = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": numbers}
    _ = post(server.url + "/message", wrong)

# %% [markdown]
# ```python scripts/05_sse_server/methods.py::answer
# ```

# %% [markdown]
# ## Heartbeats in comments
#
# A client has to handle every event, if only to ignore it. A comment, a line that begins with a
# colon, keeps proxies from cutting the connection, and no parser ever reports it:

# %%
server = start(
    "scripts/05_sse_server/sse_server.py", "--heartbeat", "0.5", "--heartbeat-style", "comment"
)
show_stream(server.url + "/sse", events=4)

# %% [markdown]
# ## A client that we did not write
#
# The official SDK sends and receives exactly what you saw. It logs that it does not know the event
# `connected`, and goes on:

# %%
async with sse_client(server.url + "/sse") as (read, write):
    async with ClientSession(read, write) as session:
        welcome = await session.initialize()
        print(welcome.server_info.name, welcome.protocol_version)
        print([tool.name for tool in (await session.list_tools()).tools])
        print((await session.call_tool("add", {"a": 2, "b": 3})).content[0].text)

# %% [markdown]
# And in a page, with `EventSource` and `fetch`. (If the notebook runs on another machine than your
# browser, the frame stays empty.)

# %%
IFrame(server.url, width="100%", height=640)

# %% [markdown]
# ## The exercise
#
# This is the starter: a server with gaps, each marked with a `TODO`. Change the cell and run it:
# it is written to your file, and `check` runs the lesson's checks on it. In a terminal,
# `uv run workshop hint 05` gives a hint, and one more each time.

# %% exercise

# %%
check("05")
