# %% [markdown]
# # Lesson NN: TITLE
#
# <!-- REPLACE: this notebook. CONTRIBUTING.md, "The notebook", explains its cells. -->
#
# The lesson, hands-on. 20 minutes. The text with all the reasons is
# [lessons/NN_slug.md](../lessons/NN_slug.md).

# %%
from workshop.notebook import check, show_stream, start

# %%
server = start("scripts/NN_slug/hello_server.py")
show_stream(server.url + "/sse")

# %% [markdown]
# ```python scripts/NN_slug/hello_server.py::event
# ```
#
# ## The exercise
#
# Change the cell and run it: it is written to your file, and `check` runs the lesson's checks
# on it.

# %% exercise

# %%
check("NN")

# %%
server.stop()
