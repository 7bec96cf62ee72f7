# %% [markdown]
# # Lesson 06: The same server in the official SDK
#
# The lesson hands-on: you start a calculator that the official Python SDK serves, find the
# prefix in an endpoint event, watch a tool's progress arrive while the tool works, see one tool
# stop everybody, and do the exercise. 90 minutes. The text with all the reasons is
# [lessons/06_sdk_server.md](../lessons/06_sdk_server.md).
#
# It teaches the transport HTTP+SSE of MCP's revision 2024-11-05, in version 2 of the SDK.
# Streamable HTTP replaced this transport in 2025, and it is deprecated. The SDK still serves it.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%

from mcp import Client
from mcp.client.sse import sse_client

from workshop.notebook import (
    Stream,
    begin_at,
    check,
    listen,
    note,
    post,
    show_stream,
    start,
    start_exercise,
)

# %% [markdown]
# ## A server of functions
#
# A function with types and a docstring is a tool. The SDK makes the schema from its types, checks
# the arguments, and turns what it returns into a result. (`Number` is a `float` that must be a
# finite number; `finite` refuses a result that is not.)
#
# ```python scripts/06_sdk_server/calculator.py::add
# ```
#
# Everything that you wrote by hand in lesson 05 is now the SDK's work. On the wire it looks the
# same. Each piece is shown with the time when it arrived:

# %%
server = start("scripts/06_sdk_server/calculator.py")
stream = listen(server.url + "/sse")
stream.show(1)
endpoint = server.url + stream.last.data

# %% [markdown]
# Shake hands in this session, as any client does. **Predict:** two POSTs. What is the answer to each,
# and what comes on the stream?

# %%
hello = {"protocolVersion": "2024-11-05", "capabilities": {}}
hello["clientInfo"] = {"name": "notebook", "version": "1"}
initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}

post(endpoint, initialize)
post(endpoint, initialized)
stream.show(1)

# %% [markdown]
# ## The tea shop
#
# This copies the exercise to `work/06_sdk_server/exercise.py`: a tea shop
# has a web app, and you give it tools.

# %%
start_exercise("06")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 06` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 3, with TODOs 1 and 2 done. Remove the `#`:

# %%
# begin_at("06", todo=3)

# %% [markdown]
# ## Inside an app that you already have
#
# `sse_app()` makes an ASGI app, so it can be mounted in another one, beside that one's routes. The
# prefix is written in the mount and nowhere else. **Predict:** is it in the endpoint event?

# %%
mounted = start("scripts/06_sdk_server/mounted_calculator.py")
with listen(mounted.url + "/calculator/sse") as stream:
    stream.show(1)
show_stream(mounted.url + "/health")

# %% todo 1

# %%
check("06", todo=1)

# %% [markdown]
# ## Who may come in
#
# By default the SDK's server knows only this machine's own names. Customers come by another one.
# **Predict:** what is the answer to each of these?

# %%
for host in ("localhost:8006", "tea.example"):
    listen(mounted.url + "/calculator/sse", {"Host": host}).close()

# %% [markdown]
# 421 means: not a name of mine. **Change** the names, and run the cell again.

# %% todo 2

# %%
check("06", todo=2)

# %%
mounted.stop()

# %% [markdown]
# ## A tool that fails
#
# Division by zero is a tool's error: the tool raises `ToolError`, and the model can read why. In
# this SDK, wrong arguments and an unknown tool are reported in the same way. An unknown *method*
# is an error of the protocol, for the program that asked.
#
# **Predict:** which of these three replies has `isError` in it, and which an `error`?


# %%
def ask(method: str, params: dict, request_id: int) -> dict:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


divide = {"name": "divide", "arguments": {"a": 1, "b": 0}}
post(endpoint, ask("tools/call", divide, 2))
post(endpoint, ask("tools/call", {"name": "power", "arguments": {}}, 3))
post(endpoint, ask("power", {}, 4))
stream.show(3)

# %% todo 3

# %%
check("06", todo=3)

# %% [markdown]
# ## Progress, live
#
# `add_slowly` takes a while for each number. A client that wants to know how far it has got puts a
# *progress token* into the request's `_meta`. Each notification carries that token, and comes
# while the tool is at work, long before the result. **Predict:** one POST. How many events come, and
# when?

# %%
slowly = {"name": "add_slowly", "arguments": {"numbers": [1, 2, 3], "seconds": 0.5}}
slowly["_meta"] = {"progressToken": "my sum"}
post(endpoint, ask("tools/call", slowly, 5))
stream.show(4)

# %% [markdown]
# The tool says `await ctx.report_progress(progress, total, message)`. A call without `await`
# sends nothing. Without a token nothing is sent either, because nobody asked. **Change** the numbers
# or the seconds above, and run the cell again with another id. And now without a token:

# %%
del slowly["_meta"]
slowly["arguments"]["seconds"] = 0.1
post(endpoint, ask("tools/call", slowly, 6))
stream.show(1)
stream.close()

# %% [markdown]
# ## What a client asks first
#
# The SDK's own client handles the token, the handshake and the ids for you. It takes a transport
# and a *mode*. By default it asks `server/discover` first, and then both agree on revision
# 2026-07-28, which has no SSE transport: no revision defines that combination.
# `mode="legacy"` begins with `initialize`, and that is what all SSE lessons use:

# %%
for mode in ("auto", "legacy"):
    async with Client(sse_client(server.url + "/sse"), mode=mode) as client:
        print(f'mode="{mode}": {client.protocol_version}')


# %%
async def show(progress: float, total: float | None, message: str | None) -> None:
    note(f"{progress:g} of {total:g}: {message}")


async with Client(sse_client(server.url + "/sse"), mode="legacy") as client:
    numbers = {"numbers": [4, 5], "seconds": 0.3}
    result = await client.call_tool("add_slowly", numbers, progress_callback=show)
    note(f"the result: {result.content[0].text}")

# %% [markdown]
# ## A tool that blocks everybody
#
# All sessions share one event loop. This tool blocks it, in an `async def` without `await`:
#
# ```python scripts/06_sdk_server/blocking_broken.py::work
# ```
#
# One session calls it, and another one only wants a ping. **Predict:** how long does it wait?

# %%
server = start("scripts/06_sdk_server/blocking_broken.py")


def open_session() -> tuple[Stream, str]:
    """Open a stream and shake hands: the stream, and the URL to POST to."""
    stream = listen(server.url + "/sse")
    stream.show(1)
    url = server.url + stream.last.data
    post(url, initialize)
    post(url, initialized)
    stream.show(1)
    return stream, url


busy, busy_url = open_session()
other, other_url = open_session()

# %%
post(busy_url, ask("tools/call", {"name": "work", "arguments": {"seconds": 1.5}}, 2))
post(other_url, ask("ping", {}, 2))
other.show(1)

# %% [markdown]
# To fix it, remove one word. The SDK runs a plain `def` on a worker thread, and the event
# loop stays free:
#
# ```python scripts/06_sdk_server/blocking_fixed.py::work
# ```
#
# **Change** `blocking_broken.py` to `blocking_fixed.py` above, and run the two cells again.

# %%
busy.close()
other.close()
server.stop()

# %% [markdown]
# ## A tool that takes its time
#
# Your `pack` waits for its scans, reports each one, and blocks nobody.

# %% todo 4

# %%
check("06", todo=4)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("06")

# %% [markdown]
# When all checks pass, compare yours with the calculator's way:
#
# <details><summary>How ours does it</summary>
#
# ```python scripts/06_sdk_server/mounted_calculator.py::create_app
# ```
#
# ```python scripts/06_sdk_server/door.py::allowed
# ```
#
# ```python scripts/06_sdk_server/calculator.py::divide
# ```
#
# ```python scripts/06_sdk_server/calculator.py::add_slowly
# ```
#
# </details>
