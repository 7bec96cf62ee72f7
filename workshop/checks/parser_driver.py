"""Feeds a learner's parser in a process of its own, where it may hang, print or crash.

Started with the path of the file. Each line on standard input is a JSON list of runs,
and a run is a list of chunks in hexadecimal: a new parser is fed with them. Each line on
standard output answers one of those, with one object for each run:

    {"steps": [[[type, data, last_event_id], …], …], "last_event_id": …,
     "reconnection_time": …, "printed": …}     one step for each chunk
    {"error": "…", "printed": …}               the end of the traceback
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: Path) -> ModuleType:
    # Bytecode on disk is told from a newer file by the second and the size: two saves
    # within one second could look alike.
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("learners_file", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["learners_file"] = module  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


def fields(event: Any) -> list[str]:
    """The event as a list. Raises TypeError when it is none."""
    found: list[Any] = [
        getattr(event, name, None) for name in ("type", "data", "last_event_id")
    ]
    if not all(isinstance(field, str) for field in found):
        raise TypeError(
            f"feed returned {event!r} in its list: an Event has `type`, `data` and "
            "`last_event_id`, each of them a str"
        )
    return found


def run(module: ModuleType, chunks: list[bytes]) -> dict[str, Any]:
    parser = module.EventStreamParser()
    steps = []
    for chunk in chunks:
        events = parser.feed(chunk)
        if not isinstance(events, list):
            raise TypeError(f"feed returned {events!r}, and not a list")
        steps.append([fields(event) for event in events])
    return {
        "steps": steps,
        "last_event_id": parser.last_event_id,
        "reconnection_time": parser.reconnection_time,
    }


def main() -> None:
    # What the learner's code prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module = load(Path(sys.argv[1]))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        found = []
        for chunks in json.loads(line):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                try:
                    one = run(module, [bytes.fromhex(chunk) for chunk in chunks])
                    json.dumps(one)  # an attribute may be anything
                except BaseException as error:  # sys.exit() too
                    # Without the lines of this file: the learner's own remain.
                    trace = error.__traceback__
                    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                        trace = trace.tb_next
                    lines = traceback.format_exception(type(error), error, trace)
                    # More than two frames would hide the last line, which says most.
                    text = "".join(lines[-3:])
                    one = {"error": text.replace(sys.argv[1], Path(sys.argv[1]).name)}
            found.append(one | {"printed": printed.getvalue()[:200]})
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
