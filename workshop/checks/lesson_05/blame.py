"""Whose fault it is: one check may fail for what several TODOs did."""

from __future__ import annotations

import ast
import re
from contextlib import suppress

from workshop.checks.mcp_session import McpServer
from workshop.complaints import todo_of
from workshop.patience import stretched
from workshop.running import ProgramError

# What Python says where the line that it names is not the one to be mended.
NO_DICT = "(object is not subscriptable|is not iterable|object has no attribute 'get')"
TOLD_BY = [
    # Python tells of the missing await only later.
    (r"JSON object must be str, bytes or bytearray, not coroutine", 4),
    (r"JSON object must be str, bytes or bytearray, not ", 10),
    (rf"'Session' {NO_DICT}", 4),
    (rf"'NoneType' {NO_DICT}", 5),
]
NOT_AWAITED = "Object of type coroutine is not JSON serializable"
# A hint of several checks, where one of the program's own exceptions is to blame.
RAISED = "Your code raised an exception on the way. The server's output names the line."


def only(server: McpServer, todo: int) -> int | None:
    """The TODO; None for a server that is not the learner's exercise."""
    return todo if server.program is not None else None


def blamed(server: McpServer) -> int | None:
    """The TODO that the program's own exceptions are about, if it printed any."""
    if server.program is None:
        return None
    with suppress(ProgramError):  # it answers first, and then prints
        server.program.wait_for_output("Traceback", seconds=stretched(0.3))
    printed = server.program.output
    for told, todo in TOLD_BY:
        if re.search(rf"^TypeError: .*{told}|^AttributeError: {told}", printed, re.MULTILINE):
            return todo
    complaints = [one for one in server.program.complaints() if one.line is not None]
    # A missing await explains the exceptions that follow it; of these, the last one counts.
    first = next((one for one in complaints if "await" in one.said), None)
    return todo_of(first or complaints[-1]) if complaints else None


def has_call(server: McpServer, function: str, call: str) -> bool:
    """Whether this function of the learner's file calls something of that name."""
    if server.program is None:
        return False
    try:
        tree = ast.parse(server.program.path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, SyntaxError):
        return False
    return any(
        isinstance(inner, ast.Call) and ast.unparse(inner.func).rpartition(".")[2] == call
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
        for inner in ast.walk(node)
    )
