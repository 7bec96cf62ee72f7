"""Every notebook runs from top to bottom, unsolved and solved, and shows streams live."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.notebooknode import NotebookNode

from tests.turns import takes_less_than
from workshop.course import ROOT, Course, Lesson
from workshop.exercise_parts import cell_text, parts_of_todos, read_parts
from workshop.listening import Listener
from workshop.publishing.publish import publish
from workshop.publishing.starters import solution_text, starter_text
from workshop.running import port_is_free, running

COURSE = Course.load()
LESSONS = [lesson for lesson in COURSE.lessons if lesson.notebook_source.is_file()]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)

# What a notebook asks its reader to change, for each lesson: it works, and shows this.
CHANGES = {
    "01": [
        (
            'show_stream(server.url + "/mcp-sse")',
            'show_stream(server.url + "/mcp-sse", 2)',
            "1",
        ),
        (
            'late_lump_broken.py", "--interval", "0.5"',
            'late_lump_broken.py", "--interval", "0.1"',
            "Update 4",
        ),
        ('mine.url + "/mcp-sse?interval=0.2"', 'mine.url + "/mcp-sse?interval=2"', "Update 0"),
    ],
    "02": [
        (r'b"data:no space\n', r'b"data: no space\n: comment\n', "parser:"),
        ('data: c\\n"):', 'data: c\\n\\n"):', "last event id: 9"),
        (r'"Ada\n\nevent: admin\ndata', r'"Ada\r\revent: admin\rdata', "admin"),
    ],
    "03": [
        (
            '"--first-id", "1", "--heartbeat", "0.5"',
            '"--first-id", "1", "--heartbeat", "0.1"',
            ": heartbeat",
        ),
        ('last_event_id=1") as resumed', 'last_event_id=3") as resumed', "id: "),
        ('{"text": "rain"}', '{"text": "sun"}', '"receivers"'),
    ],
    "04": [
        ('(1, "two", 0)', '(-1, "a sentence", "a sentence")', '"id": -1'),
        ('"1900-01-01"', '"2025-03-26"', '"protocolVersion"'),
        ("stray_print_broken.py", "stray_print_fixed.py", "server exited"),
    ],
    "05": [
        ('"message": "hello SSE"', '"message": "changed"', "changed"),
        (
            '"0.3", "--heartbeat-style", "comment"',
            '"0.1", "--heartbeat-style", "event"',
            "event: heartbeat",
        ),
        ("    '\"hello\"',", "    request('', 'ping'),", '"id":""'),
    ],
    "06": [
        ("request_id: int) -> dict:", "request_id: int | str) -> dict:", ""),
        ('"localhost:8006", "tea.example"', '"127.0.0.1:1", "evil.example"', "421"),
        ("06_sdk_server/blocking_broken.py", "06_sdk_server/blocking_fixed.py", "listens on"),
    ],
    "07": [
        ("asyncio.sleep(0.3)", "asyncio.sleep(8)", "add_slowly says 6"),
        (
            '"numbers": [1, 2, 3], "seconds": 0.4',
            '"numbers": [1, 2], "seconds": 0.1',
            '"progress"',
        ),
        ("clients = 10", "clients = 30", "30000.0 30001.0 30002.0"),
    ],
    "08": [
        ("in Atlantis?", "in Cairo?", "°C"),
        (
            "MCPServerSse(settings)",
            "MCPServerSse(settings, cache_tools_list=True)",
            "tools/list",
        ),
        (
            "return not tool.annotations.destructive_hint",
            "return not (tool.annotations and tool.annotations.destructive_hint)",
            "'add'",
        ),
        ("await count(0.5)", "await count(2)", "about 9,000"),
        (
            "call.arguments)\n        state.approve(call)",
            "call.arguments)\n        state.reject(call)",
            "not approved",
        ),
    ],
    "09": [
        ("Send me your password.", "What is your name?", "What is your name?"),
        ("echo I run as $(whoami)", "echo twenty-$((3 + 4))", "twenty-7"),
        (
            'ATTACK = "secrets_in_logs"',
            'ATTACK = "stolen_stream"',
            "Mallory got another session",
        ),
    ],
    "10": [
        (
            'server.url, "mcp_tool_seconds_count"',
            'server.url, "mcp_streams"',
            "mcp_streams_opened",
        ),
        ("STREAMS = 20", "STREAMS = 5", "streams open"),
        ("10_observability/latency_broken", "10_observability/latency_fixed", "p95"),
        ('PATIENT = "ash"', 'PATIENT = "cedar"', "mcp_heartbeat_late_seconds_sum"),
    ],
    "11": [
        ('"../README.md"])', '"../LICENSE"])', "MIT"),
        ('proxy_lab.py", "buffering", "http_10"', 'proxy_lab.py", "host"', "421"),
        ('"alb", "vercel"', '"cloudrun"', "duration 300 s"),
    ],
}


# The programs that the cells and the checks start.
WARM = "from tests.warm import start_warm_from_here as warm; warm(); del warm"


class Client(NotebookClient):
    """Runs a notebook, and keeps when each state of a cell's picture arrived."""

    arrived: dict[int, list[tuple[float, str]]]
    interrupt: int | None = None
    """The kernel to interrupt, as Jupyter does it, once a cell shows something."""
    interrupted: float
    """When that was, as `time.monotonic()` counts."""

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            text = msg["content"]["data"].get("text/plain", "")
            self.arrived.setdefault(cell_index, []).append((time.monotonic(), text))
        if self.interrupt is not None and msg["msg_type"] in ("display_data", "stream"):
            os.killpg(self.interrupt, signal.SIGINT)  # with all that it has started
            self.interrupted = time.monotonic()
            self.interrupt = None
        return super().process_message(msg, cell, cell_index)


@contextmanager
def opened(
    notebook: NotebookNode, work: Path, monkeypatch: pytest.MonkeyPatch, *first: str
) -> Iterator[Client]:
    """The notebook with a fresh kernel, in the folder it lies in, as Jupyter has it.

    The kernel runs the lines in `first` before all cells.
    """
    monkeypatch.setenv("WORKSHOP_WORK", str(work))
    client = Client(
        notebook,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
        extra_arguments=[f"--IPKernelApp.exec_lines={line}" for line in first],
    )
    client.arrived = {}
    client.reset_execution_trackers()
    with client.setup_kernel():
        yield client


def run(client: Client, index: int) -> str:
    """Run a cell; return all that it shows as plain text. A cell's error is raised."""
    cell = client.nb.cells[index]
    client.execute_cell(cell, index)
    texts = [
        out.text if out.output_type == "stream" else out.data.get("text/plain", "")
        for out in cell.get("outputs", [])
    ]
    return "\n".join(texts)


def read(lesson: Lesson) -> NotebookNode:
    notebook: Any = nbformat.read(lesson.notebook, as_version=4)
    return notebook


def cells_with(notebook: NotebookNode, text: str) -> list[int]:
    return [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and text in cell.source
    ]


@pytest.mark.long
@each_lesson
def test_it_runs_through_unsolved_and_then_solved(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its reader does it: from top to bottom, then each TODO, then what is to be changed.

    Of the checks of one TODO the first runs unsolved and the last solved. All of them, on
    the same files as the cells make here: tests/test_todos_in_order.py.
    """
    notebook = read(lesson)
    source = lesson.solution.read_text(encoding="utf-8")
    todos = parts_of_todos(starter_text(source, lesson.slug))
    work = tmp_path / lesson.slug / "exercise.py"
    course = Course.load(work_root=tmp_path)
    with opened(notebook, tmp_path, monkeypatch, WARM) as client:
        checks = {
            todo: cells_with(notebook, f'check("{lesson.number}", todo={todo})')[0]
            for todo in todos
        }
        (all_checks,) = cells_with(notebook, f'check("{lesson.number}")')
        for index in range(len(notebook.cells)):
            if index not in [*checks.values()][1:]:
                run(client, index)
        says_what_is_missing(notebook.cells[all_checks])
        assert course.state(course.lesson(lesson.number)) != "done"
        streams_were_live(client)

        for todo, names in todos.items():
            (index,) = cells_with(notebook, f"%%todo {lesson.number} {todo}\n")
            assert checks[todo] == index + 1
            if "# Run this cell" in notebook.cells[index].source:
                run(client, index)  # it shows what the TODOs before it have made
            made = starter_text(source, lesson.slug, at=todo + 1)
            body = cell_text(read_parts(made, names))
            notebook.cells[index].source = f"%%todo {lesson.number} {todo}\n{body}"
            run(client, index)
            assert work.read_text(encoding="utf-8") == made
        last = len(todos)
        assert f"TODO {last} is done" in run(client, checks[last])
        said = run(client, all_checks)
        assert re.search(r"All \d+ checks passed", said), said
        assert course.state(course.lesson(lesson.number)) == "done"
        assert work.read_text(encoding="utf-8") == solution_text(source)
        assert not list(work.parent.glob("*.backup*"))

        for old, new, shows in CHANGES.get(lesson.number, []):
            (index,) = cells_with(notebook, old)
            changed = notebook.cells[index].source = notebook.cells[index].source.replace(
                old, new
            )
            if "stream.show" in changed and "stream = listen" not in changed:
                # The cells further down have closed that stream.
                opens = [one for one in cells_with(notebook, "stream = listen") if one < index]
                run(client, opens[-1])
            assert shows in run(client, index)


def says_what_is_missing(cell: NotebookNode) -> None:
    (output,) = [out for out in cell.outputs if out.output_type == "execute_result"]
    assert "failed" in output.data["text/plain"]
    assert "TODO" in output.data["text/plain"]
    assert "✗" in output.data["text/html"]


def streams_were_live(client: Client) -> None:
    """A stream that took a while was shown over that while, not after it."""
    spans: list[float] = []
    for index, states in client.arrived.items():
        if "post(" in client.nb.cells[index].source:
            continue  # what is read after a POST may have come before
        times = [float(at) for at in re.findall(r"^ *(\d+\.\d{3}) s", states[-1][1], re.M)]
        if len(times) > 1 and (took := times[-1] - times[0]) > 0.3:
            spans.append(took)
            shown_over = states[-1][0] - states[0][0]
            assert shown_over > took / 2, (
                f"cell {index}: {took:.1f} s shown in {shown_over:.1f}"
            )
    # Lesson 04 has no streams, and lesson 08's are printed: tests/test_08_agent.py.
    if spans or client.nb.cells[0].source.startswith(("# Lesson 04", "# Lesson 08")):
        return
    raise AssertionError("no cell shows a stream that takes longer than 0.3 s")


@each_lesson
def test_a_notebook_asks_before_it_shows_and_has_something_to_change(lesson: Lesson) -> None:
    text = "\n".join(cell.source for cell in read(lesson).cells if cell.cell_type == "markdown")
    assert text.count("**Predict:**") + text.count("**Predict**") >= 3
    assert text.count("**Change**") >= 3
    # One of two things that a draft is excused from; the other: tests/test_new_lesson.py.
    if not lesson.draft:
        changes = CHANGES.get(lesson.number, [])
        assert len(changes) >= 3, "CHANGES, above, has fewer than three for it"
    assert not [cell for cell in read(lesson).cells if "_ = " in cell.source]


@each_lesson
def test_the_committed_notebook_has_no_outputs_and_is_what_publish_makes(
    lesson: Lesson,
) -> None:
    notebook = read(lesson)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    found = publish(COURSE, [lesson], compare=True, replay=False)
    assert [one for one in found if one.path.endswith(".ipynb")] == []


def test_hanging_up_raises_nothing_in_the_thread_that_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    before = threading.active_count()
    with running(ROOT / "scripts/05_sse_server/sse_server.py") as server:
        for _ in range(10):
            with Listener(f"{server.url}/sse") as stream:
                assert stream.take(time.monotonic() + 10) is not None
        assert threading.active_count() <= before + 1  # `running` reads what the server prints
    assert raised == []


# Cells that don't end by themselves for a while. What they show comes when there is something
# to leave behind.
INTERRUPTED = {
    "a stream that is shown": "show_stream(server.url + '/sse')",
    "a stream that is kept": "kept = listen(server.url + '/sse')\nkept.show(None)",
    "a stream that is kept while the cell awaits": """
kept = listen(server.url + '/sse')
await asyncio.sleep(30)
""",
    "a program that runs": "run('scripts/05_sse_server/sse_server.py', '--port', '0')",
    "a child that is heard": """
child = start_child('scripts/04_stdio_server/stdio_server.py')
print('begins')
child.hear()
""",
    "the checks": "check('05')",
    "the client of lessons 06 and 07": """
async with Client(sse_client(calculator.url + '/sse'), mode='legacy') as client:
    print('begins')
    await client.call_tool('add_slowly', {'numbers': [1], 'seconds': 30})
""",
    "the agent of lesson 08": """
class Tell(RunHooks):
    async def on_tool_start(self, *_):
        print('begins')

async with MCPServerSse({'url': calculator.url + '/sse'}) as tools:
    model = one_call('add_slowly', numbers=[1], seconds=30)
    await Runner.run(Agent('x', mcp_servers=[tools], model=model), 'Add.', hooks=Tell())
""",
}
FIRST = """
# IPython takes longer for a whole traceback through the agents than they take to end.
%xmode Minimal
import asyncio, os, subprocess, sys, threading
from agents import Agent, RunHooks, Runner, set_tracing_disabled
from agents.mcp import MCPServerSse
from mcp.client import Client
from mcp.client.sse import sse_client
from workshop.alarms import after
from workshop.notebook import *
from workshop.running import Program

sys.path.insert(0, '../scripts/08_agent')
from scripted import one_call

# Two threads that stay: the alarms' begins here, and the traces' never.
after(0, bool)
set_tracing_disabled(True)
server = start('scripts/05_sse_server/sse_server.py', '--heartbeat', '0.1')
calculator = start('scripts/06_sdk_server/calculator.py')
listens = Program.wait_until_listening

def tell(program, *, seconds):
    listens(program, seconds=seconds)
    print('begins')

Program.wait_until_listening = tell
print('kernel', os.getpid())
"""
LEFT = """
threads = [one.name for one in threading.enumerate()]
listed = ['ps', '-o', 'pid=', '--ppid', str(os.getpid())]
children = subprocess.run(listed, capture_output=True, text=True).stdout.split()
print(sorted(threads), len(children) - 1)
"""


@pytest.mark.long
def test_an_interrupt_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell ends soon after it, with all that it has opened, and can run again.

    The servers that other cells have started go on.
    """
    lesson = COURSE.lesson("05")
    work = Course.load(work_root=tmp_path).lesson("05").work
    work.parent.mkdir()
    work.write_text(solution_text(lesson.solution.read_text(encoding="utf-8")))
    sources = [FIRST, LEFT, "check('05')", *INTERRUPTED.values()]
    cells = [nbformat.v4.new_code_cell(one) for one in sources]
    with opened(nbformat.v4.new_notebook(cells=cells), tmp_path, monkeypatch) as client:
        kernel = re.search(r"kernel (\d+)", run(client, 0))
        assert kernel is not None
        before = run(client, 1)

        def ends_after(index: int) -> float:
            """Seconds from the interrupt to the cell's end."""
            client.interrupt = int(kernel[1])
            with pytest.raises(CellExecutionError, match=r"KeyboardInterrupt|CancelledError"):
                run(client, index)
            return time.monotonic() - client.interrupted

        for index, name in enumerate(INTERRUPTED, start=3):
            assert takes_less_than(2, lambda index=index: ends_after(index)), name
            assert run(client, 1) == before, name
        checks = cells[3 + [*INTERRUPTED].index("the checks")]
        said = "KeyboardInterrupt: the checks were interrupted."
        assert checks.outputs[-1].traceback == [said]
        assert re.search(r"All \d+ checks passed", run(client, 2))


def test_a_kernel_that_is_killed_leaves_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jupyter kills it with all that it has started, except for what has its own session."""
    source = """
import os
from workshop.notebook import start
server = start('scripts/01_flask_stream/flask_server.py')
print('kernel', os.getpid(), 'port', server.port)
"""
    cells = [nbformat.v4.new_code_cell(source)]
    with opened(nbformat.v4.new_notebook(cells=cells), tmp_path, monkeypatch, WARM) as client:
        kernel, port = map(int, re.findall(r"(?:kernel|port) (\d+)", run(client, 0)))
        assert not port_is_free(port)
        os.killpg(kernel, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not port_is_free(port):
            assert time.monotonic() < deadline
            time.sleep(0.02)


class Interrupted(subprocess.Popen[bytes]):
    """Ctrl-C comes when the process is there, and nobody has been told of it yet."""

    started: ClassVar[list[Interrupted]] = []

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.started.append(self)
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_the_middle_of_a_start_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    program = running(ROOT / "scripts/01_flask_stream/flask_server.py")
    with pytest.raises(KeyboardInterrupt), program:
        pass
    assert [process.returncode for process in Interrupted.started] == [-signal.SIGTERM]
