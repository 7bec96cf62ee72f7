"""What Python has to say about a learner's file: which line, and what is wrong with it.

`complaints_in` reads what a program printed: exceptions, and coroutines that were
never awaited. `line_it_ran` reads what a program prints when it is aborted: where it was.
What can be seen without running the file is found by `workshop/learners_file.py`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from workshop.exercise_parts import TODO_COMMENT


@dataclass(frozen=True, slots=True)
class Complaint:
    """One sentence about a file, and its line where one is to blame.

    `column` is the place in `code`, counted from 0, under which a caret is drawn.
    """

    path: Path
    said: str
    line: int | None = None
    code: str = ""
    column: int | None = None

    def __str__(self) -> str:
        """As Python prints a warning: `complaints_in` reads it again."""
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        rows = [f"{place}: {self.said}"]
        if self.code:
            rows.append(f"  {self.code}")
        if self.column is not None:
            rows.append(" " * (2 + self.column) + "^")
        return "\n".join(rows)

    def as_dict(self) -> dict[str, object]:
        """The complaint as JSON values, for `workshop check --json`."""
        return {
            "file": str(self.path),
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "said": self.said,
        }


# What `learners_file` says about a name that a driver can't find, and about an exit.
NEEDED = "The checks need "
ENDS = "The program ends here, before it has done anything."

_FRAME = re.compile(
    r'^[ |+]*File "(?P<path>[^"\n]+)", line (?P<line>\d+).*\n'
    r"(?P<lead>[ |]*)(?P<code>.*)(?:\n(?P<marks>[ |]*[~^]+)$)?",
    re.MULTILINE,
)
_ERROR = re.compile(r"^(?: *\| *)?([A-Za-z_][\w.]*(?::.*)?)$", re.MULTILINE)
_NOT_AWAITED = re.compile(r"RuntimeWarning: (coroutine '([^'\n]+)' was never awaited)$", re.M)
_NEEDED = re.compile(
    rf"^[^\n]*?\.py(?::(?P<line>\d+))?: (?P<said>{NEEDED}.*)$"
    r"(?:\n  (?P<code>\S.*)\n(?P<caret> *\^)$)?",
    re.MULTILINE,
)
# How the drivers of the checks, and the exercise of lesson 03, tell of what they caught.
_CAUGHT = re.compile(
    r"(?:\bcrashed(?:: |\": \")|\ba task raised )"
    r"(?P<said>[A-Za-z_].*?),? in line (?P<line>[1-9]\d*)"
)
_ABORTED = re.compile(r'^  File "([^"\n]+)", line (\d+) in (.*)$', re.MULTILINE)

_UNREADABLE = ("SyntaxError", "IndentationError", "TabError")

# How a program ends when it is stopped with streams open.
_NO_FAULT = (
    "asyncio.exceptions.CancelledError",
    "KeyboardInterrupt",
    "starlette.requests.ClientDisconnect",  # a check did not wait for the answer
    "ConnectionError: reports.internal:5432 ",  # lesson 10's tool that always fails
)

# An exception that led to another one: the last of such a chain says what is wrong.
_LED_TO_ANOTHER = re.compile(
    r"^[ |]*(The above exception was the direct cause|During handling of the above exception)",
    re.MULTILINE,
)

# What Python prints first when `workshop.running.abort` ends a program: then, where it was.
WAS_ABORTED = "Fatal Python error: Aborted"

# Below these a program does nothing but wait for the next thing to do.
_WAITING = {"selectors.py", "base_events.py", "socketserver.py", "threading.py"}


def complaints_in(printed: str, file: Path) -> list[Complaint]:
    """What Python printed about the learner's `file`: missing awaits first, then exceptions.

    An exception's line is the last one of the file that the traceback names: below it
    come only the libraries that it called.
    """
    found = [_not_awaited(file, *match) for match in _NOT_AWAITED.findall(printed)]
    for match in _NEEDED.finditer(printed):
        line = int(match["line"]) if match["line"] else None
        column = len(match["caret"]) - 3 if match["caret"] else None
        found.append(Complaint(file, match["said"], line, match["code"] or "", column))
    found += _exceptions_in(printed, file)
    for match in _CAUGHT.finditer(printed):
        line = int(match["line"])
        found.append(Complaint(file, match["said"], line, code_at(file, line)))
    return list(dict.fromkeys(found))


def _not_awaited(file: Path, said: str, name: str) -> Complaint:
    """Look for the call: Python's warning names only the line that ran when it noticed."""
    called = name.rpartition(".")[2]
    said = f"{said}: `await` is missing."
    try:
        tree = ast.parse(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, SyntaxError):
        return Complaint(file, said)
    # A coroutine that is handed to something is awaited there, most likely.
    handed_on = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.Await | ast.Call)
        for part in ([node.value] if isinstance(node, ast.Await) else node.args)
    }
    # A function of the file itself is called by its bare name.
    own = any(isinstance(one, ast.AsyncFunctionDef) and one.name == name for one in tree.body)
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node not in handed_on
        if ast.unparse(node.func).rpartition(".")[2] == called
        if isinstance(node.func, ast.Name) or not own
    ]
    if len(calls) != 1:
        return Complaint(file, said)
    code = code_at(file, calls[0].lineno)
    start = code.find(ast.unparse(calls[0].func))
    return Complaint(file, said, calls[0].lineno, code, start if start >= 0 else None)


def _exceptions_in(printed: str, file: Path) -> list[Complaint]:
    found = []
    for block in printed.split("Traceback (most recent call last):\n"):
        error = _ERROR.search(block)
        frames = [
            frame
            for frame in _FRAME.finditer(block, 0, error.start() if error else 0)
            if _beside(frame["path"], file)
        ]
        if not error or not frames or error[1].startswith(_NO_FAULT):
            continue
        if _LED_TO_ANOTHER.search(block, error.end()):
            continue
        own = [frame for frame in frames if Path(frame["path"]).name == file.name]
        # If a file cannot be read at all, it is the one that was imported last.
        frame = frames[-1] if error[1].startswith(_UNREADABLE) or not own else own[-1]
        marks = frame["marks"]
        column = marks.index("^") - len(frame["lead"]) if marks and "^" in marks else None
        path = file.with_name(Path(frame["path"]).name)
        # Each object has another address: with it, the same exception would be told many times.
        said = re.sub(r" at 0x[0-9a-fA-F]+", "", error[1])
        if said.startswith("SystemExit"):
            said = ENDS if "in <module>" in frame[0] else f"The program ends here: {said}"
        found.append(Complaint(path, said, int(frame["line"]), frame["code"], column))
    return found


def line_it_ran(printed: str, file: Path) -> Complaint | None:
    """The line of `file` that ran when the program was aborted; None if it only waited.

    See `workshop.running.abort`.
    """
    _, fatal, stack = printed.rpartition(WAS_ABORTED)
    # The current thread comes last of all threads, and its innermost call first.
    _, _, current = stack.rpartition("Current thread ")
    if not fatal:
        return None
    for path, line, _ in _ABORTED.findall(current):
        if _beside(path, file):
            code = code_at(file.with_name(Path(path).name), int(line))
            said = "It was still running this line when time was up."
            return Complaint(file.with_name(Path(path).name), said, int(line), code)
        if Path(path).name in _WAITING:
            return None
    return None


def todo_of(complaint: Complaint) -> int | None:
    """The TODO whose comment is the last one above the complaint's line, if there is one."""
    todo = None
    for text in _lines(complaint.path)[: complaint.line or 0]:
        if found := TODO_COMMENT.match(text):
            todo = int(found[1])
    return todo


def code_at(path: Path, line: int) -> str:
    """What is written in a line of a file, without its indentation."""
    return "".join(_lines(path)[line - 1 : line]).strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _beside(path: str, file: Path) -> bool:
    """Whether a path that Python printed is the file, or another one in its folder.

    The driver of lesson 02 leaves out the folder.
    """
    return path == file.name or Path(path).absolute().parent.name == file.absolute().parent.name
