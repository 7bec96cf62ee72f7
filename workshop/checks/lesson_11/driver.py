"""Calls a learner's functions in a separate process, where they may hang, print or crash.

Started with the path of the file and the names of the functions. Each line on standard output
is about one of them, in order, after a line `"ready"`:

    {"text": "…"}           what it returned
    {"returned": "None"}    what it returned is not a string
    {"raised": "…"}         the end of the traceback
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from workshop.learners_file import load, raised


def main() -> None:
    # What the learner's code prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    path, names = Path(sys.argv[1]), sys.argv[2:]
    module = load(path, *names)
    print(json.dumps("ready"), file=answers, flush=True)
    for name in names:
        try:
            text = getattr(module, name)()
            found = {"text": text} if isinstance(text, str) else {"returned": repr(text)[:200]}
        except BaseException as error:  # sys.exit() too
            found = {"raised": "".join(raised(error, path)[-3:])}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
