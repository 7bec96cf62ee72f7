"""How a notebook and the README's tables are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from workshop.course import Course
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

# %% todo 1

# %% todo 2

# %% tags=["raises-exception"]
1 / 0
"""
SOLUTION = """def one():
    "One."
    # TODO 1: Write it.
    # --- solution
    return 1
    # --- end


class Two:
    def two(self):
        "Two."
        # TODO 2: Write it, too.
        # --- solution
        return 2
        # --- end
"""


@pytest.fixture
def course(tmp_path: Path) -> Course:
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
    return course


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_cells_are_filled_from_the_files_they_name(course: Course) -> None:
    path = course.lesson("1").notebook
    made: Any = nbformat.read(path, as_version=4)
    nbformat.validate(made)
    assert [cell.source for cell in made.cells] == [
        "# A lesson\n\n```python\ndef second(): ...\n```\n\n"
        "<details><summary>How ours does it</summary>\n\n"
        "```python\ndef second(): ...\n```\n\n</details>",
        "# scripts/01_one/program.py::first\ndef first():\n    return 1",
        "import time",
        '%%todo 01 1\ndef one():\n    "One."\n    # TODO 1: Write it.',
        "%%todo 01 2\nclass Two:  # all the rest of it is in your file\n    def two(self):\n"
        '        "Two."\n        # TODO 2: Write it, too.',
        "1 / 0",
    ]
    assert [cell.id for cell in made.cells] == [f"01-0{number}" for number in range(1, 7)]
    assert made.cells[5].metadata == {"tags": ["raises-exception"]}
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
        ("solutions/01_one/exercise.py", "Write it.", "Write them."),
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
        ("# %% todo 1\n", "# %% todo 1\nx = 1\n", "must be empty"),
        ("# %% todo 2\n", "# %% todo 3\n", "has no TODO 3"),
        ("# %% todo 1\n", "# %% [markdown]\n", "in this order: 1, 2"),
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
