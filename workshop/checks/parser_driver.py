"""Feeds a learner's parser in a separate process, where it may hang, print or crash.

Started with the path of the file. Each line on standard input is a JSON list of runs,
and a run is a list of chunks in hexadecimal: a new parser is fed with them. Each line on
standard output answers one of those, with one object for each run:

    {"steps": [[[type, data, last_event_id], …], …], "last_event_id": …,
     "reconnection_time": …, "printed": …}     one step for each chunk
    {"error": "…", "printed": …}               the end of the traceback
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from workshop.learners_file import load, raised


def fields(event: Any) -> list[str]:
    """The event as a list. Raises TypeError when it is not one."""
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
    path = Path(sys.argv[1])
    module = load(path, "EventStreamParser", "EventStreamParser.feed")
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
                    # More than two frames would hide the last line, which says most.
                    text = "".join(raised(error, path)[-3:])
                    one = {"error": text.replace(sys.argv[1], path.name)}
            found.append(one | {"printed": printed.getvalue()[:200]})
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
