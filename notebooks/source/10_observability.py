# %% [markdown]
# # Lesson 10: See inside it
#
# The lesson hands-on: you watch a server's numbers live, see one of them lie, put a load on three
# sick servers and find out from the outside what each suffers from. 125 minutes. The text with
# all the reasons is [lessons/10_observability.md](../lessons/10_observability.md).
#
# It observes HTTP+SSE, the transport of MCP's revision 2024-11-05. Streamable HTTP replaced it in
# 2025, and it is deprecated. Streamable HTTP has event streams too, so the same mistakes are just
# as easy to make there.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
import asyncio
import time
from urllib.request import urlopen

import matplotlib.pyplot as plt
from IPython.display import IFrame, display
from prometheus_client.parser import text_string_to_metric_families

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
# ## A server that can be looked into
#
# Start it, open a stream, and call a tool twice.

# %%
server = start("scripts/10_observability/observed_server.py")
stream = listen(server.url + "/sse")
stream.show(1)
endpoint = server.url + stream.last.data


# %%
def request(id: int, method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


hello = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "notebook", "version": "1"},
}
post(endpoint, request(1, "initialize", **hello))
post(endpoint, request(2, "tools/call", name="add", arguments={"a": 2, "b": 5}))
post(endpoint, request(3, "tools/call", name="wait", arguments={"seconds": 1}))
stream.show(None, seconds=1.5)

# %% [markdown]
# The server counted that. `/metrics` has all its numbers, as text. The next cell reads them:
# `_count` is how many calls of this tool there were, `_sum` how many seconds they took together.


# %%
def metrics(url: str) -> dict[str, float]:
    """Each time series, and its value now."""
    with urlopen(url + "/metrics") as answer:
        text = answer.read().decode()
    return {
        f"{sample.name}{sample.labels or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def show_metrics(url: str, word: str) -> None:
    for name, value in metrics(url).items():
        if word in name and "bucket" not in name:
            print(f"{value:10.3f}  {name}")


show_metrics(server.url, "mcp_tool_seconds_count")
show_metrics(server.url, "mcp_tool_seconds_sum")

# %% [markdown]
# **Change** the word to `"mcp_streams"` or `"mcp_messages"`, and run the cell again.
#
# ## Numbers that move
#
# One number says little. A line shows how it changes. This draws two of them, live, while `load.py`
# opens twenty streams and makes calls. **Predict:** how many streams will be open?


# %%
async def draw(url: str, seconds: float, **lines: str) -> None:
    """Draw these time series, four times a second."""
    figure = plt.figure(figsize=(8, 2 * len(lines)))
    figure.subplots(len(lines), sharex=True)
    plt.close(figure)  # we show it ourselves, again and again
    picture = display(figure, display_id=True)
    times: list[float] = []
    values: dict[str, list[float]] = {name: [] for name in lines}
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        now = await asyncio.to_thread(metrics, url)
        times.append(time.monotonic() - began)
        for axis, (name, series) in zip(figure.axes, lines.items(), strict=True):
            values[name].append(now.get(series, 0))
            axis.clear()
            axis.plot(times, values[name])
            axis.set_ylabel(name)
            axis.set_ylim(bottom=0)
        figure.axes[-1].set_xlabel("seconds")
        picture.update(figure)
        await asyncio.sleep(0.25)


# %%
STREAMS = 20

load = asyncio.create_task(
    asyncio.to_thread(
        run,
        "scripts/10_observability/load.py",
        server.url + "/sse",
        "--streams",
        str(STREAMS),
        "--seconds",
        "3",
    )
)
await draw(
    server.url,
    6,
    streams="mcp_streams_active",
    messages="mcp_messages_total{'way': 'in'}",
)
await load

# %% [markdown]
# 21: the load's twenty, and your own, which is still open. The messages only ever grow: how steep
# their line is shows how many come in a second. **Change** the number of streams, and run the cell
# again.
#
# The server has its own dashboard, made from the same numbers. Here it is. It listens to an event
# stream. (If the notebook does not run on the same machine as your browser, the frame stays empty.)

# %%
IFrame(server.url + "/dashboard", "100%", 600)

# %%
show_stream(server.url + "/dashboard/events?types=sample", 4)

# %% [markdown]
# ## The number that lies
#
# This server answers each POST in a few milliseconds. The program opens ten streams, POSTs ten
# messages for each, stays for three seconds, and leaves. *p95* is the time within which 95 % of all
# requests were answered. **Predict:** what will the server say it is?

# %%
LATENCY = "scripts/10_observability/latency_broken.py"

lying = start(LATENCY)
run("scripts/10_observability/clients.py", lying.url, "--seconds", "3")
print(urlopen(lying.url + "/p95").read().decode())

# %% [markdown]
# A stream is a request that lasts as long as its client listens. The server mistook its lifetime for
# the time to an answer. (It says more than three seconds, because a histogram only knows that a
# value was in a bucket, here from 2.5 to 5 s. Where in it, it can only guess.)
#
# **Change** `latency_broken` to `latency_fixed`, and run the cell again.
#
# ## Repair the instruments
#
# This copies the exercise to `work/10_observability/exercise.py`: one file with three servers in it,
# Ash, Birch and Cedar. Each is sick, and their instruments lie.

# %%
start_exercise("10")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is in. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 10` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 4, with the earlier ones done. Remove the `#`:

# %%
# begin_at("10", todo=4)

# %% [markdown]
# Keep streams out of the latency.

# %% todo 1

# %%
check("10", todo=1)

# %% [markdown]
# ## Keep labels bounded
#
# Each value of a label is one more time series, for ever. This server has a label for the session.
# A hundred clients come, send one message each, and leave. **Predict:** how many more time series
# does `/metrics` have then?

# %%
CLIENTS = 100

labels = start("scripts/10_observability/labels_broken.py")
before = len(metrics(labels.url))
run(
    "scripts/10_observability/clients.py",
    labels.url,
    "--clients",
    str(CLIENTS),
    "--messages",
    "1",
)
print(f"{before} time series before, {len(metrics(labels.url))} after")

# %% [markdown]
# Two for each client, how many messages and since when, and they stay. **Change** the number of
# clients, and run the cell again.
#
# Whatever comes from outside can have any value, so its values must not all become labels:

# %% todo 2

# %%
check("10", todo=2)

# %% [markdown]
# ## Errors with an id
#
# The client learns that something broke, and an id. The log has the same id, and says what broke and
# where.

# %% todo 3

# %%
check("10", todo=3)

# %% [markdown]
# ## Three patients
#
# One server keeps sessions whose stream is gone. One blocks the event loop while a tool runs. One
# keeps events back that are ready to be sent. Which is which? Look at them from the outside: put a
# load on each, and then read its numbers.
#
# In a healthy server there are as many sessions as streams. A heartbeat is a few milliseconds late,
# and an event waits less than one to be sent: to get these averages, divide each `_sum` (in seconds)
# by its `_count`. The tool takes 50 ms, so the time to an answer is a little more than that.

# %%
PATIENT = "ash"

patient = start("work/10_observability/exercise.py", "--server", PATIENT)
run(
    "scripts/10_observability/load.py",
    patient.url + "/sse",
    "--streams",
    "20",
    "--seconds",
    "2",
)
for word in ("mcp_sessions", "mcp_streams", "late_seconds_", "wait_seconds_"):
    show_metrics(patient.url, word)

# %% [markdown]
# **Change** the patient to `"birch"`, then to `"cedar"`, and run the cell each time. Then write down
# what you found:

# %% todo 4

# %%
check("10", todo=4)

# %% [markdown]
# Now read their code, and mend them.

# %% todo 5

# %%
check("10", todo=5)

# %% todo 6

# %%
check("10", todo=6)

# %% todo 7

# %%
check("10", todo=7)

# %% [markdown]
# ## Leave in good order
#
# When a server leaves, all its streams end at the same moment. All its clients would then come back
# at the same moment, too. The field `retry` gives each of them a different time to wait.

# %% todo 8

# %%
check("10", todo=8)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("10")

# %% [markdown]
# When all checks pass, compare your file with ours:
#
# <details><summary>How ours does it</summary>
#
# ```python solutions/10_observability/exercise.py
# ```
#
# </details>
