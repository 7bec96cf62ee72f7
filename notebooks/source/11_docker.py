# %% [markdown]
# # Lesson 11: In a container, behind nginx, in the cloud
#
# The lesson hands-on: you use a server that runs commands, see what a model could be talked into,
# fix a Dockerfile, a run command, a compose file and an nginx configuration, and see what a cloud
# platform does to a stream. 125 minutes. The text with all the reasons is
# [lessons/11_docker.md](../lessons/11_docker.md).
#
# It is about servers of HTTP+SSE, the transport of MCP's revision 2024-11-05. Streamable HTTP replaced
# it in 2025, and it is deprecated. Both use event streams, so all of this applies to both.
#
# The notebook needs no container engine. It does not build and run the image: the text shows that.
# Without nginx, one cell has no table.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
from mcp import Client
from mcp.client.sse import sse_client

from workshop.notebook import (
    begin_at,
    check,
    note,
    run,
    show_stream,
    start,
    start_exercise,
)
from workshop.tools import docker_answers, find

print("A container engine answers:", docker_answers())
nginx = find("nginx")
print("nginx is installed:", nginx is not None)

# %% [markdown]
# ## A server that runs commands
#
# Its tools run commands, and read and write files in one folder, the workspace. A command is a list of
# words that no shell interprets. **Predict:** what do these three calls answer?

# %%
server = start("scripts/11_docker/terminal_server.py")


async def call(tool: str, **arguments: object) -> None:
    async with Client(sse_client(server.url + "/sse"), mode="legacy") as client:
        result = await client.call_tool(tool, arguments)
        note(f"{tool} says {result.content[0].text}")


await call("run_command", command=["echo", "one; echo two"])
await call("read_file", path="../README.md")
await call("run_command", command=["head", "-3", "../README.md"])

# %% [markdown]
# The file tool held up. The command did not, because `head` runs as you, and reads what you may read.
# **Change** the last path to another file of yours, and run the cell again.
#
# This program tries more of what a model could be talked into. **Predict:** which line is the worst?

# %%
run("scripts/11_docker/what_it_can_do.py", server.url + "/sse")

# %% [markdown]
# In a container with limits, the same program prints a different table: see "Limits" in the text. If
# an engine answers on your machine, build the image as the text says, and run the program against it.

# %%
server.stop()

# %% [markdown]
# ## Four files with faults
#
# This copies the exercise to `work/11_docker/exercise.py`. Its functions return the texts of four files,
# and each has something in it that many tutorials get wrong.

# %%
start_exercise("11")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is in. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 11` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 5, with those before it done. Remove the `#`:

# %%
# begin_at("11", todo=5)

# %% [markdown]
# ## A user for the server
#
# Without `USER`, everything in a container runs as root.

# %% todo 1

# %%
check("11", todo=1)

# %% [markdown]
# ## How it starts, and how it stops
#
# Inside, 127.0.0.1 is the container itself. And `docker stop` sends its signal to the first process.
# The last line of the Dockerfile decides both.

# %% todo 2

# %%
check("11", todo=2)

# %% [markdown]
# ## The command that runs it
#
# `-p 8081:8081` is short for `0.0.0.0:8081:8081`. A single path after `-v` is a path inside.

# %% todo 3

# %%
check("11", todo=3)

# %% [markdown]
# ## Limits
#
# Nothing limits what a container uses unless you say so.

# %% todo 4

# %%
check("11", todo=4)

# %% [markdown]
# ## nginx in front
#
# A proxy is made for pages: it buffers an answer, and passes it on in large pieces. This lab starts
# nginx with wrong files and compares each with the right one. `buffering.conf` has nginx's defaults.
# **Predict:** of ten events, how many arrive while the stream is open: over plain HTTP, and over TLS?

# %%
if nginx:
    run("scripts/11_docker/nginx/proxy_lab.py", "buffering", "http_10")
else:
    print("Left out: nginx is missing. `uv run workshop doctor` says how to install it.")

# %% [markdown]
# **Change** the names to others in `scripts/11_docker/nginx/wrong/`, such as `gzip` or `host`, and run
# the cell again.

# %% todo 5

# %%
check("11", todo=5)

# %% [markdown]
# nginx also cuts a stream if the server is silent for longer than `proxy_read_timeout`.

# %% todo 6

# %%
check("11", todo=6)

# %% [markdown]
# And nginx has to tell the server which name the client asked for.

# %% todo 7

# %%
check("11", todo=7)

# %% [markdown]
# ## The cloud, in a box
#
# `cloud_box.py` is a proxy with a platform's published limits and a faster clock: 100 times, here.
# Behind it is a stream with an event every 0.3 seconds, which is every half minute for the platform.
# **Predict:** which of these two cuts it?

# %%
PLATFORMS = ["alb", "vercel"]

plain = start("scripts/11_docker/nginx/plain_stream.py", "--interval", "0.3", "--events", "12")


def show_in_the_box_of(platform: str, target: str) -> None:
    proxy = "scripts/11_docker/cloud/cloud_box.py"
    box = start(proxy, "--profile", platform, "--speed", "100", "--target", target)
    show_stream(box.url + "/sse")
    box.stop()
    cuts = [line for line in box.output.splitlines() if "cut after" in line]
    note(cuts[0] if cuts else "Nothing was cut.")


for platform in PLATFORMS:
    show_in_the_box_of(platform, plain.url)

# %% [markdown]
# **A heartbeat beats a limit on silence**, which is 60 seconds for AWS. It does nothing against a limit
# on duration: 300 seconds for Vercel. **Change** the platforms to `"heroku", "cloudrun"`, and run the
# cell again. The profiles are in `scripts/11_docker/cloud/profiles.json`.
#
# Now a stream that is silent for 100 seconds. **Predict:** does AWS cut it?

# %%
quiet = start("scripts/11_docker/nginx/plain_stream.py", "--interval", "1", "--events", "3")
show_in_the_box_of("alb", quiet.url)

# %% [markdown]
# Only reconnecting beats a limit on duration. Lesson 03's client reconnects with the last event id, and
# loses nothing. In a terminal, `uv run scripts/11_docker/cloud/cloud_lab.py` tries all platforms.
#
# ## All of it
#
# The checks of all TODOs together:

# %%
check("11")

# %% [markdown]
# When all checks pass, compare yours with the real files:
#
# <details><summary>How ours does it</summary>
#
# ```dockerfile scripts/11_docker/Dockerfile
# ```
#
# ```yaml scripts/11_docker/compose.yaml
# ```
#
# ```nginx scripts/11_docker/nginx/nginx.conf
# ```
#
# </details>
