# %% [markdown]
# # Lesson 03: An event hub that misses nothing
#
# The lesson, hands-on: you publish and subscribe, lose connections on purpose, and see when
# events get lost and when they don't. Then you write the client's reconnect loop. 125 minutes.
# The text, with all the reasons, is [lessons/03_event_hub.md](../lessons/03_event_hub.md).
#
# It teaches Server-Sent Events as the HTML standard defines them. MCP's Streamable HTTP resumed
# streams with the same `Last-Event-ID` from revision 2025-03-26 to 2025-11-25.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
import asyncio
import sys
import urllib.request

from IPython.display import IFrame

from workshop.course import ROOT
from workshop.notebook import (
    begin_at,
    check,
    listen,
    note,
    post,
    show_stream,
    start,
    start_exercise,
)

# The lesson's client is a module in the folder of its scripts.
sys.path.insert(0, str(ROOT / "scripts" / "03_event_hub"))
from sse_client import SSEClient

# %% [markdown]
# ## A hub to listen to
#
# `--first-id 1` makes the hub count from 1, so that ids are easy to type. Open a stream of the
# type `orders`. In front of each piece is when it arrived. Nobody is publishing.
#
# **Predict:** what comes on a stream on which nothing happens?

# %%
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--heartbeat", "0.5")
show_stream(hub.url + "/events/orders", events=4)

# %% [markdown]
# First came the id at which this reader begins, and how long it should wait before it
# reconnects. Then came heartbeats: comments, which no parser ever reports. **Change** the
# heartbeat to `0.1` and run the cell again.
#
# Start the hub with fewer of them, open the stream again and keep it; it is read in the
# background.

# %%
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1")
orders = listen(hub.url + "/events/orders")

# %% [markdown]
# Publish three events. Each answer gives the event's id, and how many readers received it.
#
# **Predict:** the stream is of the type `orders`. Which events come on it, with which ids?

# %%
post(hub.url + "/events/orders", {"item": "tea"})
post(hub.url + "/events/news", {"text": "rain"})
post(hub.url + "/events/orders", {"item": "coffee"})
orders.show(None, seconds=0.5)

# %% [markdown]
# The stream began with an id and no data: that is where this reader begins. The news is not in
# the stream, but it has an id as well: ids are numbered across the whole hub.
#
# **Change** the types, or publish more, and run the cell again.
#
# ## Your client
#
# This copies the exercise to `work/03_event_hub/exercise.py`: a client that reads one connection to
# its end and gives up.

# %%
start_exercise("03")

# %% [markdown]
# Each TODO has a cell below, which shows the functions that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 03` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 3, with TODOs 1 and 2 done. Remove the `#`:

# %%
# begin_at("03", todo=3)

# %% [markdown]
# ## Coming back
#
# A connection ends in more ways than you might think. The hub may end the stream cleanly: then
# the loop over the chunks just ends, without an exception. Or the connection breaks, or nothing
# listens any more: that is an `aiohttp.ClientError` or an `OSError`. Come back in all these cases,
# and never without a wait.

# %% todo 1

# %%
check("03", todo=1)

# %% [markdown]
# ## Resuming
#
# A reader that had event 1 comes back. (A browser sends the header `Last-Event-ID`; here we use the
# query.) **Predict:** which events does it get, and in which order?

# %%
orders.close()
with listen(hub.url + "/events?types=orders,news&last_event_id=1") as resumed:
    resumed.show(None, seconds=0.5)

# %% [markdown]
# It gets what came after, of the types it asks for. **Change** the id to `0`, or to `3`.
#
# All of this happens in one synchronous method. While it runs, nothing else can run: no event
# falls between the replay and the live events.
#
# ```python scripts/03_event_hub/hub.py::Hub.subscribe
# ```
#
# Which id does your client send? An id counts at the blank line, and not when its line arrives. It
# counts without an event, too. And it outlives a connection that brought nothing.

# %% todo 2

# %%
check("03", todo=2)

# %% [markdown]
# ## A gap
#
# A hub that keeps only two events of each type has to forget. Five are published, and then a reader
# comes that has event 1. **Predict:** which events does it get, and how does it learn that some are
# missing?

# %%
hub.stop()
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--history", "2")
for number in range(1, 6):
    post(hub.url + "/events/orders", {"n": number})
with listen(hub.url + "/events/orders?last_event_id=1") as late:
    late.show(None, seconds=0.5)

# %% [markdown]
# ## The client, through a bad network
#
# The faulty proxy sits between the two and cuts each connection after two events. The client
# reconnects by itself. Six events are published. **Predict:** how many connections does it take?

# %%
hub.stop()
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--retry", "300")
proxy = start("scripts/03_event_hub/faulty_proxy.py", "--target", hub.url, "--cut-after", "2")


def report(event_type: str, text: str) -> None:
    note(f"[{event_type}] {text}")


async def show(event: object) -> None:
    note(f"arrived: {event}")
    arrived.put_nowait(event)


async with SSEClient(proxy.url, report=report) as client, SSEClient(hub.url) as publisher:
    arrived = asyncio.Queue()
    await client.subscribe("orders", show)
    for number in range(1, 7):
        await publisher.send_event("orders", {"n": number})
    async with asyncio.timeout(20):
        for _ in range(6):
            await arrived.get()

# %%
print(proxy.output)

# %% [markdown]
# Six events over three connections or more, none lost, none duplicated. **Change** `--cut-after` to
# `1`, or `--retry` to `1000`, and run the two cells again.

# %% [markdown]
# ## The end of a type
#
# When a type is closed, its streams end with `data: [DONE]`. Without that, an end would look
# like any lost connection. A client that comes back all the same gets 204, and stops. So does one that
# gets a 4xx, or a page instead of a stream. A 503 may be temporary.

# %%
async with SSEClient(hub.url, report=report) as client:
    await client.subscribe("news", print)
    news = listen(hub.url + "/events/news")
    urllib.request.urlopen(urllib.request.Request(hub.url + "/events/news", method="DELETE"))
    await asyncio.sleep(0.3)
news.show(None, seconds=0.5)

# %% todo 3

# %%
check("03", todo=3)

# %% [markdown]
# ## An event that can't be handled
#
# What if one publisher sends `{oops`? Whatever a handler raises must cost that event and nothing
# else. The trap is where you catch it.

# %% todo 4

# %%
check("03", todo=4)

# %% [markdown]
# ## Two clocks
#
# By default, aiohttp ends every request after 300 seconds, even one that is alive. A stream must
# not be limited in total. But if not a byte has come for 2.5 heartbeats, the connection is dead.

# %% todo 5

# %%
check("03", todo=5)

# %% [markdown]
# ## Waiting
#
# At least `retry`, because the server asked for it. Longer with each failure in a row. Never as
# long as everybody else, and never without bound.

# %% todo 6

# %%
check("03", todo=6)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together: your client follows some sixty streams at once, through every
# fault of the proxy.

# %%
check("03")

# %% [markdown]
# ## The dashboard
#
# Plain HTML and JavaScript: choose types, publish, watch. (If the notebook does not run on the
# same machine as your browser, the frame stays empty.)

# %%
IFrame(hub.url, width="100%", height=640)

# %% [markdown]
# ## How ours does it
#
# When your client passes, compare it with the lesson's. This is its loop:
#
# ```python scripts/03_event_hub/sse_client.py::SSEClient._follow
# ```
