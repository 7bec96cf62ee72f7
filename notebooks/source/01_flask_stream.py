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
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
from collections.abc import Generator

from IPython.display import IFrame

from workshop.notebook import begin_at, check, listen, show_stream, start, start_exercise

# %% [markdown]
# ## One response that takes four seconds
#
# Start the server and listen. It sends five events. In front of each is the time when it arrived,
# measured from the request, and the time since the one before.

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
# **Change** the `show_stream` line to `show_stream(server.url + "/mcp-sse", events=2)`, and run that
# cell again: you hang up after two events.
#
# ## Your server
#
# This copies the exercise to `work/01_flask_stream/exercise.py`: a server that streams, but four
# things are wrong in it, each marked with a `TODO`.

# %%
start_exercise("01")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 01` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 3, with TODOs 1 and 2 done. Remove the `#`:

# %%
# begin_at("01", todo=3)

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
# The same events, half a second apart, from a server with one mistake: it buffers them.
# **Predict:** when will each of the five events arrive?

# %%
broken = start("scripts/01_flask_stream/late_lump_broken.py", "--interval", "0.5")
show_stream(broken.url + "/mcp-sse")
print()
print(broken.output)

# %% [markdown]
# Each event was *made* on time, as the program's own output below the events shows, but they all
# arrived together, when the last one was made. This view buffers them:
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
# **Change** `0.5` to `0.1` in both cells, and run them again. Whatever the interval, a lump is late
# by all of it.
#
# Your server still sends one late lump, and does not say what it is:

# %% todo 1

# %%
check("01", todo=1)

# %% [markdown]
# ## The blank line
#
# `data: ` names the field that carries the text, and the blank line ends the event. Forget it, and
# nothing looks wrong in curl. A browser waits for a blank line that never comes.
#
# **Predict:** your server sends five events, as your TODOs have it so far. How many does this
# listener see?

# %%
mine = start("work/01_flask_stream/exercise.py")
show_stream(mine.url + "/mcp-sse?interval=0.1")

# %% [markdown]
# As long as TODO 2 is open, the answer is: none. What came is not an event for anybody.

# %% todo 2

# %%
check("01", todo=2)

# %% [markdown]
# ## The surprise
#
# A browser's client for event streams is `EventSource`. Below is the server's own page, which
# uses it. **Predict:** what happens after `Update 4`? Leave the page alone for ten seconds.
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
# runs.

# %%
# scripts/01_flask_stream/closing_a_generator.py::updates

# %% [markdown]
# **Predict:** three listeners. Which of them are cleaned up: the one that stays to the end, the one
# that leaves in the middle, the one that never asks for anything?

# %%
for text in updates("stays to the end"):
    print(text, end="")

left = updates("leaves in the middle")
next(left)
left.close()

never_started = updates("never starts")
never_started.close()

# %% [markdown]
# A HEAD request makes your view build a generator that is never started. So acquire and release
# in the same place: whatever the `finally` releases, the generator itself acquires, right
# before its `try`.

# %% todo 3

# %%
check("01", todo=3)

# %% todo 4

# %%
check("01", todo=4)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("01")

# %% [markdown]
# Try your server by hand, too. **Predict:** what are the counts while a client listens, and right
# after it has left?

# %%
mine = start("work/01_flask_stream/exercise.py")
with listen(mine.url + "/mcp-sse?interval=0.2") as listener:
    listener.show(1, seconds=3)
    show_stream(mine.url + "/listeners")
show_stream(mine.url + "/listeners")

# %% [markdown]
# The last line may still say 1, even if your server is right: it notices that a listener has left
# only when it sends the next event, here after 0.2 seconds. Ask again. (**Change** the interval to
# `2`, run both cells again, and see how long it takes.)

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
