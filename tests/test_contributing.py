"""What CONTRIBUTING.md shows an author is so: its examples are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workshop.checks.engine import Suite, check_program
from workshop.checks.gallery import load_gallery
from workshop.course import ROOT, Course
from workshop.new_lesson import FILES, TEMPLATE, new_lesson
from workshop.publishing.replay import replay
from workshop.publishing.starters import starter_text

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(begins: str) -> str:
    """The fenced block that begins like this, without its fences."""
    found = [
        body
        for _, body in re.findall(r"^(`{3,})[^`\n]*\n(.*?)^\1$", TEXT, re.DOTALL | re.MULTILINE)
        if body.startswith(begins)
    ]
    assert len(found) == 1, f"{len(found)} blocks begin with {begins}"
    return found[0]


def test_its_terminals_print_what_it_shows() -> None:
    shown = block("```console terminal=server")
    text, differences = replay(shown, "CONTRIBUTING.md", Course.load())
    assert differences == [] and text == shown


def test_its_marks_make_the_starter() -> None:
    source = block("def event(word: str)")
    starter = starter_text(source, "CONTRIBUTING.md")
    assert starter.splitlines()[-1] == "    return word" and "---" not in starter
    assert source.rstrip() in (TEMPLATE / "exercise.py").read_text(encoding="utf-8").replace(
        '    """One event of an event stream whose data is `word`."""\n', ""
    )


def test_its_mistake_is_one_of_the_template() -> None:
    assert block("[[mistake]]") in (TEMPLATE / "exercise.toml").read_text(encoding="utf-8")
    assert load_gallery(TEMPLATE / "exercise.toml").mistakes


def test_its_smallest_checks_find_the_mistake(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    head = (TEMPLATE / "checks.py").read_text(encoding="utf-8").partition("\nSTANDARD")[0]
    exec(head + "\n" + block("@contextmanager"), names)
    source = (TEMPLATE / "exercise.py").read_text(encoding="utf-8")
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(source, encoding="utf-8")
    wrong.write_text(source.replace('{word}\\n\\n"', '{word}\\n"'), encoding="utf-8")
    suite = names["suite"]
    assert isinstance(suite, Suite)
    assert check_program(suite, right).ok
    assert check_program(suite, wrong).ids("failed") == ["format"]


def test_its_table_has_every_file_of_a_new_lesson(tmp_path: Path) -> None:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons/lessons.toml").write_text("", encoding="utf-8")
    made = new_lesson(Course.load(tmp_path), "08", "agent")
    table = TEXT.partition("| file |")[2].partition("\n\n")[0]
    for path in made:
        name = path.relative_to(tmp_path).as_posix()
        assert name in table or f"{name.rpartition('/')[0]}/*" in table, name
    assert len(made) > len(FILES)


@pytest.mark.parametrize("name", re.findall(r"^\| `(test_\w+\.py)`", TEXT, re.MULTILINE))
def test_a_proof_that_it_names_is_there(name: str) -> None:
    assert (ROOT / "tests" / name).is_file()
