"""`workshop publish`: starters, carried files and snippets of a course in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.course import Course
from workshop.publishing.difference import PublishError
from workshop.publishing.publish import publish
from workshop.publishing.snippets import snippet
from workshop.publishing.starters import solution_text, starter_text

SOLUTION = '''"""An exercise."""


class Sum:
    def of(self, a: int, b: int) -> int:
        # TODO 1: Add the two.
        # Numbers only.
        # --- solution
        return a + b
        # --- starter
        # if a:
        #     return 0
        #
        # return 0
        # --- end


# TODO 2: A greeting.
# --- solution
GREETING = "hello"
# --- end
'''
STARTER = '''"""An exercise."""


class Sum:
    def of(self, a: int, b: int) -> int:
        # TODO 1: Add the two.
        # Numbers only.
        if a:
            return 0

        return 0


# TODO 2: A greeting.
'''
PROGRAM = '''"""A program."""
import sys

LIMIT = 5
FOLDED = True

# Why it is here:
# because.
@staticmethod
def first() -> int:
    return LIMIT


class Greeter:
    """Greets."""

    # Loudly.
    @property
    def name(self) -> str:
        """

        A text with an empty line.
        """
        return "x"

    def other(self) -> None: ...


def make():
    async def inner():
        return 1
    return inner


if sys.version_info > (3,):
    OLD = False
else:
    OLD = True
'''
TEXT = """# A lesson

Kept  to the byte.\t
1. In a list:

   ```python scripts/01_one/program.py::Greeter.name
   ```

```python
free = True
```

~~~~python scripts/01_one/program.py::LIMIT
~~~~
````text
```python scripts/01_one/program.py::first
not a snippet: shown as it is
```
````
<details><summary>How ours does it</summary>

```python scripts/01_one/program.py::FOLDED
```

</details>
The end, without a newline"""


def table(slug: str, more: str = "") -> str:
    return (
        f'[[lesson]]\nslug = "{slug}"\ntitle = "T"\nminutes = 1\nera = "E"\nsummary = "S"\n'
        f"{more}\n"
    )


@pytest.fixture
def course(tmp_path: Path) -> Course:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")

    write(
        "lessons/lessons.toml",
        table("01_one")
        + table("02_two", 'carries = ["01_one/program.py", "01_one/page.css to page"]'),
    )
    write("lessons/01_one.md", TEXT)
    write("scripts/01_one/program.py", PROGRAM)
    write("scripts/01_one/page.css", "p { color: red }\n")
    write("solutions/01_one/exercise.py", SOLUTION)
    write("solutions/02_two/exercise.py", "import program\n" + SOLUTION)
    course = Course.load(tmp_path, tmp_path / "work")
    assert all(difference.curable for difference in publish(course, None, compare=False))
    assert publish(course, None, compare=True) == []
    return course


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")


def test_a_starter_has_the_starter_lines_in_place_of_the_solution() -> None:
    assert starter_text(SOLUTION, "x") == STARTER


def test_a_starter_for_a_learner_who_comes_late_has_the_first_todos_done() -> None:
    source = SOLUTION + (
        "# (TODO 1) More of it.\n"
        "# --- solution\nMORE = 1\n# --- starter\n# MORE = 0\n# --- end\n"
        "# --- solution\nYET = 1\n# --- end\n"
    )
    unsolved = "        if a:\n            return 0\n\n        return 0\n"
    assert starter_text(source, "x", 2) == (
        STARTER.replace(unsolved, "        return a + b\n")
        + "# (TODO 1) More of it.\nMORE = 1\nYET = 1\n"
    )
    assert starter_text(source, "x", 1) == STARTER + "# (TODO 1) More of it.\nMORE = 0\n"
    assert starter_text(source, "x", 3) == solution_text(source)


def test_a_clean_solution_has_no_marks_and_no_starter_lines() -> None:
    assert solution_text(SOLUTION) == (
        SOLUTION.replace("        # --- solution\n", "")
        .replace("# --- solution\n", "")
        .partition("        # --- starter")[0]
        + '\n\n# TODO 2: A greeting.\nGREETING = "hello"\n'
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("# TODO 1: a\n# --- solution\nx = 1\n", "line 2: .* never closed"),
        ("# TODO 1: a\n# --- solution\n# --- starter\n# x\n", "line 2: .* never closed"),
        (
            "# TODO 1: a\n# --- solution\n# --- solution\n# --- end\n",
            "line 3: .* line 2 opened",
        ),
        (
            "# TODO 1: a\n# --- solution\n# --- starter\n# --- starter\n# --- end\n",
            "line 4: .*line 2 opened",
        ),
        ("# TODO 1: a\n# --- starter\n# x\n# --- end\n", "line 2: .* without"),
        ("# TODO 1: a\n# --- end\n", "line 2: .* without"),
        ("# TODO 1: a\n# --- solutoin\n# --- end\n", "line 2: unknown mark .*solutoin"),
        ("# --- solution\n# --- end\n", "line 1: there is no `# TODO 1"),
        ("# TODO 2: a\n# --- solution\n# --- end\n", "TODO 2 is where TODO 1"),
        (
            "# TODO 1: a\n# --- solution\n# --- end\n# TODO 1: a\n# --- solution\n# --- end\n",
            "line 4: TODO 1 is where TODO 2",
        ),
        ("# TODO 1: a\n# TODO 2: b\n# --- solution\n# --- end\n", "TODO 1 above has no"),
        ("# TODO 1: a\n", "TODO 1 has no"),
        ("x = 1\n", "there is no `# TODO 1"),
        ("# TODO: a\n# --- solution\n# --- end\n", "line 1: a TODO reads"),
        ("# TODO 1: a\n# --- solution\n# TODO 2: b\n# --- end\n", "line 3: a TODO inside"),
        ("# (TODO 1) b\n# --- solution\n# --- end\n", "line 1: there is no `# TODO 1: …`"),
        ("# TODO 1: a\n# (TODO 2) b\n# --- solution\n# --- end\n", "line 2: there is no"),
        ("# TODO 1: a\n# --- solution\n# --- starter\nx\n# --- end\n", 'line 4: .* "# "'),
        ("# TODO 1: a\nif 1:\n    # --- solution\n    pass\n    # --- end\n", "not Python"),
    ],
)
def test_malformed_marks_are_errors_that_say_where(source: str, message: str) -> None:
    with pytest.raises(PublishError, match=f"^exercise.py.*{message}"):
        starter_text(source, "exercise.py")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LIMIT", "LIMIT = 5\n"),
        (
            "first",
            "# Why it is here:\n# because.\n@staticmethod\ndef first() -> int:\n"
            "    return LIMIT\n",
        ),
        (
            "Greeter.name",
            "# Loudly.\n@property\ndef name(self) -> str:\n"
            '    """\n\n    A text with an empty line.\n    """\n    return "x"\n',
        ),
        ("make.inner", "async def inner():\n    return 1\n"),
    ],
)
def test_a_snippet_is_the_definition_with_all_that_belongs_to_it(
    course: Course, name: str, expected: str
) -> None:
    assert snippet(f"scripts/01_one/program.py::{name}", course.root) == expected


def test_a_snippet_without_a_name_is_the_whole_file_and_a_solution_is_clean(
    course: Course,
) -> None:
    assert snippet("scripts/01_one/program.py", course.root) == PROGRAM
    assert "# ---" not in snippet("solutions/01_one/exercise.py", course.root)
    assert "return a + b" in snippet("solutions/01_one/exercise.py::Sum.of", course.root)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("scripts/01_one/program.py::frist", "defines no frist. Did you mean first?"),
        ("scripts/01_one/program.py::name", "Did you mean Greeter.name?"),
        ("scripts/01_one/program.py::zzz", "It defines LIMIT, FOLDED, first, Greeter"),
        ("scripts/01_one/program.py::OLD", "more than once, in lines"),
        ("scripts/01_one/progam.py", "Did you mean scripts/01_one/program.py?"),
        ("scripts/01_one/../../../outside.py", "There is no file"),
        ("lessons/01_one.md::x", "is not Python"),
    ],
)
def test_a_snippet_of_nothing_says_what_is_near(
    course: Course, target: str, message: str
) -> None:
    with pytest.raises(PublishError) as caught:
        snippet(target, course.root)
    assert message in str(caught.value)


def test_snippets_are_filled_in_and_all_else_stays_to_the_byte(course: Course) -> None:
    text = course.lesson("1").text.read_text(encoding="utf-8")
    name = snippet("scripts/01_one/program.py::Greeter.name", course.root)
    indented = "".join(f"   {line}" if line.strip() else line for line in name.splitlines(True))
    assert text == TEXT.replace("Greeter.name\n", f"Greeter.name\n{indented}").replace(
        "::LIMIT\n", "::LIMIT\nLIMIT = 5\n"
    ).replace("::FOLDED\n", "::FOLDED\nFOLDED = True\n")


def test_line_ends_of_a_lesson_stay_as_they_are(course: Course) -> None:
    path = course.lesson("1").text
    path.write_text(TEXT.replace("\n", "\r\n"), encoding="utf-8", newline="")
    publish(course, None, compare=False)
    assert b"LIMIT\r\nLIMIT = 5\r\n~~~~" in path.read_bytes()
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")


@pytest.mark.parametrize(
    ("changed", "old", "new", "paths"),
    [
        (
            "scripts/01_one/program.py",
            "LIMIT = 5",
            "LIMIT = 6",
            ["lessons/01_one.md", "scripts/02_two/program.py", "solutions/02_two/program.py"],
        ),
        (
            "scripts/02_two/program.py",
            "LIMIT = 5",
            "LIMIT = 6",
            ["scripts/02_two/program.py"],
        ),
        ("scripts/01_one/page.css", "red", "blue", ["scripts/02_two/page/page.css"]),
        ("lessons/01_one.md", "LIMIT = 5", "LIMIT = 7", ["lessons/01_one.md"]),
        ("scripts/01_one/exercise.py", "if a:", "if b:", ["scripts/01_one/exercise.py"]),
        ("solutions/01_one/exercise.py", "# if a:", "# if b:", ["scripts/01_one/exercise.py"]),
    ],
)
def test_a_change_fails_the_comparison_and_publish_cures_it(
    course: Course, changed: str, old: str, new: str, paths: list[str]
) -> None:
    edit(course.root / changed, old, new)
    found = publish(course, None, compare=True)
    assert sorted(difference.path for difference in found) == sorted(paths)
    assert all(difference.curable and difference.diff for difference in found)
    assert publish(course, None, compare=True) == found  # comparing writes nothing
    assert publish(course, None, compare=False) == found
    assert publish(course, None, compare=True) == []


def test_what_a_solution_imports_is_copied_with_what_that_imports(course: Course) -> None:
    scripts = course.root / "scripts"
    edit(scripts / "01_one/program.py", "import sys\n", "import deeper\nimport sys\n")
    (scripts / "01_one/deeper.py").write_text("DEEP = True\n", encoding="utf-8")
    (scripts / "02_two/own.py").write_text("OWN = True\n", encoding="utf-8")
    edit(course.root / "solutions/02_two/exercise.py", "import program", "import own, program")
    edit(
        course.root / "lessons/lessons.toml",
        '["01_one/program.py", ',
        '["01_one/program.py", "01_one/deeper.py", ',
    )
    course = Course.load(course.root, course.work_root)
    publish(course, None, compare=False)
    for folder in ("scripts", "solutions"):
        copied = {path.name for path in (course.root / folder / "02_two").glob("*.py")}
        assert copied == {"exercise.py", "program.py", "deeper.py", "own.py"}
    edit(course.root / "solutions/02_two/own.py", "True", "False")
    (found,) = publish(course, None, compare=True)
    assert found.path == "solutions/02_two/own.py"


def test_a_changed_solution_line_leaves_the_starter_alone(course: Course) -> None:
    edit(course.root / "solutions/01_one/exercise.py", "return a + b", "return b + a")
    assert publish(course, None, compare=True) == []


def test_only_the_lessons_asked_for_are_looked_at(course: Course) -> None:
    edit(course.root / "scripts/01_one/program.py", "LIMIT = 5", "LIMIT = 6")
    found = publish(course, [course.lesson("2")], compare=True)
    assert {difference.path.split("/")[1] for difference in found} == {"02_two"}


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("solutions/01_one/exercise.py", "# --- end", "# --- ned", "unknown mark"),
        ("lessons/01_one.md", "::LIMIT", "::LIMTI", "Did you mean LIMIT?"),
        ("lessons/01_one.md", "~~~~\n````text", "````text", "never closed"),
        ("lessons/01_one.md", "~~~~python", "> ~~~~python", "outside a quotation"),
        ("lessons/01_one.md", "</summary>\n\n", "</summary>\n", "leave an empty line"),
        ("scripts/01_one/program.py", "LIMIT = 5", 'LIMIT = """\n~~~~"""', "longer fence"),
        ("lessons/lessons.toml", "program.py", "missing.py", "no scripts/01_one/missing.py"),
    ],
)
def test_what_no_source_can_make_is_said_and_never_written(
    course: Course, path: str, old: str, new: str, message: str
) -> None:
    edit(course.root / path, old, new)
    course = Course.load(course.root, course.work_root)
    before = course.lesson("1").text.read_bytes()
    found = [d for d in publish(course, None, compare=False) if not d.curable]
    assert [message in difference.diff for difference in found] == [True], found
    assert course.lesson("1").text.read_bytes() == before
