"""Every notebook runs from top to bottom, unsolved and solved, and shows streams live."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.notebooknode import NotebookNode

from workshop.course import ROOT, Course, Lesson
from workshop.listening import listen
from workshop.publishing.publish import publish
from workshop.publishing.starters import solution_text
from workshop.running import running

COURSE = Course.load()
LESSONS = [lesson for lesson in COURSE.lessons if lesson.notebook_source.is_file()]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)

# `show_stream` and `show` print "   1.234 s | data: …".
STAMP = re.compile(r"^ *(\d+\.\d{3}) s \|", re.MULTILINE)


class Client(NotebookClient):
    """Runs a notebook and keeps when each piece of printed text arrived."""

    arrived: dict[int, list[tuple[float, str]]]

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            piece = (time.monotonic(), msg["content"]["text"])
            self.arrived.setdefault(cell_index, []).append(piece)
        return super().process_message(msg, cell, cell_index)


@contextmanager
def opened(
    notebook: NotebookNode, work: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """The notebook with a fresh kernel, in the folder it lies in, as Jupyter has it."""
    monkeypatch.setenv("WORKSHOP_WORK", str(work))
    client = Client(
        notebook,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
    )
    client.arrived = {}
    client.reset_execution_trackers()
    with client.setup_kernel():
        yield client


def run(client: Client, first: int = 0) -> None:
    """Run the cells from `first` to the last one. A cell's error is raised."""
    for index in range(first, len(client.nb.cells)):
        client.execute_cell(client.nb.cells[index], index)


def read(lesson: Lesson) -> NotebookNode:
    return nbformat.read(lesson.notebook, as_version=4)


def last_check(notebook: NotebookNode, lesson: Lesson) -> tuple[str, str]:
    """What the notebook's last `check("NN")` shows: (plain text, HTML)."""
    cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and f'check("{lesson.number}")' in cell.source
    ]
    (output,) = [out for out in cells[-1].outputs if out.output_type == "execute_result"]
    return output.data["text/plain"], output.data["text/html"]


def stamps(pieces: list[tuple[float, str]]) -> list[float]:
    return [float(stamp) for stamp in STAMP.findall("".join(text for _, text in pieces))]


@pytest.mark.long
@each_lesson
def test_it_runs_through_unsolved_and_then_solved(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its reader does it: from top to bottom, then the exercise, and on from there."""
    notebook = read(lesson)
    magic = f"%%exercise {lesson.number}\n"
    (exercise,) = [
        index for index, cell in enumerate(notebook.cells) if cell.source.startswith(magic)
    ]
    solution = solution_text(lesson.solution.read_text(encoding="utf-8"))
    course = Course.load(work_root=tmp_path)
    with opened(notebook, tmp_path, monkeypatch) as client:
        run(client)
        says_what_is_missing(notebook, lesson)
        assert course.state(course.lesson(lesson.number)) != "done"
        streams_were_live(client)

        notebook.cells[exercise].source = magic + solution
        run(client, exercise)
    text, table = last_check(notebook, lesson)
    assert re.search(r"All \d+ checks passed", text), text
    assert "✗" not in table
    assert course.state(course.lesson(lesson.number)) == "done"
    assert (tmp_path / lesson.slug / "exercise.py").read_text(encoding="utf-8") == solution


def says_what_is_missing(notebook: NotebookNode, lesson: Lesson) -> None:
    text, table = last_check(notebook, lesson)
    assert "failed" in text
    assert "TODO" in text
    assert "✗" in table
    assert "<table" in table


def streams_were_live(client: Client) -> None:
    """A stream that took a while was shown over that while, not after it."""
    spans = []
    for index, pieces in client.arrived.items():
        times = stamps(pieces)
        if len(times) > 1 and (took := times[-1] - times[0]) > 0.3:
            spans.append(took)
            with_stamp = [at for at, piece in pieces if STAMP.search(piece)]
            shown_over = with_stamp[-1] - with_stamp[0]
            assert shown_over > took / 2, (
                f"cell {index}: {took:.1f} s shown in {shown_over:.1f}"
            )
    assert spans, "no cell shows a stream that takes longer than 0.3 s"


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
            with listen(f"{server.url}/sse") as stream:
                stream.show(2)
        assert threading.active_count() <= before + 1  # `running` reads what the server prints
    assert raised == []
