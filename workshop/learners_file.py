"""Look at a learner's file before it runs, and load it where a driver needs it.

`broken` says why Python can't run the file at all, `doubts` what will stop it later: a
name that is never defined, or an exit while the file is being read. Nothing here imports
more than the standard library: the drivers of the checks start with it.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from workshop import loading
from workshop.complaints import ENDS, NEEDED, Complaint, code_at

# --- without running it ------------------------------------------------------------------


def broken(path: Path) -> Complaint | None:
    """Why Python can't run this file, or None if it can."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return Complaint(path, f"The file can't be read: {error.strerror}.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, _, start = raw[: error.start].decode("utf-8-sig").rpartition("\n")
        said = f"The byte 0x{raw[error.start]:02x} is not UTF-8: save the file as UTF-8."
        return _at(path, said, before.count("\n") + 1 + bool(before), len(start))
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text, path.name)
            compile(tree, path.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        said = f"{type(error).__name__}: {error.msg}"
        return _at(path, said, error.lineno or 1, (error.offset or 1) - 1)
    except (ValueError, RecursionError, MemoryError) as error:
        return Complaint(path, f"Python can't read this file: {error}.")
    if not tree.body:
        return Complaint(path, "There is no code in this file.")
    return None


def doubts(path: Path) -> list[Complaint]:
    """What will stop a file that Python can read, once it runs."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, SyntaxError):
        return []
    return [*_exits(path, tree), *_unknown_names(path, tree), *_no_returns(path, tree)]


def _at(path: Path, said: str, line: int, column: int) -> Complaint:
    """A complaint about a place. `column` counts from the beginning of the line."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if not 0 < line <= len(lines):  # Python looked for more than there is
        line, column = len(lines), len(lines[-1]) if lines else 0
    code = code_at(path, line)
    indented = len(lines[line - 1]) - len(lines[line - 1].lstrip()) if lines else 0
    return Complaint(path, said, line, code, min(max(column - indented, 0), len(code)))


def _exits(path: Path, tree: ast.Module) -> Iterator[Complaint]:
    for statement in tree.body:
        said = ast.unparse(statement)
        if said.startswith(("sys.exit(", "exit(", "quit(", "os._exit(", "raise SystemExit")):
            yield Complaint(path, ENDS, statement.lineno, code_at(path, statement.lineno))


def _unknown_names(path: Path, tree: ast.Module) -> Iterator[Complaint]:
    """The first use of each name that nothing in the file defines."""
    defined = {*dir(builtins), "__file__", "__annotations__", *_defined(tree)}
    if "*" in defined:  # there is no knowing what that defines
        return
    own = defined.difference(dir(builtins))
    for node in _running(tree):
        if isinstance(node, ast.Name) and node.id not in defined:
            defined.add(node.id)
            said = f"NameError: name '{node.id}' is not defined"
            if close := difflib.get_close_matches(node.id, own, n=1):
                said += f". Did you mean: '{close[0]}'?"
            # ast counts bytes, and a caret goes under a character.
            line = path.read_text(encoding="utf-8-sig").splitlines()[node.lineno - 1]
            column = len(line.encode()[: node.col_offset].decode(errors="ignore"))
            yield _at(path, said, node.lineno, column)


def _no_returns(path: Path, tree: ast.Module) -> Iterator[Complaint]:
    """Each function that is said to return something, runs to its end, and returns nothing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.returns:
            continue
        promised = ast.unparse(node.returns)
        if re.search(r"\b(None|NoReturn|Never|Optional|Any)\b", promised):
            continue
        # A stub, or one that raises or loops.
        last = node.body[-1]
        if isinstance(last, ast.Raise | ast.While | ast.Pass) or (
            isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant)
        ):
            continue
        gives = (ast.Return, ast.Yield, ast.YieldFrom)
        if not any(isinstance(inner, gives) for inner in ast.walk(node)):
            said = f"`{node.name}` never returns anything: is a `return` missing?"
            yield _at(path, said, node.lineno, node.col_offset)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes in the order of the text, except annotations: they need not be true."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                yield from _running(node)


def _defined(tree: ast.Module) -> Iterator[str]:
    """Every name that is bound anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.MatchMapping):
            yield node.rest or ""
        else:
            # Definitions, `except … as`, and the patterns of `match`.
            yield getattr(node, "name", None) or ""


# --- in a driver's process ---------------------------------------------------------------


def load(path: Path, *needed: str) -> ModuleType:
    """The file as a module; it may import the files beside it.

    It must define the `needed` names, "Client" or "Client.run". If it does not, or can't be
    loaded, this says why on standard error, and ends the process.
    """
    # Python recognises outdated bytecode by the source's time in seconds and its size: two
    # saves within one second could look alike.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(path.parent))
    try:
        module = loading.load(path, "learners_file")
    except BaseException as error:
        print("".join(raised(error, path)), file=sys.stderr)
        sys.exit(1)
    for name in needed:
        try:
            attrgetter(name)(module)
        except AttributeError:
            print(_missing(path, name, needed), file=sys.stderr)
            sys.exit(1)
    return module


def raised(error: BaseException, path: Path) -> list[str]:
    """The traceback from the learner's file on, as Python prints it: a string per frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
        trace = trace.tb_next
    return traceback.format_exception(type(error), error, trace)


def _missing(path: Path, name: str, needed: Iterable[str]) -> Complaint:
    """Say that a name is missing, and point at one that may have been meant."""
    body = ast.parse(path.read_text(encoding="utf-8-sig")).body
    home, _, wanted = name.rpartition(".")
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == home:
            body = node.body
    others = {
        node.name: node
        for node in body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and f"{home}.{node.name}".lstrip(".") not in needed
    }
    said = f"{NEEDED}`{name}`, which is not in this file."
    close = difflib.get_close_matches(wanted, others, n=1, cutoff=0.4)
    if not close:
        return Complaint(path, said)
    node = others[close[0]]
    column = code_at(path, node.lineno).index(close[0])
    return _at(path, f"{said} Was this one renamed?", node.lineno, node.col_offset + column)
