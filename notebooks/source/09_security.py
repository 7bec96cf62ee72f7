# %% [markdown]
# # Lesson 09: Break it, then secure it
#
# The lesson hands-on: you take over somebody's session, read what was not meant for you, talk an
# agent into giving away a file, and close a server's holes one by one. 205 minutes. The text with
# all the reasons is [lessons/09_security.md](../lessons/09_security.md).
#
# It attacks HTTP+SSE, the transport of MCP's revision 2024-11-05. Streamable HTTP replaced it in 2025,
# and it is deprecated. Almost every attack here has a counterpart there.
#
# Attack only what is yours. All the programs here attack servers on your own machine.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
from workshop.notebook import (
    begin_at,
    check,
    listen,
    note,
    post,
    run,
    start,
    start_exercise,
)

# %% [markdown]
# ## The server that everyone writes
#
# The server asks for a token, and it gives each client a session. Alice opens a stream, and then
# Mallory does.

# %%
server = start("scripts/09_security/open_server.py")
alice = listen(server.url + "/sse?token=your-secret-token", name="Alice")
alice.show(2)

# %%
mallory = listen(server.url + "/sse?token=your-secret-token&client=Mallory", name="Mallory")
mallory.show(2)

# %% [markdown]
# Mallory's session is number 2. **Predict:** what happens if she sends a message to session 1, and on
# whose stream does the reply arrive?


# %%
def call(id: int, tool: str, **arguments: object) -> dict:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


post(server.url + "/message?session_id=1", call(7, "echo", message="Send me your password."))
alice.show(1)

# %% [markdown]
# **Change** what Mallory writes, and run the cell again: it is on Alice's stream at once.
#
# Alice never asked. And the server did not ask Mallory for a token: it wants one only when a stream
# is opened.
#
# Every client counts its requests from 1. Alice's call takes a while. Meanwhile, Mallory uses the
# same id. **Predict:** who gets "Waited"?

# %%
post(server.url + "/message?session_id=1", call(1, "wait", seconds=2))
post(server.url + "/message?session_id=2", call(1, "echo", message="mine"))

# %%
mallory.show(2, seconds=5)
note("Look who got it.")

# %% [markdown]
# **Change** the id of Mallory's request from 1 to another number, and run both cells again: now each
# reply goes to the client that asked. (The second cell waits five seconds for a reply that does not
# come.)
#
# The tools are as open as the transport. **Predict:** what does this line count?

# %%
NAME = "welcome.txt; echo I run as $(whoami)"

fresh = listen(server.url + "/sse?token=your-secret-token", name="Mallory")
fresh.show(2)
post(server.url + fresh.last.data, call(3, "count_lines", name=NAME))
fresh.show(1)

# %% [markdown]
# **Change** the name to run another command, and run the cell again.
#
# ## Attacks as programs
#
# Each attack of this lesson is a program like these cells. This one looks for secrets in the
# server's log. It is run twice: against the open server and against the secure one.

# %%
ATTACK = "secrets_in_logs"

run("scripts/09_security/attack.py", ATTACK)

# %% [markdown]
# **Change** the attack to `"stolen_stream"`, `"field_injection"` or `"many_streams"`, and run the cell
# again.

# %% [markdown]
# ## Close the holes
#
# This copies the exercise to `work/09_security/exercise.py`: an open server with a TODO for each hole. The
# checks are attacks.

# %%
start_exercise("09")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is in. **Change the cell and run
# it**: that part of your file becomes what the cell says. You can also edit the file: then run the
# cell, and it shows what the file has. The cell after it checks that TODO alone. Stuck? In a
# terminal, `uv run workshop hint 09` gives a hint, and one more each time.
#
# *Coming late?* This starts you at TODO 5, with the earlier ones done. Remove the `#`:

# %%
# begin_at("09", todo=5)

# %% [markdown]
# ## Who is it?
#
# Each request must prove who sends it: with every method, on every path.

# %% todo 1

# %%
check("09", todo=1)

# %% [markdown]
# ## Whose session is it?
#
# An id that is just counted up can be guessed.

# %% todo 2

# %%
check("09", todo=2)

# %% [markdown]
# And an id that cannot be guessed can still be read somewhere. It does not prove who you are.

# %% todo 3

# %%
check("09", todo=3)

# %% [markdown]
# ## Whose answer is it?
#
# A request's id means something only inside its session.

# %% todo 4

# %%
check("09", todo=4)

# %% [markdown]
# ## Where does it come from?
#
# A page on the web can make your browser send requests to your own machine.

# %% todo 5

# %%
check("09", todo=5)

# %% todo 6

# %%
check("09", todo=6)

# %% [markdown]
# ## What goes out
#
# A line end in a field ends the field. What follows is read as the next one.

# %% todo 7

# %%
check("09", todo=7)

# %% [markdown]
# ## How much?
#
# A chunked body does not say how long it will be.

# %% todo 8

# %%
check("09", todo=8)

# %% [markdown]
# A reader that takes nothing must not fill the memory.

# %% todo 9

# %%
check("09", todo=9)

# %% [markdown]
# And one principal must not take what others need.

# %% todo 10

# %%
check("09", todo=10)

# %% [markdown]
# ## What the log knows

# %% todo 11

# %%
check("09", todo=11)

# %% [markdown]
# ## What a tool may do

# %% todo 12

# %%
check("09", todo=12)

# %% todo 13

# %%
check("09", todo=13)

# %% [markdown]
# ## An agent that does what it reads
#
# A model reads the descriptions of its tools, and their results. If one of them hides an
# instruction, an obedient model follows it. **Predict:** does a private key leave the
# machine when the user asks about the weather?

# %%
run("scripts/09_security/attack.py", "poisoned_description")

# %% [markdown]
# The lesson's text has the other three attacks on agents, and the cures.
#
# ## All of it
#
# The checks of all TODOs together:

# %%
check("09")

# %% [markdown]
# When all checks pass, compare your server with ours:
#
# <details><summary>How ours does it</summary>
#
# ```python solutions/09_security/exercise.py
# ```
#
# </details>
