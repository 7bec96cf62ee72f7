# %% [markdown]
# # Lesson 08: An agent that uses the tools
#
# The lesson hands-on: an agent calls the tools of a server, you see one of its turns message by
# message, see what goes wrong with filters, failing calls and restarts, and write an agent of your
# own. 105 minutes. The text with all the reasons is
# [lessons/08_agent.md](../lessons/08_agent.md).
#
# It teaches `openai-agents` and its client for HTTP+SSE, the transport of MCP's revision
# 2024-11-05, which is deprecated. No key is needed: without one, a stand-in takes the model's place.
#
# Run the cells from top to bottom with Shift-Enter. Before a surprise there is a question: answer
# it, then run the next cell.

# %%
import sys

from agents import Agent, Runner, SQLiteSession
from agents.mcp import MCPServerManager, MCPServerSse
from IPython.display import Markdown
from mcp_types import Tool

from workshop.notebook import begin_at, check, start, start_exercise

sys.path.insert(0, "../scripts/08_agent")
from calls import ShowCalls
from capture import Capture, client_factory
from model import choose_model
from model_stream import show
from scripted import one_call, told
from trace_turn import ModelSide

# %% [markdown]
# ## The first agent
#
# A server with three tools, and an agent that may use them:

# %%
server = start("scripts/08_agent/server.py")
model, name = choose_model()
print(f"Model: {name}")
memory = SQLiteSession("notebook")  # what was said, in a database that ends with the kernel


async def ask(request: str) -> None:
    async with MCPServerSse({"url": server.url + "/sse"}) as tools:
        agent = Agent(
            name="assistant",
            instructions="Use the tools to answer, in one short sentence.",
            mcp_servers=[tools],
            model=model,
        )
        result = await Runner.run(agent, request, session=memory, hooks=ShowCalls())
        print(result.final_output)


await ask("Add these numbers: 7 and 22.")

# %% [markdown]
# **Predict:** which tool does it call for this one, and what does it say?

# %%
await ask("What's the weather in Atlantis?")

# %% [markdown]
# The tool raised, and the model was told why. **Change** the city to one of those in the table, or
# ask for the secret word, or for something that no tool can do, and run the cell again: it is a
# conversation. This is what the model is given with the next request:

# %%
for item in await memory.get_items():
    print(
        item.get("role") or item["type"],
        "|",
        item.get("content") or item.get("output") or item["name"],
    )

# %% [markdown]
# ## One turn
#
# **Predict:** for one sum, how many messages go from the client to the server?

# %%
capture = Capture()
settings = {"url": server.url + "/sse", "httpx_client_factory": client_factory(capture)}
async with MCPServerSse(settings) as tools:
    agent = Agent(name="traced", mcp_servers=[tools], model=model)
    request = "Add 7 and 22."
    capture.add("you", "agent", request)
    result = await Runner.run(agent, request, hooks=ModelSide(capture))
    capture.add("agent", "you", str(result.final_output).splitlines()[-1])
print(capture.as_transcript())

# %% [markdown]
# The same as a picture. Who asks whom, and who can only be asked?

# %%
Markdown(f"```mermaid\n{capture.as_mermaid()}\n```")

# %% [markdown]
# The tools are listed before each question to the model. **Change** the cell above: with
# `cache_tools_list=True` after `settings`, how many messages are left?
#
# ## Two event streams
#
# The words of a model come as an event stream, too. This server has the interface of Ollama, and the
# stand-in behind it. **Predict:** how does the end of the answer look on the wire?

# %%
words = start("scripts/08_agent/model_server.py")
await show(words.url + "/v1", "Who are you?")

# %% [markdown]
# `[DONE]` is a convention of this interface, and no JSON.
#
# ## Your agent
#
# Now get your own copy. It reads requests from the terminal, and has gaps marked `TODO`.

# %%
start_exercise("08")

# %% [markdown]
# Each TODO has a cell below, which shows the function that it is about. **Change the cell and run
# it**: that part of your file, `work/08_agent/exercise.py`, becomes what the cell says. The cell
# after it checks that TODO alone. Stuck? In a terminal, `uv run workshop hint 08` gives a hint.
#
# *Coming late?* This starts you at TODO 3, with TODOs 1 and 2 done. Remove the `#`:

# %%
# begin_at("08", todo=3)

# %% todo 1

# %%
check("08", todo=1)

# %% todo 2

# %%
check("08", todo=2)

# %% [markdown]
# ## Which tools
#
# A filter gets each tool, and returns whether the agent may see it. `one_call` makes a model that
# follows a script, so that we see exactly what it was given.
#
# **Predict:** which tools does the model see with this filter?


# %%
def harmless(context: object, tool: Tool) -> bool:
    return not tool.annotations.destructive_hint


async def seen(tool_filter: object) -> list[str]:
    scripted = one_call("add", a=7, b=22)
    async with MCPServerSse({"url": server.url + "/sse"}, tool_filter=tool_filter) as tools:
        try:
            await Runner.run(Agent(name="x", mcp_servers=[tools], model=scripted), "Add.")
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    return [tool.name for tool in scripted.calls[0].tools]


await seen(harmless)

# %% [markdown]
# None: these tools have no annotations, the filter raised, and a tool for which it raises is hidden.
# **Change** `harmless` so that it looks first whether there are any annotations, and run it again.

# %% todo 3

# %%
check("08", todo=3)

# %% [markdown]
# ## When a call fails
#
# This server's tool takes a second. **Predict:** what is the model told, if the agent waits half a
# second?

# %%
slow = start("scripts/08_agent/slow_server.py")


async def count(seconds: float) -> str:
    scripted = one_call("count_stars", seconds=1)
    async with MCPServerSse(
        {"url": slow.url + "/sse"}, client_session_timeout_seconds=seconds
    ) as tools:
        await Runner.run(Agent(name="x", mcp_servers=[tools], model=scripted), "Count.")
    return told(scripted)


await count(0.5)

# %% [markdown]
# Nothing about the reason, and bad advice. **Change** the half second to two, and run it again.

# %% todo 4

# %%
check("08", todo=4)

# %% [markdown]
# ## A person decides
#
# A run stops before a call that needs a person, and returns. The call waits in its
# `interruptions`:

# %%
async with MCPServerSse({"url": server.url + "/sse"}, require_approval="always") as tools:
    agent = Agent(name="careful", mcp_servers=[tools], model=one_call("add", a=7, b=22))
    result = await Runner.run(agent, "Add 7 and 22.")
    print("Final output:", result.final_output)
    state = result.to_state()
    for call in result.interruptions:
        print("Waits:", call.name, call.arguments)
        state.approve(call)
    result = await Runner.run(agent, state)
    print("Final output:", result.final_output, "It was told:", told(agent.model))

# %% [markdown]
# **Change** `approve` to `reject`. What is the model told?

# %% todo 5

# %%
check("08", todo=5)

# %% [markdown]
# ## A server that dies
#
# **Predict:** the server is started again on its old port. Does the same connection work?

# %%
async with MCPServerManager([MCPServerSse({"url": server.url + "/sse"})]) as manager:
    agent = Agent(name="flexible", mcp_servers=manager.active_servers)

    async def add() -> None:
        agent.model = one_call("add", a=7, b=22)
        try:
            await Runner.run(agent, "Add 7 and 22.")
            print("It was told:", told(agent.model))
        except Exception as error:
            print(f"{type(error).__name__}: {error}")

    await add()
    server = start("scripts/08_agent/server.py", port=server.port)  # stops the old one
    await add()
    await manager.reconnect(failed_only=False)
    agent.mcp_servers = manager.active_servers
    await add()

# %% todo 6

# %%
check("08", todo=6)

# %% [markdown]
# Now everything together:

# %%
check("08")
