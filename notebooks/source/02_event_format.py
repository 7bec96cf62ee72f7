# %% [markdown]
# # Lesson 02: The event stream format
#
# The lesson, hands-on: you look at streams as bytes, see how the obvious parser and the obvious
# encoder break, and write a parser that reads what a browser reads. It takes 90 minutes. The full
# text, with all the reasons, is [lessons/02_event_format.md](../lessons/02_event_format.md).
#
# The format is defined in the HTML standard, section 9.2. It is the same in every revision of MCP
# that streams over HTTP.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
import http.client
import sys
import time

from workshop.course import ROOT
from workshop.notebook import begin_at, check, show_stream, start, start_exercise

sys.path.insert(0, str(ROOT / "scripts/02_event_format"))
from event_stream import EventStreamParser, encode_event

# %% [markdown]
# ## Bytes in, events out
#
# A parser takes bytes and returns the events that they complete.

# %%
EventStreamParser().feed(b"data: hello\n\n")

# %% [markdown]
# The bytes may come from anywhere. Start lesson 01's server, and look at what it sends:

# %%
server = start("scripts/01_flask_stream/flask_server.py", "--interval", "0.5")
show_stream(server.url + "/mcp-sse")

# %% [markdown]
# Now the same stream goes through the parser. Each line is printed as soon as its event arrives.

# %%
connection = http.client.HTTPConnection("127.0.0.1", server.port)
connection.request("GET", "/mcp-sse")
response = connection.getresponse()
parser = EventStreamParser()
began = time.monotonic()
while chunk := response.read1(65_536):
    for event in parser.feed(chunk):
        print(f"{time.monotonic() - began:8.3f} s | {event}", flush=True)
connection.close()

# %% [markdown]
# ## The parser that everybody writes first


# %%
def starts_with(stream: bytes) -> list[str]:
    lines = stream.decode().splitlines()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


starts_with(b"data: hello\n\n")

# %% [markdown]
# Here are three other events, all of them correct. **Predict:** how many does it find, and how many
# do we?

# %%
stream = b"data:no space\n\nevent: add\ndata: two\ndata: lines\n\ndata\n\n"
print("starts_with:", starts_with(stream))
for event in EventStreamParser().feed(stream):
    print("parser:     ", event)

# %% [markdown]
# **Change** the stream: put a space behind `data:`, or a line `: comment` between two others, and run
# the cell again.
#
# ## Your parser
#
# This copies the exercise to `work/02_event_format/exercise.py`: this parser, divided
# into the steps that a correct one needs. Six of them are wrong or missing.

# %%
start_exercise("02")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 02` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 4, with TODOs 1 to 3 done. Remove the `#`:

# %%
# begin_at("02", todo=4)

# %% [markdown]
# ## Events end with a blank line
#
# A line is a field: a name, a colon, and a value. One space after the colon is optional and not
# part of the value. A blank line makes an event out of the fields before it:
#
# 1. The last event id takes the value of the last `id` line.
# 2. If there was no data line, there is no event. An *empty* data line is a data line.
# 3. Otherwise there is an event, with one LF between the values of two data lines. Without an
#    `event` line, its type is `message`.
# 4. In either case, the data and the type are forgotten.
#
# **Predict:** what are the events in this stream?

# %%
for event in EventStreamParser().feed(b"event: add\n\ndata\n\ndata: a\ndata:\n\n"):
    print(event)

# %% todo 1

# %%
check("02", todo=1)

# %% todo 2

# %%
check("02", todo=2)

# %% [markdown]
# ## Ids
#
# An id takes effect at its blank line, and lasts until another one replaces it. **Predict:** what
# is the last event id here?

# %%
parser = EventStreamParser()
for event in parser.feed(b"id: 7\ndata: a\n\ndata: b\n\nid: 8\n\nid: 9\ndata: c\n"):
    print(event)
print("last event id:", parser.last_event_id)

# %% [markdown]
# `id: 8` has no data, so there is no event, but the id counts. `id: 9` does not: its event was
# never complete, and a client that said "I have 9" would never get it. **Change** the stream: add
# the blank line that is missing at its end, or an empty `id:`.

# %% todo 3

# %%
check("02", todo=3)

# %% [markdown]
# ## Three line ends
#
# LF, CR and CRLF end a line, and nothing else does. `splitlines()` disagrees:

# %%
"data: a\u2028b".splitlines()

# %% [markdown]
# **Predict:** a CRLF is cut in two: the CR comes in one chunk, the LF in the next. How many blank
# lines is that? A CR at the end of a chunk ends its line at once. If the next chunk begins with an LF, that LF
# belongs to the CR. It is not a blank line:

# %%
parser = EventStreamParser()
for chunk in (b"data: a\r\n\r", b"\ndata: b\n\n"):
    print(f"{chunk!r:20} completes {parser.feed(chunk)}")

# %% todo 4

# %%
check("02", todo=4)

# %% [markdown]
# ## Chunks end anywhere
#
# They end in the middle of a line, or of a character. Here the same stream is fed byte by byte. The
# middle line shows what happens when each chunk is decoded by itself.

# %%
stream = "data: naïve\n\n".encode()
single = [stream[i : i + 1] for i in range(len(stream))]
print(stream)
print(ascii("".join(byte.decode("utf-8", "replace") for byte in single)))
parser = EventStreamParser()
print([event for byte in single for event in parser.feed(byte)])

# %% todo 5

# %%
check("02", todo=5)

# %% todo 6

# %%
check("02", todo=6)

# %% [markdown]
# ## All of it
#
# The checks of all TODOs together:

# %%
check("02")

# %% [markdown]
# When your parser misreads a stream, you see how it was fed, and a caret under the byte that it
# misread.
#
# ## Injection
#
# Ada chooses her own name. This server puts it into the stream unchanged. **Predict:** how many
# events does a client read?


# %%
def greeting(name: str) -> bytes:
    return f"event: joined\ndata: {name} is here\n\n".encode()


name = "Ada\n\nevent: admin\ndata: delete everything;"
for event in EventStreamParser().feed(greeting(name)):
    print(event)

# %% [markdown]
# Two events, and Ada wrote one of them. **Change** her name, with `\r` for each `\n`: it works just
# as well. The encoder splits data at all three line ends. A type or
# an id can't be split, so there it refuses line ends:

# %%
print(encode_event(f"{name} is here", event="joined").decode())
try:
    encode_event("hello", event="joined\ndata: more")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## What to remember
#
# - A blank line makes the event. No data line, no event; an empty data line is data.
# - An `id` line takes effect at its blank line, and lasts until another one replaces it.
# - CR, LF and CRLF end a line.
# - A chunk may end anywhere: in a line, in a CRLF, in a character. Keep what is unfinished.
# - Text from other people goes through an encoder that knows all three line ends.

# %%
server.stop()
