"""What Python says about a learner's file: found in what it printed, and told in a sentence."""

from __future__ import annotations

import ast
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from workshop.checks import suite_of
from workshop.checks.engine import Report, Suite, check_program
from workshop.complaints import Complaint, complaints_in, line_it_ran, todo_of
from workshop.course import ROOT
from workshop.failed import Failed
from workshop.learners_file import broken, doubts
from workshop.running import Program, ProgramError, running

SLUGS = sorted(path.parent.name for path in (ROOT / "solutions").glob("*/exercise.py"))

RAISED = """INFO:     Started server process [1]
Traceback (most recent call last):
  File "/x/site-packages/uvicorn/protocols/http/h11_impl.py", line 410, in run_asgi
    result = await app(
             ^^^^^^^^^^
  File "/home/me/work/01_greeting/exercise.py", line 7, in greet
    return names[name]
           ~~~~~^^^^^^
  File "/usr/lib/python3.11/collections.py", line 1, in __missing__
    raise KeyError(key)
KeyError: 'x'
INFO:     127.0.0.1:1 - "POST /message HTTP/1.1" 500 Internal Server Error
Traceback (most recent call last):
  File "/x/site-packages/anyio/x.py", line 1, in f
    pass
asyncio.exceptions.CancelledError
  + Exception Group Traceback (most recent call last):
  |   File "/home/me/work/01_greeting/exercise.py", line 9, in other
  |     assert False
  | AssertionError
"""


FILE = Path("work/01_greeting/exercise.py")


def test_exceptions_of_the_learners_file_are_found_in_what_it_printed() -> None:
    assert complaints_in(RAISED, FILE) == [
        Complaint(FILE, "KeyError: 'x'", 7, "return names[name]", 12),
        Complaint(FILE, "AssertionError", 9, "assert False"),
    ]


def test_the_same_exception_about_another_object_is_told_once() -> None:
    block = """Traceback (most recent call last):
  File "/home/me/work/01_greeting/exercise.py", line 7, in greet
    names.pop(self)
KeyError: <__main__.Session object at 0x7f{}0>
"""
    said = "KeyError: <__main__.Session object>"
    found = complaints_in(block.format("a") + block.format("b"), FILE)
    assert found == [Complaint(FILE, said, 7, "names.pop(self)")]


def test_an_exception_that_was_caught_and_told_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "exercise.py"
    file.write_text("x = 1\nnames['y'](x)\n", encoding="utf-8")
    found = [Complaint(file, "KeyError('y')", 2, "names['y'](x)")]
    for printed in (
        """{"url": "/", "crashed": "KeyError('y') in line 2: names['y'](x)"}""",
        "** run() crashed: KeyError('y'), in line 2",
        "** a task raised KeyError('y'), in line 2",
    ):
        assert complaints_in(printed, file) == found
    told = "** look raises Lost: the stream ended (line 2)\ncrashed: no, in line 0\n"
    assert complaints_in(told, file) == []


def test_a_traceback_without_its_first_line_and_folders_is_understood() -> None:
    printed = """  File "exercise.py", line 5, in feed
    self._dispatch(events)
  File "exercise.py", line 7, in _dispatch
    names[name]
    ~~~~~^^^^^^
KeyError: 'x'
"""
    file = Path("work/02_event_format/exercise.py")
    assert complaints_in(printed, file) == [
        Complaint(file, "KeyError: 'x'", 7, "names[name]", 5)
    ]


def test_an_exit_is_no_mistake_of_its_place(tmp_path: Path) -> None:
    printed = """Traceback (most recent call last):
  File "/home/me/work/01_greeting/exercise.py", line 7, in greet
    sys.exit("enough")
SystemExit: enough
"""
    (handler,) = complaints_in(printed, FILE)
    assert handler.said == "The program ends here: SystemExit: enough"
    (module,) = complaints_in(printed.replace("greet\n", "<module>\n"), FILE)
    assert module.said == "The program ends here, before it has done anything."


def test_the_missing_await_is_not_looked_for_at_a_method_of_that_name(tmp_path: Path) -> None:
    file = tmp_path / "exercise.py"
    file.write_text(
        "async def add(): ...\n\nfound = set()\nfound.add(1)\ncall(**{'run': add})\n"
    )
    printed = "x.py:9: RuntimeWarning: coroutine 'add' was never awaited\n"
    said = "coroutine 'add' was never awaited: `await` is missing."
    assert complaints_in(printed, file) == [Complaint(file, said)]


def test_a_file_beside_it_is_blamed_only_if_it_can_not_be_read() -> None:
    printed = """Traceback (most recent call last):
  File "/home/me/work/01_greeting/exercise.py", line 3, in <module>
    import helper
  File "/home/me/work/01_greeting/helper.py", line 1{}
    def x(:
          ^
{}
"""
    syntax = complaints_in(printed.format("", "SyntaxError: invalid syntax"), FILE)
    said = "SyntaxError: invalid syntax"
    assert syntax == [Complaint(FILE.with_name("helper.py"), said, 1, "def x(:", 6)]
    raised = complaints_in(printed.format(", in f", "ValueError: no"), FILE)
    assert raised == [Complaint(FILE, "ValueError: no", 3, "import helper")]


def test_what_python_really_prints_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text(
        "import asyncio, socket, sys\n"
        "async def put(): pass\n"
        "async def main():\n"
        "    put()\n"
        "    await asyncio.sleep(0)\n"
        "    asyncio.create_task(serve())\n"
        "    await asyncio.sleep(60)\n"
        "async def serve():\n"
        "    socket.create_server(('127.0.0.1', int(sys.argv[2]))).accept()\n"
        "    {}['é'] + 1\n"
        "asyncio.run(main())\n",
        encoding="utf-8",
    )
    with running(path) as program:
        program.wait_for_output("never awaited")
    assert program.complaints()[0] == Complaint(
        path, "coroutine 'put' was never awaited: `await` is missing.", 4, "put()", 0
    )
    with pytest.raises(ProgramError) as stopped, running(tmp_path / "none.py"):
        pass
    assert "No such file" in str(stopped.value)


# --- a program that is stuck ---------------------------------------------------------------

SERVER = """
import asyncio, sys

# TODO 1: Answer.
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")

# TODO 2: A heartbeat.
async def beat():
    while True:
        BEAT

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[2]))
    asyncio.create_task(beat())
    async with server:
        await server.serve_forever()

asyncio.run(main())
"""


def server(tmp_path: Path, *, beat: str) -> Path:
    path = tmp_path / "exercise.py"
    path.write_text(SERVER.replace("BEAT", beat), encoding="utf-8")
    return path


def test_the_line_that_a_program_is_stuck_in_is_named(tmp_path: Path) -> None:
    path = server(tmp_path, beat="pass")
    with running(path) as program:
        line = program.line_it_runs()
    assert line is not None
    assert line.code in ("while True:", "pass")
    assert todo_of(line) == 2


def test_the_todo_of_a_line_is_the_last_one_named_above_it(tmp_path: Path) -> None:
    file = tmp_path / "exercise.py"
    file.write_text("# TODO 1: a\nx\n# TODO 2: b\nx\n# (TODO 1) c\nx\n# as TODO 2\nx\n")
    assert [todo_of(Complaint(file, "", line)) for line in (2, 4, 6, 8)] == [1, 2, 1, 1]


def test_a_program_that_waits_is_stuck_nowhere(tmp_path: Path) -> None:
    with running(server(tmp_path, beat="await asyncio.sleep(9)")) as program:
        assert program.line_it_runs() is None
    assert program.line_it_runs() is None, "it has ended"
    assert line_it_ran("nothing of the kind", FILE) is None


def test_an_answer_that_does_not_come_is_blamed_on_the_todo_that_is_stuck(
    tmp_path: Path,
) -> None:
    path = server(tmp_path, beat="pass")
    suite: Suite[Program] = Suite(
        "99_test", open_program=lambda path: running(path), start_heading="The exercise"
    )

    @suite.check("answers", "", why="", read="", rule="", hints={}, todo=1)
    def answers(program: Program) -> None:
        raise Failed("no-answer")

    report = check_program(suite, path)
    assert [result.todo for result in report.results] == [None, 2]
    (complaint,) = report.complaints
    assert complaint.said == "It was still running this line when time was up."


# --- a program that ends --------------------------------------------------------------------

ENDING = """
import os, socket, sys
print("said first")
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    connection, _ = server.accept()
    if connection.recv(9):
        print("said last")
        os._exit(3)
"""


def test_a_program_that_ended_by_itself_says_so_first(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text(ENDING, encoding="utf-8")
    suite: Suite[Program] = Suite(
        "99_test", open_program=lambda path: running(path), start_heading="The exercise"
    )

    @suite.check("answers", "", why="", read="", rule="", hints={}, todo=1)
    def answers(program: Program) -> None:
        with socket.create_connection(("127.0.0.1", program.port)) as connection:
            connection.sendall(b"x")
            if not connection.recv(1):
                raise Failed("no-connection")

    report = check_program(suite, path)
    assert report.complaints == [
        Complaint(
            path,
            "The program ended, with status 3. The last line that it printed: said last",
        )
    ]


def test_a_program_that_was_stopped_did_not_end_by_itself(tmp_path: Path) -> None:
    with running(server(tmp_path, beat="await asyncio.sleep(9)")) as program:
        assert not program.ended_by_itself
    assert program.process.returncode is not None and not program.ended_by_itself


def test_a_program_that_did_not_start_says_its_last_line_first(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text("print()\n", encoding="utf-8")

    @contextmanager
    def opened(path: Path) -> Iterator[Program]:
        raise ProgramError("It said:\nno such colour\n")
        yield

    suite: Suite[Program] = Suite("99_test", open_program=opened, start_heading="The exercise")
    report = check_program(suite, path)
    assert report.complaints == [Complaint(path, "no such colour")]
    assert report.results[0].failure is not None
    assert b"It said:" in report.results[0].failure.received, "all of it is below"


def complaints_of(received: str, folder: Path) -> list[Complaint]:
    """What is complained about when a check fails, and shows this as received."""
    path = folder / "exercise.py"
    path.write_text("x = 1\nx.y\n", encoding="utf-8")
    suite: Suite[None] = Suite(
        "99_test", open_program=lambda path: nullcontext(), start_heading="The exercise"
    )

    @suite.check("answers", "", why="", read="", rule="", hints={}, todo=1)
    def answers(target: None) -> None:
        raise Failed("crashed", received=received)

    return check_program(suite, path).complaints


def test_a_program_that_never_listens_is_not_told_how_we_ended_it(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text("import threading\nprint('begins')\nthreading.Event().wait()\n", "utf-8")
    suite: Suite[Program] = Suite(
        "99_test",
        open_program=lambda path: running(path, seconds=1),
        start_heading="The exercise",
    )
    (complaint,) = check_program(suite, path).complaints
    assert re.fullmatch(r"Nothing listened on port \d+ within 1 s\.", complaint.said)


def test_what_a_failure_shows_of_an_exception_comes_first_too(tmp_path: Path) -> None:
    received = '  File "exercise.py", line 2\n    x.y\nValueError: a'
    (complaint,) = complaints_of(received, tmp_path)
    assert complaint == Complaint(tmp_path / "exercise.py", "ValueError: a", 2, "x.y")


def test_a_line_that_fails_about_several_keys_is_one_place(tmp_path: Path) -> None:
    told = "crashed: KeyError: 'a', in line 2\ncrashed: KeyError: 'b', in line 2\n"
    received = f"{told}crashed: TypeError: c, in line 2"
    said = [complaint.said for complaint in complaints_of(received, tmp_path)]
    assert said == ["KeyError: 'a'", "TypeError: c"]


# --- files that can't run, in every lesson ---------------------------------------------------


def first_complaint(report: Report, path: Path) -> Complaint:
    """What the learner is shown first: one failure, and one sentence about it."""
    assert report.ids("failed") == ["starts"]
    assert report.ids("passed") == []
    assert report.results[0].failure is not None
    assert report.results[0].failure.received == b"", "said twice"
    complaint = report.complaints[0]
    assert complaint.path == path
    assert "importlib" not in str(complaint) and "learners_file" not in str(complaint)
    if complaint.line is not None:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        assert complaint.code == lines[complaint.line - 1].strip()
    return complaint


BROKEN = {
    "empty": (b"", "There is no code in this file."),
    "comments": (b"# TODO 1: all of it\n", "There is no code in this file."),
    "syntax": (b"import os\n\ndef x(:\n    pass\n", "SyntaxError: invalid syntax"),
    "half": (b'EVENT = b"data: hel', "SyntaxError: unterminated string literal"),
    "end": (b"def x():\n", "IndentationError: expected an indented block"),
    "return": (b"x = 1\nreturn x\n", "SyntaxError: 'return' outside function"),
    "tabs": (b"if 1:\n        x = 1\n\ty = 2\n", "TabError: inconsistent use of tabs"),
    "latin-1": (b"x = 1\ny = 'caf\xe9'\n", "The byte 0xe9 is not UTF-8"),
    "utf-16": ("x = 1\n".encode("utf-16"), "The byte 0xff is not UTF-8"),
    "nul": (b"x = 1\0\n", "null bytes"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("slug", SLUGS)
def test_a_file_that_python_can_not_read_is_one_sentence(
    slug: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "exercise.py"
    raw, said = BROKEN[kind]
    path.write_bytes(raw)
    complaint = first_complaint(check_program(suite_of(slug), path), path)
    assert said in complaint.said
    if kind not in ("empty", "comments", "nul"):
        assert complaint.line is not None and complaint.column is not None


@pytest.mark.parametrize("slug", SLUGS)
def test_a_file_that_is_none_is_one_sentence(slug: str, tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    missing = first_complaint(check_program(suite_of(slug), path), path)
    assert missing.said == "The file can't be read: No such file or directory."
    path.mkdir()
    complaint = broken(path)
    assert complaint is not None and "directory" in complaint.said


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\nx / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", 1, "ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(3)\n", 2, "The program ends here"),
        ("raise SystemExit('no')\n", 1, "The program ends here"),
        ("import helper\n", 1, "SyntaxError: '(' was never closed"),
    ],
)
@pytest.mark.parametrize("slug", SLUGS)
def test_a_file_that_stops_while_it_is_read_is_one_sentence(
    slug: str, text: str, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "exercise.py"
    path.write_text(text, encoding="utf-8")
    path.with_name("helper.py").write_text("x = (\n", encoding="utf-8")
    blamed = path.with_name("helper.py") if "helper" in text else path
    complaint = first_complaint(check_program(suite_of(slug), path), blamed)
    assert complaint.said.startswith(said) and complaint.line == line


@pytest.mark.parametrize("slug", SLUGS)
def test_the_course_itself_has_nothing_of_the_kind(slug: str) -> None:
    for path in (
        ROOT / "solutions" / slug / "exercise.py",
        *(ROOT / "scripts" / slug).glob("*.py"),
    ):
        assert broken(path) is None and doubts(path) == []


def test_a_function_that_forgets_to_return_is_named(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text(
        "import json\n\n\ndef read(line: bytes) -> dict:\n    message = json.loads(line)\n\n\n"
        "def log(line: bytes) -> None:\n    print(line)\n\n\n"
        "def never(line: bytes) -> dict:\n    raise ValueError(line)\n\n\n"
        "def maybe(line: bytes) -> dict | None:\n    print(line)\n",
        encoding="utf-8",
    )
    (complaint,) = doubts(path)
    assert complaint.said == "`read` never returns anything: is a `return` missing?"
    assert complaint.line == 4


def renamed(source: str) -> Iterator[tuple[str, str]]:
    """For each class and function: its name, and the file in which it is called otherwise."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            heading = rf"^((?:async )?def |class ){node.name}\b"
            text = re.sub(heading, rf"\g<1>{node.name}ed", source, flags=re.MULTILINE)
            yield node.name, text


@pytest.mark.parametrize("slug", SLUGS)
def test_a_renamed_class_or_function_is_one_sentence(slug: str, tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    cases = 0
    for name, text in renamed((ROOT / "solutions" / slug / "exercise.py").read_text("utf-8")):
        path.write_text(text, encoding="utf-8")
        for complaint in doubts(path):
            assert complaint.said.startswith(f"NameError: name '{name}' is not defined")
            assert complaint.column is not None
            assert complaint.code[complaint.column :].startswith(name)
            cases += 1
    assert cases >= 1


@pytest.mark.parametrize(
    ("slug", "name"),
    [("02_event_format", "EventStreamParser"), ("07_sdk_client", "Client")],
)
def test_a_class_that_the_checks_need_is_looked_for(
    slug: str, name: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "solutions" / slug, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "exercise.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"\b{name}\b", f"My{name}", text), encoding="utf-8")
    complaint = first_complaint(check_program(suite_of(slug), path), path)
    assert complaint.said == (
        f"The checks need `{name}`, which is not in this file. Was this one renamed?"
    )
    assert complaint.code.startswith(f"class My{name}") and complaint.column == len("class ")
    path.write_text(text.replace("def feed(", "def feeed(").replace("def call(", "def called("))
    complaint = first_complaint(check_program(suite_of(slug), path), path)
    assert complaint.said.endswith("which is not in this file. Was this one renamed?")
    assert re.match(r"(async )?def (feeed|called)\(", complaint.code)
    path.write_text("x = 1\n", encoding="utf-8")
    complaint = first_complaint(check_program(suite_of(slug), path), path)
    assert complaint.line is None and complaint.said.startswith("The checks need `")
