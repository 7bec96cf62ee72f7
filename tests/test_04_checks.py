"""Lesson 04's checks: on the exercise half done, and on servers that are not the exercise."""

from __future__ import annotations

import ast
from copy import copy
from pathlib import Path

import pytest

from workshop.checks import suite_of
from workshop.checks.engine import Report, check_program
from workshop.checks.lesson_04 import waits
from workshop.course import ROOT
from workshop.patience import stretched

pytestmark = pytest.mark.usefixtures("warm")

SLUG = "04_stdio_server"
SOLUTION = ROOT / "solutions" / SLUG / "exercise.py"
LAST_TODO = 8


def check(tmp_path: Path, source: str) -> Report:
    path = tmp_path / "exercise.py"
    path.write_text(source, encoding="utf-8")
    return check_program(suite_of(SLUG), path)


def test_the_lessons_own_server_passes() -> None:
    report = check_program(suite_of(SLUG), ROOT / "scripts/04_stdio_server/stdio_server.py")
    assert report.ok, report.as_json()


def test_the_stray_print_is_found_and_pointed_at() -> None:
    program = ROOT / "scripts/04_stdio_server/stray_print_broken.py"
    report = check_program(suite_of(SLUG), program)
    failures = {result.id: result.failure for result in report.results}
    failure = failures["only-messages"]
    assert failure is not None
    assert failure.received[failure.at :].startswith(b"running a tool ... {")


def test_the_caret_stands_under_the_stray_byte(tmp_path: Path) -> None:
    printing = 'if __name__ == "__main__":\n    print("ready", flush=True)\n'
    source = SOLUTION.read_text(encoding="utf-8")
    report = check(tmp_path, source.replace('if __name__ == "__main__":\n', printing))
    (result,) = [one for one in report.results if one.state == "failed"]
    assert result.failure is not None
    assert (result.id, result.failure.hint) == ("one-line", "stray-text")
    assert (result.failure.at, result.failure.received[:6]) == (0, b"ready\n")


def test_the_official_sdks_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its imports take more than a second of computing, so they are made once, and it has time.
    some = copy(suite_of(SLUG))
    chosen = ("one-line", "initialize", "notifications", "tools-call", "bad-call", "not-json")
    some.checks = [check for check in some.checks if check.id in chosen]
    monkeypatch.setattr(waits, "SHORT", 10.0)
    monkeypatch.setattr(waits, "PATIENCE", 60.0)
    path = tmp_path / "official.py"
    path.write_text(
        "from mcp.server import MCPServer\n"
        "server = MCPServer('official')\n"
        "@server.tool()\n"
        "def add(a: float, b: float) -> str:\n"
        "    return str(a + b)\n"
        "@server.tool()\n"
        "def echo(message: str) -> str:\n"
        "    return message\n"
        "server.run(transport='stdio')\n",
        encoding="utf-8",
    )
    report = check_program(some, path)
    # It logs what is not JSON and says nothing to the client: the one difference.
    found = [(one.id, one.failure.hint) for one in report.results if one.failure]
    assert found == [("not-json", "silent")], report.as_json()


def definitions(folder: str, *names: str) -> dict[str, str]:
    """Each function and class of these files as a syntax tree, without its docstrings."""
    found: dict[str, str] = {}
    for path in (ROOT / "scripts" / folder / name for name in names):
        if not path.exists():
            continue
        for node in ast.walk(tree := ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                node.body = node.body[1:]
        found |= {
            node.name: ast.dump(node)
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
    return found


def test_lesson_05_has_the_same_code() -> None:
    """What a learner has read here is recognised there. Change both, or neither."""
    here = definitions("04_stdio_server", "json_rpc.py", "tools.py")
    there = definitions("05_sse_server", "json_rpc.py", "tools.py", "sse_server.py")
    for name in ("RpcError", "refuse_constant", "read_message", "is_string", "is_number"):
        assert here[name] == there[name], name


LOOP = """\
    for line in incoming:
        reply = reply_to(line)
        if reply is not None:
            send(reply, outgoing)
"""
SEND = """\
    outgoing.write(json.dumps(message).encode("utf-8") + b"\\n")
    outgoing.flush()
"""


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        pytest.param(
            LOOP, LOOP.replace("incoming:", 'iter(incoming.readline, b""):'), id="iter"
        ),
        pytest.param(
            LOOP,
            """\
    rest = b""
    while piece := incoming.read1(65_536):
        *lines, rest = (rest + piece).split(b"\\n")
        for line in lines:
            if (reply := reply_to(line)) is not None:
                send(reply, outgoing)
""",
            id="pieces",
        ),
        pytest.param(SEND, "    print(json.dumps(message), flush=True)\n", id="print"),
        pytest.param(SEND, SEND.replace('b"\\n"', 'b"\\r\\n"'), id="crlf"),
        pytest.param(
            SEND, SEND.replace("(message)", "(message, ensure_ascii=False)"), id="not-ascii"
        ),
        pytest.param(', "isError": False', "", id="isError-left-out"),
        pytest.param(
            'text = str(arguments["a"] + arguments["b"])',
            'text = str(float(arguments["a"]) + float(arguments["b"]))',
            id="floats",
        ),
        pytest.param(
            'raise RpcError(INVALID_PARAMS, f"{name} needs',
            'return {"content": [{"type": "text", "text": "no"}], "isError": True}  # (f"',
            id="wrong-arguments-in-the-result",
        ),
        pytest.param(LOOP, '    print("ready", file=sys.stderr)\n' + LOOP, id="log"),
    ],
)
def test_other_right_solutions_pass(tmp_path: Path, find: str, replace: str) -> None:
    source = SOLUTION.read_text(encoding="utf-8")
    assert source.count(find) == 1
    report = check(tmp_path, source.replace(find, replace))
    assert report.ok, report.as_json()


def test_a_server_that_never_reads_does_not_hang_the_checks(tmp_path: Path) -> None:
    report = check(tmp_path, "import time\ntime.sleep(60)\n")
    assert [(one.id, one.failure.hint) for one in report.results if one.failure] == [
        ("reads-lines", "silent")
    ]
    assert report.seconds < stretched(3)


def test_a_traceback_is_cut_down_to_the_learners_line(tmp_path: Path) -> None:
    """Also when the exception was raised far below it, in the standard library."""
    source = SOLUTION.read_text(encoding="utf-8")
    wrong = source.replace("except ValueError as error", "except KeyError as error")
    report = check(tmp_path, wrong)
    (died,) = [one for one in report.results if one.failure]
    assert died.failure is not None
    place, code, *_, exception = died.failure.received.decode().splitlines()
    number = wrong[: wrong.index("json.loads(")].count("\n") + 1
    assert place == f'File "exercise.py", line {number}, in read_message'
    assert code.strip() == "message = json.loads(line)"
    assert exception.startswith("json.decoder.JSONDecodeError: ")
