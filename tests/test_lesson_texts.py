"""Every lesson's text has the same shape, and its minutes are those of the manifest."""

from __future__ import annotations

import re
from functools import cache

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from workshop.checks.gallery import load_gallery
from workshop.course import ROOT, Course, Lesson

every_lesson = pytest.mark.parametrize(
    "lesson", Course.load().lessons, ids=lambda lesson: lesson.slug
)

STOP = re.compile(r"> \*\*Stop: do TODO (\d+)\*\* \((\d+) minutes?\)\. \S.*")
MOST_WORDS = 2_500  # of prose before the last TODO


@cache
def tokens(lesson: Lesson) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(lesson.text.read_text("utf-8"))


def sections(lesson: Lesson) -> list[str]:
    """The text's `## ` headings."""
    parsed = tokens(lesson)
    return [
        parsed[at + 1].content
        for at, token in enumerate(parsed)
        if token.type == "heading_open" and token.tag == "h2"
    ]


def prose(lesson: Lesson) -> list[str]:
    """The text's lines, with empty ones in place of code blocks and of what is folded."""
    lines = lesson.text.read_text("utf-8").splitlines()
    for token in tokens(lesson):
        if token.type == "fence" and token.map:
            for number in range(*token.map):
                lines[number] = ""
    folded = False
    for number, line in enumerate(lines):
        folded = folded or line.startswith("<details>")
        if folded:
            folded = not line.endswith("</details>")
            lines[number] = ""
    assert not folded, "a <details> is never closed"
    return lines


def section(lesson: Lesson, heading: str) -> list[str]:
    """The lines below this `## ` heading, as they are."""
    text = lesson.text.read_text("utf-8")
    below = text.partition(f"\n## {heading}\n")[2]
    return below.partition("\n## ")[0].splitlines()


@every_lesson
def test_the_minutes_are_those_of_its_sections_and_todos(lesson: Lesson) -> None:
    headings = sections(lesson)
    first_appendix = next(
        (at for at, heading in enumerate(headings) if heading.startswith("Appendix")),
        len(headings),
    )
    core, rest = headings[:first_appendix], headings[first_appendix:]
    closing = [heading for heading in rest if not heading.startswith("Appendix")]
    # What closes a lesson may come after the appendices, and may then cost nothing.
    assert list(lesson.sections) in (core, core + closing)
    assert list(lesson.todos) == [
        todo.number for todo in load_gallery(lesson.exercise_toml).todos
    ]
    assert lesson.minutes == lesson.measured_minutes
    (time,) = re.findall(
        r"(?m)^- \*\*Time:\*\* (\d+) minutes\b", lesson.text.read_text("utf-8")
    )
    assert int(time) == lesson.minutes


@every_lesson
def test_every_todo_has_its_stop_line_where_it_is_taught(lesson: Lesson) -> None:
    lines = prose(lesson)
    stops = [n for n, line in enumerate(lines) if re.search(r"^> \*\*Stop|Stop: do", line)]
    minutes: list[tuple[int, int]] = []
    for number in stops:
        found = STOP.fullmatch(lines[number])
        assert found, f"line {number + 1}: not as the others are: {lines[number]}"
        minutes.append((int(found[1]), int(found[2])))
        after = next(at for at in range(number, len(lines)) if not lines[at].startswith(">"))
        quoted = " ".join(line.removeprefix(">").strip() for line in lines[number:after])
        assert f"workshop check {lesson.number}" in quoted, f"line {number + 1}: no command"
    assert minutes == list(lesson.todos.items())
    words = sum(len(line.split()) for line in lines[: max(stops, default=0)])
    assert words <= MOST_WORDS, f"{words} words of prose before the last TODO is done"


@every_lesson
def test_it_has_a_picture_and_the_same_end_as_the_others(lesson: Lesson) -> None:
    pictures = [token for token in tokens(lesson) if token.info.strip() == "mermaid"]
    assert pictures, "no Mermaid picture of what flows"
    headings = sections(lesson)
    assert headings.index("What to remember") < headings.index("Test yourself")
    assert "key terms" in lesson.text.read_text("utf-8").lower()
    questions = [line for line in section(lesson, "Test yourself") if "<summary>" in line]
    assert len(questions) == 3, questions
    last = lesson.text.read_text("utf-8").rstrip("\n").rpartition("\n\n")[2]
    assert last.startswith("**Next:** "), f"the text ends with {last!r}"


@every_lesson
def test_what_is_folded_is_read_as_markdown(lesson: Lesson) -> None:
    lines = ["", *lesson.text.read_text("utf-8").splitlines(), ""]
    for number, line in enumerate(lines):
        if line.startswith("<details>"):
            assert re.fullmatch("<details><summary>.+</summary>", line), f"line {number}"
            assert lines[number + 1] == "", f"line {number}: an empty line comes after it"
        elif "</details>" in line:
            assert line == "</details>", f"line {number}"
            assert lines[number - 1] == "", f"line {number}: an empty line comes before it"


def test_no_text_or_program_needs_a_new_curl() -> None:
    # `--json` came with curl 7.82; many a system has an older one.
    rooms = ("lessons", "scripts", "solutions", "notebooks/source")
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for room in rooms:
        files += [
            path
            for path in (ROOT / room).rglob("*.*")
            if path.is_file() and "node_modules" not in path.parts and path.suffix != ".pyc"
        ]
    found: list[str] = []
    for path in files:
        text = path.read_text("utf-8", errors="ignore").replace("\\\n", " ")
        for command in re.findall(r"\bcurl\b.*\s--json\b.*", text):
            found.append(f"{path.relative_to(ROOT)}: {command}")
    assert found == []
