# %% [markdown]
# # Lesson 01: A stream from Flask
#
# The lesson, hands-on: you start servers, watch their streams arrive, see one broken and fixed,
# and write the exercise. 55 minutes. The text with all the reasons is
# [lessons/01_flask_stream.md](../lessons/01_flask_stream.md).
#
# It teaches Server-Sent Events (SSE), a part of the HTML standard. MCP's HTTP+SSE transport
# of 2024-11-05, now deprecated, was built on it, and today's Streamable HTTP streams its
# answers in the same format.
#
# Run the cells from top to bottom with Shift-Enter.

# %%
from collections.abc import Generator

from IPython.display import IFrame

from workshop.notebook import check, listen, show_stream, start

# %% [markdown]
# ## One response that takes four seconds
#
# Start the server and listen. Watch the lines arrive, one per second. In front of each is the
# time when it arrived, measured from the request.

# %%
server = start("scripts/01_flask_stream/flask_server.py")
show_stream(server.url + "/mcp-sse")

# %% [markdown]
# That was one GET request and one response. In Flask all it takes is a generator and a view
# that returns it:
#
# ```python scripts/01_flask_stream/flask_server.py::updates
# ```
#
# ```python scripts/01_flask_stream/flask_server.py::stream
# ```
#
# `data: ` names the field that carries the text. The blank line ends the event: without it
# a browser waits for more of the same event, and no event ever reaches the page.

# %% [markdown]
# ## The headers
#
# `Content-Type` makes it an event stream, `Cache-Control` forbids old copies. `Connection`
# belongs to the server: an application must not set it. There is no `Content-Length`: the
# server does not know yet how long the response will be.

# %%
with listen(server.url + "/mcp-sse") as listener:
    print(listener.headers)

# %% [markdown]
# ## One late lump
#
# The same events from a server with one mistake. Look at the times.

# %%
broken = start("scripts/01_flask_stream/late_lump_broken.py", "--interval", "0.5")
show_stream(broken.url + "/mcp-sse")
print()
print(broken.output)

# %% [markdown]
# Each event was *made* on time, as the program's own output shows, but they all arrived
# together, when the last one was made. This view buffers them:
#
# ```python scripts/01_flask_stream/late_lump_broken.py::stream
# ```
#
# The fix is to hand over the generator itself:

# %%
broken.stop()
fixed = start("scripts/01_flask_stream/late_lump_fixed.py", "--interval", "0.5")
show_stream(fixed.url + "/mcp-sse")

# %% [markdown]
# ## The surprise
#
# A browser's client for event streams is `EventSource`. Below is the server's own page, which
# uses it. Leave it alone for ten seconds: what happens after `Update 4`?
#
# (If the notebook runs on a different machine from your browser, the frame stays empty. Run
# the server on your machine, as the lesson's text does.)

# %%
fixed.stop()
IFrame(server.url, width="100%", height=640)

# %% [markdown]
# The stream ended, and `EventSource` **reconnected by itself**. It goes on like this until
# the page calls `close()`: press Stop. The server has two ways to end for good: send a
# final event that makes the page close, or answer the next request with status 204.

# %%
ending = start("scripts/01_flask_stream/end_for_good.py", "--interval", "0.3")
IFrame(ending.url, width="100%", height=460)

# %% [markdown]
# ## Who is listening?
#
# Most listeners leave in the middle. The server then closes the generator, and its `finally`
# runs, but only if the generator ever started:

# %%
# scripts/01_flask_stream/closing_a_generator.py::updates

# %%
left = updates("leaves in the middle")
next(left)
left.close()

never_started = updates("never starts")
never_started.close()

# %% [markdown]
# A HEAD request makes your view build a generator that is never started. So acquire and release
# in the same place: whatever the `finally` releases, the generator itself acquires, right
# before its `try`.

# %% [markdown]
# ## The exercise
#
# This is the starter. It runs, but four things are wrong, each marked with a `TODO`. Change the
# cell and run it: it is written to your file, and `check` runs the lesson's checks on it. In a
# terminal, `uv run workshop hint 01` gives one hint at a time.

# %% exercise

# %%
check("01")

# %% [markdown]
# Try your server by hand, too. What are the counts while a client listens, and afterwards?

# %%
mine = start("work/01_flask_stream/exercise.py")
with listen(mine.url + "/mcp-sse?interval=0.2") as listener:
    listener.show(seconds=3)
    show_stream(mine.url + "/listeners")
show_stream(mine.url + "/listeners")

# %% [markdown]
# The last line may still say 1, even if your server is right: it notices that a listener has left
# only when it sends the next event, here after 0.2 seconds. Ask again:

# %%
show_stream(mine.url + "/listeners")

# %% [markdown]
# ## What to remember
#
# - An event stream is one HTTP response that stays open, of type `text/event-stream`.
# - A blank line ends each event.
# - Give Flask the generator, not its contents. A `Content-Length` means a late lump.
# - `EventSource` reconnects when the stream ends.
# - Acquire and release in the same place. You notice that a listener has left only when you send.
#
# The servers stop when the kernel does. You can stop them now:

# %%
for program in (server, ending, mine):
    program.stop()
