"""Feeds a learner's parser in a separate process, where it may hang, print or crash.

Started with the path of the file. Each line on standard input is a JSON list of runs,
and a run is a list of chunks in hexadecimal: a new parser is fed with them. In place of
its chunks, a run may have the word "steps". Each line on standard output answers one of
those, with one object for each run:

    {"steps": [[[type, data, last_event_id], …], …], "last_event_id": …,
     "reconnection_time": …, "printed": …}     one step for each chunk
    {"error": "…", "printed": …}               the end of the traceback
    {"todo": …, "call": …, "wanted": …, "got": …, "printed": …}
                                               the step of `feed` that fails; or none of these
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
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


def failing_step(module: ModuleType, path: Path) -> dict[str, Any]:
    """The first step of `feed` that does not do its part with a simple event.

    Empty if all of them do, and for a parser that has other steps than ours.
    """
    parser = module.EventStreamParser()
    text, line = "data: hello\n\n", "data: hello"
    events: list[Any] = []

    def process_line() -> Any:
        parser._process_line(line)
        return f"_data is {parser._data!r}"

    def dispatch() -> Any:
        parser._dispatch(events)
        return f"{len(events)} in the list"

    steps: list[tuple[int, str, str, Any]] = [
        (6, f"_decode({text.encode()!r})", repr(text), lambda: parser._decode(text.encode())),
        (4, f"_with_lf_only({text!r})", repr(text), lambda: parser._with_lf_only(text)),
        (5, f"_take_lines({text!r})", repr([line, ""]), lambda: parser._take_lines(text)),
        (2, f"_process_line({line!r})", "_data is ['hello']", process_line),
        (1, "_dispatch([])", "1 in the list", dispatch),
    ]
    names = [call.partition("(")[0] for _, call, _, _ in steps]
    if not all(callable(getattr(parser, name, None)) for name in names):
        return {}
    for todo, call, wanted, step in steps:
        raised_in = None
        try:
            found = step()
            got = found if isinstance(found, str) and todo < 4 else repr(found)
        except BaseException as error:
            got = f"{type(error).__name__}: {error}"
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame.lineno for frame in frames if frame.filename == str(path)]
            raised_in = own[-1] if own else None
        # Where a parser keeps its data is its own business, as long as it keeps some.
        kept = todo == 2 and raised_in is None and got not in ("_data is []", "_data is ''")
        if got != wanted and not kept:
            return {"todo": todo, "call": call, "wanted": wanted, "got": got, "line": raised_in}
    return {}


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
                    if chunks == "steps":
                        one = failing_step(module, path)
                    else:
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
