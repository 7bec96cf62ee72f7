"""Runs a learner's agent, and says first how long its server may take for an answer.

    python driver.py FILE URL --without TOOL

The first line of standard output is a JSON object: `{"seconds": 30.0}`, or
`{"seconds": null}` if there is no server that could be asked. All others are the program's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from workshop.learners_file import load

NEEDED = ("servers", "answer", "Filter", "what_failed", "needs_a_person", "final", "main")


def seconds_of(module: Any) -> float | None:
    """The time limit that the learner's server has for a call."""
    made: Any = module.servers("http://127.0.0.1:9/sse", [])
    return getattr(made[0], "client_session_timeout_seconds", None) if made else None


def main() -> None:
    path = Path(sys.argv.pop(1))
    module: Any = load(path, *NEEDED)
    print(json.dumps({"seconds": seconds_of(module)}), flush=True)
    asyncio.run(module.main())


if __name__ == "__main__":
    main()
