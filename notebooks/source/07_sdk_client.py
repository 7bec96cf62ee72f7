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
# Run the cells from top to bottom with Shift-Enter.

# %%
import asyncio
import logging
import re
import subprocess
import sys
import time

from mcp import Client, MCPError
from mcp.client.sse import sse_client

from workshop.course import ROOT
from workshop.notebook import check, listen, post, running, start

# %% [markdown]
# ## What goes over the wire
#
# The server is the calculator of lesson 06. You are the client: open the stream, and read in its
# first event where to POST. The time in front of each piece is when it arrived.

# %%
server = start("scripts/06_sdk_server/calculator.py")
stream = listen(server.url + "/sse")
stream.show(1)
endpoint = re.search(r"data: (\S+)", stream.text)[1]

# %% [markdown]
# Shake hands, and call a tool that takes its time. It is asked to report its progress under the
# token `7`. Each POST is answered at once, with 202. Everything else comes on the stream, the reply
# last:

# %%
hello = {"protocolVersion": "2025-11-25", "capabilities": {}}
hello["clientInfo"] = {"name": "notebook", "version": "1"}
_ = post(
    server.url + endpoint,
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
)
_ = post(server.url + endpoint, {"jsonrpc": "2.0", "method": "notifications/initialized"})
stream.show(1)

slowly = {"name": "add_slowly", "arguments": {"numbers": [1, 2, 3], "seconds": 0.4}}
slowly["_meta"] = {"progressToken": 7}
_ = post(
    server.url + endpoint,
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": slowly},
)
stream.show(4)
stream.close()

# %% [markdown]
# `inside_the_client.py` holds this conversation without you. It uses the parser of lesson 02 and
# nothing from the SDK. `->` was sent, `<-` came:

# %%
program = ROOT / "scripts/07_sdk_client/inside_the_client.py"
done = subprocess.run(
    [sys.executable, program, server.url + "/sse", "add", '{"a": 2, "b": 5}'],
    capture_output=True,
    encoding="utf-8",
)
print(done.stdout + done.stderr)

# %% [markdown]
# It has two halves, like the SDK's client. `Transport` opens the stream and POSTs: that is
# `sse_client`. `Session` numbers the requests and finds out whose reply has come: that is
# `ClientSession`. Note the order in `request`: first remember who is waiting, then send, because the
# reply may overtake the 202.
#
# ```python scripts/07_sdk_client/inside_the_client.py::Session.request
# ```

# %% [markdown]
# ## Where the client may be sent
#
# The endpoint is data from outside. Before anything is sent there, it has to be compared with the
# URL of the stream. What must be the same, and what is `http://127.0.0.1:8000@evil.example/`?

# %% [markdown]
# ## The SDK's client
#
# The same in four lines. `mode="legacy"` means: begin with `initialize`, which every server over SSE
# knows. Lesson 06 shows what happens without it. `read_timeout_seconds` is a limit for each call:
# without one, the client waits for ever for a reply that never comes.

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
# enters and leaves its own client. (`many_clients.py` is the program.)


# %%
async def one_client(number: int) -> list[str]:
    async with Client(
        sse_client(server.url + "/sse"), mode="legacy", read_timeout_seconds=10
    ) as client:
        calls = [client.call_tool("add", {"a": number * 1000, "b": turn}) for turn in range(3)]
        return [result.content[0].text for result in await asyncio.gather(*calls)]


for answers in await asyncio.gather(*(one_client(number) for number in range(1, 11))):
    print(*answers)

# %% [markdown]
# ## When the server restarts
#
# Now a call is under way when the server stops. The SDK's client notices, and every later call fails
# in the same way, even when the server is back: its session is gone, and it opens no other. Only a
# new client helps.

# %%
# It logs the errors that it raises, with everything that led to them.
logging.getLogger("mcp.client.sse").setLevel(logging.CRITICAL)
began = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - began:8.3f} s | {text}", flush=True)


async def add(client: Client, tool: str = "add", **arguments: object) -> None:
    try:
        result = await client.call_tool(tool, arguments or {"a": 2, "b": 5})
        say(f"{tool} says {result.content[0].text}")
    except MCPError as error:
        say(f"{tool} failed: {error}")


async with Client(
    sse_client(server.url + "/sse"), mode="legacy", read_timeout_seconds=10
) as client:
    await add(client)
    slow_call = asyncio.create_task(add(client, "add_slowly", numbers=[1, 2, 3]))
    await asyncio.sleep(0.5)
    server.stop()
    say("the server is stopped")
    await slow_call
    with running(ROOT / "scripts/06_sdk_server/calculator.py", port=server.port):
        say("the server is back, on the same port")
        await add(client)
        async with Client(sse_client(server.url + "/sse"), mode="legacy") as new_client:
            await add(new_client)

# %% [markdown]
# The caller of `add_slowly` knows only that the connection was closed. Has the tool run? Nobody can
# know. Asking again is harmless for a sum. For a payment it is not. A tool can say which it is, in
# its *annotations*: `readOnlyHint` means that it changes nothing, `idempotentHint` that a second
# call changes nothing more.

# %% [markdown]
# ## The exercise
#
# This is the starter: a client that talks to one server until the stream ends, and then waits
# for ever. Make it reconnect, begin a new session, and tell its caller the truth about each call.
# Change the cell and run it: it is written to your file, and `check` runs the lesson's checks on it,
# with small servers that each go wrong in a different way. In a terminal, `uv run workshop hint 07`
# gives a hint, and one more each time.

# %% exercise

# %%
check("07")
