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
# Run the cells from top to bottom with Shift-Enter.

# %%
import http.client
import sys
import time

from workshop.course import ROOT
from workshop.notebook import check, show_stream, start

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
# Here are three other events, all of them correct. How many does it find, and how many do we?

# %%
stream = b"data:no space\n\nevent: add\ndata: two\ndata: lines\n\ndata\n\n"
print("starts_with:", starts_with(stream))
for event in EventStreamParser().feed(stream):
    print("parser:     ", event)

# %% [markdown]
# A line is a field: a name, a colon, and a value. One space after the colon is optional and not
# part of the value. A blank line makes an event out of the fields before it:
#
# 1. The last event id takes the value of the last `id` line.
# 2. If there was no data line, there is no event. An *empty* data line is a data line.
# 3. Otherwise there is an event, with one LF between the values of two data lines. Without an
#    `event` line, its type is `message`.
# 4. In either case, the data and the type are forgotten.
#
# What are the events in this stream? Say it before you run the cell.

# %%
for event in EventStreamParser().feed(b"event: add\n\ndata\n\ndata: a\ndata:\n\n"):
    print(event)

# %% [markdown]
# ## Ids
#
# An id takes effect at its blank line, and lasts until another one replaces it. What is the last
# event id here? Say it before you run the cell.

# %%
parser = EventStreamParser()
for event in parser.feed(b"id: 7\ndata: a\n\ndata: b\n\nid: 8\n\nid: 9\ndata: c\n"):
    print(event)
print("last event id:", parser.last_event_id)

# %% [markdown]
# `id: 8` has no data, so there is no event, but the id counts. `id: 9` does not: its event was
# never complete, and a client that said "I have 9" would never get it.

# %% [markdown]
# ## Three line ends
#
# LF, CR and CRLF end a line, and nothing else does. `splitlines()` disagrees:

# %%
"data: a\u2028b".splitlines()

# %% [markdown]
# A CR at the end of a chunk ends its line at once. If the next chunk begins with an LF, that LF
# belongs to the CR. It is not a blank line:

# %%
parser = EventStreamParser()
for chunk in (b"data: a\r\n\r", b"\ndata: b\n\n"):
    print(f"{chunk!r:20} completes {parser.feed(chunk)}")

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

# %% [markdown]
# ## Injection
#
# Ada chooses her own name. This server puts it into the stream unchanged:


# %%
def greeting(name: str) -> bytes:
    return f"event: joined\ndata: {name} is here\n\n".encode()


name = "Ada\n\nevent: admin\ndata: delete everything;"
for event in EventStreamParser().feed(greeting(name)):
    print(event)

# %% [markdown]
# Two events, and Ada wrote one of them. The encoder splits data at all three line ends. A type or
# an id can't be split, so there it refuses line ends:

# %%
print(encode_event(f"{name} is here", event="joined").decode())
try:
    encode_event("hello", event="joined\ndata: more")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## The exercise
#
# This is the starter: the broken parser from above, divided into the steps that a correct one
# needs. Six steps are wrong or missing, each marked with a `TODO`. Change the cell and run it: it is
# written to your file, and `check` runs your parser in a separate process. In a terminal,
# `uv run workshop hint 02` gives a hint, and one more each time you ask.

# %% exercise

# %%
check("02")

# %% [markdown]
# When your parser misreads a stream, you see how it was fed, and a caret under the byte that it
# misread.
#
# ## What to remember
#
# - A blank line makes the event. No data line, no event; an empty data line is data.
# - An `id` line takes effect at its blank line, and lasts until another one replaces it.
# - CR, LF and CRLF end a line.
# - A chunk may end anywhere: in a line, in a CRLF, in a character. Keep what is unfinished.
# - Text from other people goes through an encoder that knows all three line ends.

# %%
print(f"The server exited after {server.stop():.1f} s.")
