"""How a notebook and the README's tables are made, and what a notebook's cells do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import nbformat
import pytest

from workshop import notebook
from workshop.course import Course
from workshop.listening import listen, post, show_stream
from workshop.publishing.publish import publish

SOURCE = """# %% [markdown]
# # A lesson
#
# ```python scripts/01_one/program.py::second
# ```
#
# <details><summary>How ours does it</summary>
#
# ```python scripts/01_one/program.py::second
# ```
#
# </details>

# %%
# scripts/01_one/program.py::first

# %%
import time

# %% exercise

# %% tags=["raises-exception"]
1 / 0
"""
STARTER = "# TODO 1: Write it.\n"
SOLUTION = "# TODO 1: Write it.\n# --- solution\nx = 1\n# --- end\n"


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    files = {
        "lessons/lessons.toml": '[[lesson]]\nslug = "01_one"\ntitle = "A | B"\nminutes = 7\n'
        'era = "SSE"\nsummary = "All of it."\n'
        '[lesson.ports]\n5000 = ["a.py", "b/c.py"]\n5001 = ["d.py"]\n',
        "scripts/01_one/program.py": "def first():\n    return 1\n\n\ndef second(): ...\n",
        "solutions/01_one/exercise.py": SOLUTION,
        "notebooks/source/01_one.py": SOURCE,
        "README.md": "# Course\n\n<!-- lessons -->\nold\n<!-- /lessons -->\n"
        "<!-- ports -->\n<!-- /ports -->\nEnd\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    course = Course.load(tmp_path, tmp_path / "work")
    assert all(one.curable for one in publish(course, None, compare=False))
    assert publish(course, None, compare=True) == []
    monkeypatch.setattr(notebook, "Course", SimpleNamespace(load=lambda: course))
    return course


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_cells_are_filled_from_the_files_they_name(course: Course) -> None:
    path = course.lesson("1").notebook
    made = nbformat.read(path, as_version=4)
    nbformat.validate(made)
    assert [cell.source for cell in made.cells] == [
        "# A lesson\n\n```python\ndef second(): ...\n```\n\n"
        "<details><summary>How ours does it</summary>\n\n"
        "```python\ndef second(): ...\n```\n\n</details>",
        "# scripts/01_one/program.py::first\ndef first():\n    return 1",
        "import time",
        "%%exercise 01\n# TODO 1: Write it.",
        "1 / 0",
    ]
    assert [cell.id for cell in made.cells] == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    assert made.cells[4].metadata == {"tags": ["raises-exception"]}
    assert made.metadata.kernelspec.name == "python3"
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("scripts/01_one/program.py", "return 1", "return 2"),
        ("scripts/01_one/program.py", "def second()", "def second(a)"),
        ("notebooks/source/01_one.py", "import time", "import sys"),
        ("notebooks/01_one.ipynb", '"outputs": []', '"outputs": [1]'),
        ("solutions/01_one/exercise.py", "Write it", "Write them"),
    ],
)
def test_a_change_of_a_source_or_of_the_notebook_fails_the_comparison(
    course: Course, path: str, old: str, new: str
) -> None:
    edit(course.root / path, old, new)
    found = publish(course, None, compare=True)
    assert "notebooks/01_one.ipynb" in [one.path for one in found]
    publish(course, None, compare=False)
    assert publish(course, None, compare=True) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("::first\n", "::frist\n", "Did you mean first?"),
        ("::first\n", "::first\nprint()\n", "to a separate cell"),
        (
            "# ```python scripts/01_one/program.py::second\n# ```\n#\n",
            "# ```python scripts/01_one/program.py::secnd\n# ```\n#\n",
            "Did you mean second?",
        ),
        ("# %% exercise\n", "# %% exercise\nx = 1\n", "must be empty"),
    ],
)
def test_a_source_that_makes_no_notebook_is_said(
    course: Course, old: str, new: str, message: str
) -> None:
    edit(course.root / "notebooks/source/01_one.py", old, new)
    (found,) = publish(course, None, compare=False)
    assert not found.curable
    assert message in found.diff


def test_the_readme_has_its_tables_and_nothing_else_changes(course: Course) -> None:
    assert (course.root / "README.md").read_text(encoding="utf-8") == (
        "# Course\n\n<!-- lessons -->\n"
        "| | Lesson | What you do | Era | Minutes |\n|---|---|---|---|---:|\n"
        "| 01 | [A \\| B](lessons/01_one.md) ([notebook](notebooks/01_one.ipynb)) "
        "| All of it. | SSE | 7 |\n"
        "<!-- /lessons -->\n<!-- ports -->\n"
        "| Port | Lesson | Servers |\n|---:|---|---|\n"
        "| 5000 | 01 | `a.py`, `b/c.py` |\n| 5001 | 01 | `d.py` |\n"
        "<!-- /ports -->\nEnd\n"
    )
    edit(course.root / "lessons/lessons.toml", "minutes = 7", "minutes = 8")
    course = Course.load(course.root, course.work_root)
    assert [one.path for one in publish(course, None, compare=True)] == ["README.md"]
    edit(course.root / "README.md", "<!-- /lessons -->", "")
    (found,) = publish(course, None, compare=False)
    assert not found.curable


def test_the_exercises_cell_writes_the_learners_file(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    work = course.lesson("1").work

    def backups() -> list[str]:
        return sorted(path.read_text() for path in work.parent.glob("*backup*"))

    notebook.exercise("01", STARTER)
    assert work.read_text() == STARTER
    notebook.exercise("01", "x = 1")
    notebook.exercise("01", "x = 2\n\n")  # what the cell itself wrote needs no copy
    assert (work.read_text(), backups()) == ("x = 2\n", [])

    notebook.exercise("01", STARTER)
    assert work.read_text() == "x = 2\n"
    assert "Your file stays as it is" in capsys.readouterr().out

    work.write_text("by hand\n")
    notebook.exercise("01", "x = 3")
    assert (work.read_text(), backups()) == ("x = 3\n", ["by hand\n"])
    assert "kept as exercise.backup.py" in capsys.readouterr().out


def test_the_exercises_cell_says_what_is_wrong(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.exercise("09", "x = 1")
    assert "There is no lesson '09'" in capsys.readouterr().out
    notebook.exercise("01", "x = 1\nif")
    assert "Python can't read it yet" in capsys.readouterr().out
    assert course.lesson("1").work.read_text() == "x = 1\nif\n"


def test_a_check_without_a_file_asks_for_the_exercises_cell(course: Course) -> None:
    checked = notebook.check("01")
    assert not checked.ok
    assert "run the exercise cell first" in repr(checked)


@pytest.fixture
def held() -> Iterator[tuple[str, Event]]:
    """A server that sends one event, waits for the test's word, and sends another."""
    go_on = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            euro = "€".encode()
            self.wfile.write(b"data: 1 " + euro[:1])
            self.wfile.flush()
            self.wfile.write(euro[1:] + b"\n\n")
            go_on.wait(10)
            self.wfile.write(b"data: 2\n\n")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stream?x=1", go_on
    go_on.set()
    server.shutdown()
    server.server_close()


def test_a_stream_is_shown_while_it_arrives(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    url, go_on = held
    with listen(url) as stream:
        stream.show(1, seconds=5)
        shown = capsys.readouterr().out
        assert "GET /stream?x=1 -> 200, text/event-stream" in shown
        assert "data: 1" in shown  # and the second event was not yet sent
        assert "data: 2" not in shown
        go_on.set()
        stream.show(2, seconds=5)
        assert "data: 2" in (shown := capsys.readouterr().out)
        assert "(the stream ended)" in shown
        assert stream.text == "data: 1 €\n\ndata: 2\n\n"


def test_waiting_for_more_than_comes_has_an_end(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    show_stream(held[0], events=2, seconds=0.3)
    assert "(Nothing more came within 0.3 s.)" in capsys.readouterr().out


def test_post_shows_the_answer_and_returns_its_body(
    held: tuple[str, Event], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(post(held[0], {"a": "b"})) == {"a": "b"}
    assert "POST /stream?x=1 -> 202" in capsys.readouterr().out
