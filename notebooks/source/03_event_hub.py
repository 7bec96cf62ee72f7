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
# Run the cells from top to bottom with Shift-Enter.

# %%
import asyncio
import sys
import urllib.request

from IPython.display import IFrame

from workshop.course import ROOT
from workshop.notebook import check, listen, post, show_stream, start

# The lesson's client is a module in the folder of its scripts.
sys.path.insert(0, str(ROOT / "scripts" / "03_event_hub"))
from sse_client import SSEClient

# %% [markdown]
# ## A hub to listen to
#
# `--first-id 1` makes the hub count from 1, so that ids are easy to type. Open a stream of the
# type `orders`. The number in front of each piece says when it arrived.

# %%
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--heartbeat", "0.5")
show_stream(hub.url + "/events/orders", events=4)

# %% [markdown]
# First came the id at which this reader begins, and how long it should wait before it
# reconnects. Then came heartbeats: comments, from time to time, because nobody is publishing.
# Start the hub with fewer of them, open the stream again and keep it; it is read in the
# background.

# %%
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1")
orders = listen(hub.url + "/events/orders")

# %% [markdown]
# Publish three events. Each answer gives the event's id, and how many readers received it.

# %%
_ = post(hub.url + "/events/orders", {"item": "tea"})
_ = post(hub.url + "/events/news", {"text": "rain"})
_ = post(hub.url + "/events/orders", {"item": "coffee"})
orders.show(None, seconds=0.5)

# %% [markdown]
# The stream began with an id and no data: that is where this reader begins. The news is not in
# the stream, but it has an id as well: ids are numbered across the whole hub.

# %% [markdown]
# ## Resuming
#
# A reader that had event 1 comes back. It gets what came after, of the types it asks for. (A
# browser sends the header `Last-Event-ID`; here we use the query.)

# %%
orders.close()
with listen(hub.url + "/events?types=orders,news&last_event_id=1") as resumed:
    resumed.show(None, seconds=0.5)

# %% [markdown]
# All of this happens in one synchronous method. While it runs, nothing else can run: no event
# falls between the replay and the live events.
#
# ```python scripts/03_event_hub/hub.py::Hub.subscribe
# ```

# %% [markdown]
# ## A gap
#
# A hub that keeps only two events of each type has to forget. It says exactly what:

# %%
hub.stop()
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--history", "2")
for number in range(1, 6):
    _ = post(hub.url + "/events/orders", {"n": number})
with listen(hub.url + "/events/orders?last_event_id=1") as late:
    late.show(None, seconds=0.5)

# %% [markdown]
# ## The client, through a bad network
#
# The faulty proxy sits between the two and cuts each connection after two events. The client
# reconnects by itself. Watch when the events come, and what the client says about its
# connection.

# %%
hub.stop()
hub = start("scripts/03_event_hub/hub_server.py", "--first-id", "1", "--retry", "300")
proxy = start("scripts/03_event_hub/faulty_proxy.py", "--target", hub.url, "--cut-after", "2")


def report(event_type: str, text: str) -> None:
    print(f"[{event_type}] {text}")


async with SSEClient(proxy.url, report=report) as client, SSEClient(hub.url) as publisher:
    arrived = asyncio.Queue()
    await client.subscribe("orders", arrived.put)
    for number in range(1, 7):
        await publisher.send_event("orders", {"n": number})
    async with asyncio.timeout(20):
        for _ in range(6):
            print(await arrived.get())

# %%
print(proxy.output)

# %% [markdown]
# Six events over three connections or more, none lost, none duplicated. In the exercise you
# write the loop that does it.

# %% [markdown]
# ## The end of a type
#
# When a type is closed, its streams end with `data: [DONE]`. Without that, an end would look
# like any lost connection. A client that comes back all the same gets 204, and stops.

# %%
async with SSEClient(hub.url, report=report) as client:
    await client.subscribe("news", print)
    news = listen(hub.url + "/events/news")
    urllib.request.urlopen(urllib.request.Request(hub.url + "/events/news", method="DELETE"))
    await asyncio.sleep(0.3)
news.show(None, seconds=0.5)

# %% [markdown]
# ## The dashboard
#
# Plain HTML and JavaScript: choose types, publish, watch. (If the notebook does not run on the
# same machine as your browser, the frame stays empty.)

# %%
IFrame(hub.url, width="100%", height=640)

# %% [markdown]
# ## The exercise
#
# This is the starter: a client that reads one connection to its end and gives up. Change the
# cell and run it: it is written to your file, and `check` runs the lesson's checks on it,
# through every fault of the proxy. In a terminal, `uv run workshop hint 03` gives a hint, and
# another one each time you run it.

# %% exercise

# %%
check("03")

# %% [markdown]
# ## How ours does it
#
# When your client passes, compare it with the lesson's. This is its loop:
#
# ```python scripts/03_event_hub/sse_client.py::SSEClient._follow
# ```
