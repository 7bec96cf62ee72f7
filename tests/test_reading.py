"""`workshop read`: every lesson as text, and the keys in a real terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from tests import mini_course
from tests.parts import require
from tests.test_file_changes import Terminal
from workshop import cli
from workshop.course import ROOT, Course, Lesson
from workshop.publishing.glossary import glossary_path
from workshop.publishing.markdown import fences
from workshop.reading.diagrams import drawn
from workshop.reading.pager import FINISHED, place_in, remember
from workshop.reading.sections import find_section, sections_of

COURSE = Course.load()
every_lesson = pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda one: one.slug)

DIAGRAMS = [
    pytest.param(fence.body, id=f"{path.stem}-{fence.line}")
    for path in (ROOT / "README.md", *(lesson.text for lesson in COURSE.lessons))
    for fence in fences(path.read_text(encoding="utf-8"), path.name)
    if fence.info == "mermaid"
]

TEXT = """# Lesson 01: A greeting

Say `hello`, [as they do](https://example.com/hello) or [here](../README.md).
[A picture](diagrams/01.svg).

<!-- for authors -->

## Run it

```console terminal=server
$ uv run scripts/01_greeting/greet.py \\
  --to "a name that is so long that this line has more than eighty columns in it"
hello
```

```mermaid
sequenceDiagram
    A->>B: hello
```

> **Stop: do TODO 1** (5 minutes). `uv run workshop check 01`

<details><summary>What ends <code>data: a</code>?</summary>

A blank line.

```python
EVENT = b"data: a\\n\\n"
```

</details>

<details><summary>And the stream?</summary>

Its end.

</details>

## Test yourself

The last words.
"""


def read(*words: str, work: Path) -> Result:
    """`workshop read WORDS…`, as if its output went into a pipe."""
    env = {"WORKSHOP_WORK": str(work), "COLUMNS": "80"}
    return CliRunner().invoke(cli.app, ["read", *words], env=env)


# --- as text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", DIAGRAMS)
def test_every_diagram_is_drawn_and_nothing_of_it_is_lost(source: str) -> None:
    for width in (80, 100):
        lines = drawn(source, width)
        assert all(cell_len(line) <= width for line in lines), "\n".join(lines)
        seen = re.sub(r"[^\w]", "", "\n".join(lines))
        said = r"as (.+)|: (.+)|loop (.+)"  # in a sequence, and in a flowchart:
        in_shapes = r"[\[{(|\"]([^\[\](){}|\"\n]+)[\]})|\"]"
        patterns = said if "sequenceDiagram" in source else in_shapes
        labels = ["".join(match.groups("")) for match in re.finditer(patterns, source)]
        assert len(labels) > 4
        for label in labels:
            for word in re.findall(r"\w+", label.replace("<br>", " ")):
                assert word in seen, f"{word!r} of {label!r} is not in\n" + "\n".join(lines)


def test_a_diagram_that_fits_goes_from_left_to_right_and_is_turned_otherwise() -> None:
    source = "flowchart LR\n    A[one] --> B[two] --> C[three]\n"
    assert any("one" in line and "three" in line for line in drawn(source, 80))
    assert max(map(cell_len, drawn(source, 20))) <= 20
    assert "three" in "\n".join(drawn(source, 1))


@every_lesson
def test_a_lesson_in_a_pipe_has_every_command_whole(lesson: Lesson, tmp_path: Path) -> None:
    run = read(lesson.number, "--answers", work=tmp_path)
    assert run.exit_code == 0 and run.stderr == "", run.stderr
    assert "\x1b" not in run.stdout and "\ue000" not in run.stdout
    lines = run.stdout.splitlines()
    assert lines == [line.rstrip() for line in lines]
    text = lesson.text.read_text(encoding="utf-8")
    for section in sections_of(text):
        assert section.heading in lines
    commands = 0
    blocks = fences(text, lesson.slug)
    for block in blocks:
        if block.info.split()[:1] == ["console"]:
            for typed in re.findall(r"^\$ (.*(?:\\\n.*)*)", block.body, re.MULTILINE):
                commands += 1
                assert f"\n{typed}\n" in run.stdout
    assert commands
    # What is wider than a screen is from a block.
    inside = {line.strip() for block in blocks for line in block.body.splitlines()}
    wide = [line for line in lines if cell_len(line) > 80 and not line.startswith("scripts/")]
    assert {line.strip().removeprefix("$ ") for line in wide} <= inside | {
        line.removeprefix("$ ") for line in inside
    }
    assert not (tmp_path / "progress.json").exists(), "a pipe is not a reader"


@every_lesson
def test_answers_are_folded_until_they_are_asked_for(lesson: Lesson, tmp_path: Path) -> None:
    section = sections_of(lesson.text.read_text(encoding="utf-8"))[-1]
    assert section.heading == "Test yourself" and len(section.answers) == 3
    folded = read(lesson.number, "--section", "Test yourself", work=tmp_path).stdout
    assert folded.count("▸ ") == 3
    opened = read(
        lesson.number, "--section", "Test yourself", "--answers", work=tmp_path
    ).stdout
    assert "▸ " not in opened
    for question in section.answers:
        words = question.answer[0].text.split()[:4]
        assert " ".join(words) in " ".join(opened.split())
        assert " ".join(words) not in " ".join(folded.split())


def test_the_parts_of_a_section(tmp_path: Path) -> None:
    course = mini_course.build(tmp_path)
    lesson = course.lesson("1")
    lesson.text.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "tests.mini_course", str(tmp_path), "read", "1"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
    )
    title = "Lesson 01: A greeting"
    assert run.stdout.startswith(
        f"{title}\n{'─' * len(title)}\n\n"
        "Say `hello`, as they do (https://example.com/hello) or here. A picture\n"
        "(lessons/diagrams/01.svg).\n\n"
        "Run it\n──────\n\n"
        "In the terminal “server”:\n"
        "uv run scripts/01_greeting/greet.py \\\n"
        '  --to "a name that is so long that this line has more than eighty columns in it"\n'
        "    hello\n\n"
    )
    assert "\n▸ What ends `data: a`?\n" in run.stdout
    assert "A blank line." not in run.stdout and "EVENT" not in run.stdout


def test_sections_are_found_by_number_and_by_heading() -> None:
    sections = sections_of("# Title\n\n## Your own server\n\n## The server\n\n## Key terms\n")
    assert find_section(sections, "1") == 0 and find_section(sections, "4") == 3
    assert find_section(sections, "0") is None and find_section(sections, "5") is None
    assert find_section(sections, "the server") == 2
    assert find_section(sections, "your") == 1 and find_section(sections, "terms") == 3
    assert find_section(sections, "nothing") is None and find_section(sections, "") is None


def test_the_list_of_sections_has_their_minutes_and_the_readers_place(tmp_path: Path) -> None:
    course = Course.load(work_root=tmp_path)
    remember(course, course.lesson("5"), "The stream")
    shown = read("5", "--list", work=tmp_path).stdout
    assert re.search(r"^>  4 +2 min  The stream$", shown, re.MULTILINE)
    assert all(heading in shown for heading in course.lesson("5").sections)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    run = read("5", "--section", "nothing", work=tmp_path)
    assert run.exit_code == 2 and "uv run workshop read 05 --list" in run.stderr
    assert read("99", work=tmp_path).exit_code == 2


def test_the_glossary_whole_and_one_term_of_it(tmp_path: Path) -> None:
    terms = re.findall(r"^- \*\*(.+?)\*\*", glossary_path(COURSE).read_text("utf-8"), re.M)
    whole = read("glossary", work=tmp_path).stdout
    assert all(term in " ".join(whole.split()) for term in terms)
    one = read("glossary", "--section", "heartbeat", work=tmp_path).stdout
    assert "Heartbeat: a comment" in one and one.count(" • ") == 1
    run = read("glossary", "--section", "nothing", work=tmp_path)
    assert run.exit_code == 2 and "no term 'nothing'" in run.stderr


# --- where the reader was --------------------------------------------------------------------


def test_without_a_lesson_it_goes_on_where_the_reader_stopped(tmp_path: Path) -> None:
    course = Course.load(work_root=tmp_path)
    assert read(work=tmp_path).stdout.startswith("Lesson 01")
    remember(course, course.lesson("3"), "The page")
    remember(course, course.lesson("2"), "Run it")
    assert read(work=tmp_path).stdout.startswith("Lesson 02")
    remember(course, course.lesson("2"), FINISHED)
    assert read(work=tmp_path).stdout.startswith("Lesson 03")
    remember(course, course.lessons[-1], FINISHED)
    run = read(work=tmp_path)
    assert run.exit_code == 2 and "You have read the last lesson" in run.stderr


# --- in a terminal ---------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Course:
    course = mini_course.build(tmp_path / "course")
    course.lesson("1").text.write_text(TEXT, encoding="utf-8")
    return course


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens `workshop WORDS…` of the mini course in a window of tmux."""
    tmux, socket = require("tmux"), tmp_path / "tmux"
    opened: list[Terminal] = []

    def open_terminal(*words: str) -> Terminal:
        command = [sys.executable, "-m", "tests.mini_course", str(tmp_path / "course"), *words]
        # `stty` before and after says whether the terminal is as it was.
        script = f'trap : INT; stty -g > {tmp_path}/before; "$@"; echo "left with $?"'
        script += f"; stty -g > {tmp_path}/after; echo as before"
        opened.append(Terminal(tmux, socket, ["sh", "-c", script, "sh", *command]))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one("kill-server")


@pytest.fixture
def as_it_was(tmp_path: Path) -> Callable[[Terminal], str]:
    """What the screen shows when the command has ended: the terminal is as it was before."""

    def after(screen: Terminal) -> str:
        shown = screen.until(lambda text: "as before" in text)
        assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
        return shown

    return after


def press(screen: Terminal, *keys: str) -> None:
    screen("send-keys", "-t", "watch", *keys)


def test_enter_goes_on_b_goes_back_a_answers_and_q_quits(
    terminal: Callable[..., Terminal], course: Course, as_it_was: Callable[[Terminal], str]
) -> None:
    lesson = course.lesson("1")
    screen = terminal("read", "1")
    screen.until(lambda text: "01, 1 of 3    Enter next · b back · q quit" in text)
    press(screen, "Enter")
    shown = screen.until(lambda text: "01, 2 of 3    Enter" in text)
    assert shown.count("1 of 3") == 0, "the line with the keys goes when a key was pressed"
    if "Enter more" in shown:
        press(screen, "Space")
    shown = screen.until(lambda text: "Enter next · b back · a answer" in text)
    assert "A blank line." not in shown
    press(screen, "a")
    shown = screen.until(lambda text: "A blank line." in text and "EVENT" in text)
    assert "Its end." not in shown, "one answer at a time"
    press(screen, "a")
    shown = screen.until(lambda text: "Its end." in text and "Enter next · b back · q" in text)
    press(screen, "x", "Up", "Enter")  # the first two mean nothing
    screen.until(lambda text: "The last words." in text and "3 of 3    Enter end" in text)
    press(screen, "b")
    screen.until(lambda text: "2 of 3" in text)
    assert place_in(course, lesson) == "Run it"
    press(screen, "q")
    shown = as_it_was(screen)
    assert "left with 0" in shown and "uv run workshop read" in shown


def test_it_continues_there_and_the_end_is_remembered(
    terminal: Callable[..., Terminal], course: Course, as_it_was: Callable[[Terminal], str]
) -> None:
    remember(course, course.lesson("1"), "Test yourself")
    screen = terminal("read")
    screen.until(lambda text: "3 of 3    Enter end" in text)
    press(screen, "Enter")
    shown = as_it_was(screen)
    assert "That was lesson 01." in shown
    assert place_in(course, course.lesson("1")) == FINISHED


@pytest.mark.parametrize(("how", "status"), [("C-c", 130), ("TERM", 143)])
def test_interrupting_leaves_the_terminal_as_it_was(
    how: str,
    status: int,
    terminal: Callable[..., Terminal],
    course: Course,
    as_it_was: Callable[[Terminal], str],
) -> None:
    screen = terminal("read", "1")
    screen.until(lambda text: "1 of 3" in text)
    if how == "TERM":
        shell = psutil.Process(int(screen("display", "-p", "-t", "watch", "#{pane_pid}")))
        (reader,) = [one for one in shell.children(recursive=True) if "python" in one.name()]
        reader.terminate()
    else:
        press(screen, how)
    shown = as_it_was(screen)
    assert f"left with {status}" in shown and "Traceback" not in shown


def test_more_than_a_screen_comes_in_screenfuls(
    terminal: Callable[..., Terminal], course: Course
) -> None:
    lines = "\n\n".join(f"Paragraph {number}." for number in range(15))
    course.lesson("1").text.write_text(f"# Long\n\n{lines}\n", encoding="utf-8")
    screen = terminal("read", "1")
    shown = screen.until(lambda text: "Enter more" in text)
    # Nothing has scrolled away before it was read.
    assert "Long" in shown and "Paragraph 0." in shown and "Paragraph 14." not in shown
    press(screen, "Space")
    shown = screen.until(lambda text: "Enter end" in text)
    assert "Paragraph 14." in shown
