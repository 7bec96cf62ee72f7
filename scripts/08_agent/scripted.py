"""A model that makes one call and is done, and what it was told."""

import json
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call


def one_call(name: str, /, **arguments: Any) -> ScriptedModel:
    """A model that calls this tool, takes whatever comes back, and says "Done."."""
    call = function_call(name, json.dumps(arguments), call_id="call_1")
    return ScriptedModel([[call], [assistant_message("Done.")]])


def told(model: ScriptedModel) -> str:
    """The result of the model's newest call, as the model got it."""
    given: Any = model.calls[-1].input
    results = [item["output"] for item in given if item.get("type") == "function_call_output"]
    return results[-1] if isinstance(results[-1], str) else results[-1][0]["text"]
