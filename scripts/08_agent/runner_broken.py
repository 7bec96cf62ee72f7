"""Broken: `Runner(agent).run(…)` and `result.content`, as older tutorials write it.

    uv run scripts/08_agent/runner_broken.py

`first_agent.py` has what works: `await Runner.run(agent, "…")`, and `final_output`.
"""

import asyncio
from typing import Any

from agents import Agent, Runner, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message


async def main() -> None:
    set_tracing_disabled(True)
    agent = Agent(name="broken", model=ScriptedModel([[assistant_message("29")]]))
    runner: Any = Runner
    try:
        await runner(agent).run("Add 7 and 22.")
    except TypeError as error:
        print(f"Runner(agent): TypeError: {error}")
    result: Any = await Runner.run(agent, "Add 7 and 22.")
    try:
        print(result.content)
    except AttributeError as error:
        print(f"result.content: AttributeError: {error}")


asyncio.run(main())
