# %% [markdown]
# # Lesson 07: A client for any SSE server
#
# The lesson hands-on: you have a client's conversation by hand and see when each part comes, use
# the SDK's client, stop a server in the middle of a call, have ten clients call at once, and write a
# client that survives a restart. 105 minutes. The text with all the reasons is
# [lessons/07_sdk_client.md](../lessons/07_sdk_client.md).
#
# It teaches the client's side of HTTP+SSE, the transport of MCP's revision 2024-11-05. Streamable
# HTTP replaced it in 2025, and it is deprecated, but its servers are still everywhere.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
import asyncio
import logging

from mcp import Client, MCPError
from mcp.client.sse import sse_client

from workshop.notebook import (
    begin_at,
    check,
    listen,
    note,
    post,
    run,
    start,
    start_exercise,
)

# %% [markdown]
# ## When the server restarts
#
# Servers are restarted: for a new version, after a crash, because a machine is replaced. Here is the
# SDK's client, and a call is under way when the server stops. (The server is the calculator of
# lesson 06. It needs two seconds for each number of `add_slowly`.)
#
# **Predict:** how does the slow call end? And is the client of any use once the server is back?

# %%
# It logs the errors that it raises, with everything that led to them.
logging.getLogger("mcp.client.sse").setLevel(logging.CRITICAL)
server = start("scripts/06_sdk_server/calculator.py")


async def call(client: Client, tool: str = "add", **arguments: object) -> None:
    try:
        result = await client.call_tool(tool, arguments or {"a": 2, "b": 5})
        note(f"{tool} says {result.content[0].text}")
    except MCPError as error:
        note(f"{tool} failed: {error}")


async with Client(
    sse_client(server.url + "/sse"), mode="legacy", read_timeout_seconds=10
) as client:
    await call(client)
    slow_call = asyncio.create_task(call(client, "add_slowly", numbers=[1, 2, 3], seconds=2))
    await asyncio.sleep(0.3)
    server.stop()
    note("the server is stopped")
    await slow_call
    server = start("scripts/06_sdk_server/calculator.py", port=server.port)
    note("the server is back, on the same port")
    await call(client)
    note("and now a new client")
    async with Client(sse_client(server.url + "/sse"), mode="legacy") as new_client:
        await call(new_client)

# %% [markdown]
# The SDK's client notices, and every later call fails in the same way: its session is gone, and it
# opens no other. Only a new client helps. **Change** the `0.3` to `8`, and run it again: the slow
# call is done before the server stops.
#
# The caller of `add_slowly` knows only that the connection was closed. Has the tool run? Nobody can
# know.
#
# ## Your client
#
# This copies the exercise to `work/07_sdk_client/exercise.py`: a client that talks to one server until
# the stream ends, and then waits for ever.

# %%
start_exercise("07")

# %% [markdown]
# Each TODO has a cell below, which shows the methods that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone, with small servers
# that each go wrong in a different way. Stuck? In a terminal, `uv run workshop hint 07` gives a
# hint, and one more each time.
#
# *Coming late?* This starts you at TODO 4, with TODOs 1 to 3 done. Remove the `#`:

# %%
# begin_at("07", todo=4)

# %% [markdown]
# However the stream ended, wait a moment and try again. But other exceptions should end the client:
# `Gone`, for example, means that there is no point in trying.

# %% todo 1

# %%
check("07", todo=1)

# %% [markdown]
# ## What goes over the wire
#
# You are the client: open the stream, and read in its first event where to POST.

# %%
server = start("scripts/06_sdk_server/calculator.py")
stream = listen(server.url + "/sse")
stream.show(1)
endpoint = server.url + stream.last.data

# %% [markdown]
# Shake hands, and call a tool that takes its time. It is asked to report its progress under the
# token `7`.
#
# **Predict:** three POSTs. How many events will come, and which of them are replies?

# %%
hello = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "notebook", "version": "1"},
}
slowly = {"name": "add_slowly", "arguments": {"numbers": [1, 2, 3], "seconds": 0.4}}
slowly["_meta"] = {"progressToken": 7}
post(endpoint, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
post(endpoint, {"jsonrpc": "2.0", "method": "notifications/initialized"})
post(endpoint, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": slowly})
stream.show(None, seconds=2)

# %% [markdown]
# Two replies, and three notifications while the tool was at work. Each POST was answered at once,
# with 202. **Change** the numbers, the token, or remove the line with the token, and run it again
# with other ids.
#
# All of it is repeated on every new stream: the server's memory of the old session ended with the
# old stream, even if the new endpoint looks the same.

# %% todo 2

# %%
check("07", todo=2)

# %% [markdown]
# ## Calls that are lost
#
# **Predict:** two calls, and the slow one is sent first. In which order do the replies come?

# %%
slowly = {"name": "add_slowly", "arguments": {"numbers": [1, 2], "seconds": 0.3}}
quick = {"name": "add", "arguments": {"a": 2, "b": 5}}
post(endpoint, {"jsonrpc": "2.0", "id": 11, "method": "tools/call", "params": slowly})
post(endpoint, {"jsonrpc": "2.0", "id": 12, "method": "tools/call", "params": quick})
stream.show(None, seconds=1)
stream.close()

# %% [markdown]
# A reply is found by its id alone, so a client has to remember who is waiting for what.
# `inside_the_client.py` keeps a *future* for each request. Note the order: first remember who is
# waiting, then send, because the reply may overtake the 202.
#
# ```python scripts/07_sdk_client/inside_the_client.py::Session.request
# ```
#
# Now the stream ends while three calls wait. Their futures stay as they are, and so do the callers,
# for ever. Something has to end these waits with an error.

# %% todo 3

# %%
check("07", todo=3)

# %% [markdown]
# `inside_the_client.py` holds the whole conversation without you. `->` was sent, `<-` came:

# %%
run(
    "scripts/07_sdk_client/inside_the_client.py", server.url + "/sse", "add", '{"a": 2, "b": 5}'
)

# %% [markdown]
# ## A POST that fails
#
# **Predict:** which of these calls has certainly not run, and for which does nobody know: the answer
# to the POST is 404; it is 202, and then the stream ends; nothing listens on the port?

# %%
post(endpoint, {"jsonrpc": "2.0", "id": 13, "method": "tools/call", "params": quick})

# %% [markdown]
# This session has ended, and the server says so: the call has not run. Any call may then be sent
# again, in a new session. After a 202 and a broken stream nobody knows. Asking again is harmless for
# a sum, and not for a payment. A tool can say which it is, in its *annotations*: `readOnlyHint` means
# that it changes nothing, `idempotentHint` that a second call changes nothing more.
#
# And a reply may never come although the stream is fine. So every call needs a time limit.

# %% todo 4

# %%
check("07", todo=4)

# %% todo 5

# %%
check("07", todo=5)

# %% [markdown]
# ## Where the client may be sent
#
# The endpoint is data from outside, and everything that the client POSTs goes there. **Predict:**
# where does this server send its client?

# %%
elsewhere = start("scripts/07_sdk_client/elsewhere.py")
with listen(elsewhere.url + "/sse") as stream:
    stream.show(1)
elsewhere.stop()

# %% [markdown]
# `localhost` and `127.0.0.1` are two names of one machine, but two *origins*: scheme, host and port
# together. It could have been any machine that yours can reach. And where does
# `http://127.0.0.1:8000@evil.example/` lead?

# %% todo 6

# %%
check("07", todo=6)

# %% [markdown]
# ## How long to wait
#
# At least as long as the server asked for, plus a random time, whose limit doubles with each
# failure in a row, up to a maximum. And give up eventually. `retry:` is in milliseconds.

# %% todo 7

# %%
check("07", todo=7)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("07")

# %% [markdown]
# Then let your client call `add` every half a second, for two seconds:

# %%
mine = "work/07_sdk_client/exercise.py"
run(mine, server.url + "/sse", "--every", "0.5", seconds=2)

# %% [markdown]
# ## The SDK's client
#
# `mode="legacy"` means: begin with `initialize`, which every server over SSE knows. Lesson 06 shows
# what happens without it. `read_timeout_seconds` is a limit for each call.

# %%
async with Client(
    sse_client(server.url + "/sse"), mode="legacy", read_timeout_seconds=10
) as client:
    print([tool.name for tool in (await client.list_tools()).tools])
    print((await client.call_tool("add", {"a": 2, "b": 5})).content[0].text)

# %% [markdown]
# ## Many clients at once
#
# Ten clients, each with its own session, and all of them number their requests 1, 2, 3. Client 7
# asks for 7000 + 0, 7000 + 1 and so on: a reply that went to the wrong client would show. Each task
# enters and leaves its own client. (`many_clients.py` is the program.) **Change** the number of
# clients to 30.


# %%
async def one_client(number: int) -> list[str]:
    async with Client(
        sse_client(server.url + "/sse"), mode="legacy", read_timeout_seconds=10
    ) as client:
        calls = [client.call_tool("add", {"a": number * 1000, "b": turn}) for turn in range(3)]
        return [result.content[0].text for result in await asyncio.gather(*calls)]


clients = 10
for answers in await asyncio.gather(*(one_client(number) for number in range(1, clients + 1))):
    print(*answers)

# %% [markdown]
# ## What to remember
#
# - Every stream is a new session: a new endpoint, and `initialize` again.
# - A reply is found by its id alone. It may overtake the 202, and others.
# - When the stream ends, every call that waits has to be told.
# - Repeat only what has certainly not run, or what says that repeating is harmless.
# - Compare the endpoint's origin with the stream's, whole.
