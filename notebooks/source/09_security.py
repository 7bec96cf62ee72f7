# %% [markdown]
# # Lesson 09: Break it, then secure it
#
# <!-- REPLACE: this notebook. CONTRIBUTING.md, "The notebook", explains its cells. -->
#
# The lesson, hands-on: you see events arrive one by one, and write the server that sends them.
# 20 minutes. The text with all the reasons is
# [lessons/09_security.md](../lessons/09_security.md).

# %%
from workshop.notebook import begin_at, check, show_stream, start, start_exercise

# %% [markdown]
# ## What an event is
#
# **Predict:** the server makes three events, 0.25 seconds apart. When does the first arrive?

# %%
program = "scripts/09_security/hello_server.py"
server = start(program, "--interval", "0.25")
show_stream(server.url + "/sse")

# %% [markdown]
# At once. **Change** the interval and run the cell again.
#
# **Predict:** this client hangs up after two events. What does it show of the third?

# %%
show_stream(server.url + "/sse", events=2)

# %% [markdown]
# Nothing. **Change** how many events it waits for.
#
# ```python scripts/09_security/hello_server.py::event
# ```
#
# Now write it yourself. This makes your copy of the exercise, `work/09_security/exercise.py`:

# %%
server.stop()
start_exercise("09")

# %% [markdown]
# *Coming late?* This starts you at TODO 2. Remove the `#`:

# %%
# begin_at("09", todo=2)

# %% todo 1

# %%
check("09", todo=1)

# %% [markdown]
# ## One late lump
#
# A server that collects its events sends them all together.

# %% todo 2

# %%
check("09", todo=2)

# %% [markdown]
# ## All of it

# %%
check("09")

# %% [markdown]
# **Predict:** when does each event of your own server arrive? (As long as something is missing
# in it, this cell shows what.)

# %%
mine = start("work/09_security/exercise.py")
show_stream(mine.url + "/sse?interval=0.2")
mine.stop()

# %% [markdown]
# **Change** the interval in the URL, and run the cell again.
