"""Nothing that the course says twice is said in two ways, and every output is what comes."""

from __future__ import annotations

import pytest

from tests.warm import Parents
from tests.warm_terminals import warm_terminals
from workshop.course import Course, Lesson
from workshop.publishing.difference import Difference
from workshop.publishing.glossary import glossary_path, glossary_text
from workshop.publishing.publish import publish
from workshop.publishing.readme import readme_text

COURSE = Course.load()


def told(found: list[Difference]) -> str:
    return "\n".join(f"{one.path}: {one.what}\n{one.diff}\n" for one in found)


@pytest.mark.long
@pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda lesson: lesson.slug)
def test_a_lesson_is_what_its_sources_make_and_its_programs_print(
    lesson: Lesson, parents: Parents
) -> None:
    with warm_terminals(parents, lesson.scripts):
        found = publish(COURSE, [lesson], compare=True)
    assert found == [], f"`uv run workshop publish {lesson.number}` writes:\n{told(found)}"


@pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda lesson: lesson.slug)
def test_a_lesson_of_the_manifest_has_its_text_and_its_programs(lesson: Lesson) -> None:
    assert lesson.text.is_file()
    assert lesson.scripts.is_dir()


def test_what_two_lessons_share_is_carried() -> None:
    # Else the two would drift apart, and nobody would know which is right.
    first: dict[tuple[str, bytes], str] = {}
    for lesson in COURSE.lessons:
        for path in sorted(lesson.scripts.iterdir()):
            if not path.is_file():
                continue
            key = (path.name, path.read_bytes())
            origin = first.setdefault(key, f"{lesson.slug}/{path.name}")
            if not origin.startswith(lesson.slug):
                assert origin in lesson.carries, f"{lesson.slug}: carries {origin}"


def test_the_readme_has_the_lessons_and_ports_of_the_manifest() -> None:
    text = (COURSE.root / "README.md").read_text(encoding="utf-8")
    assert readme_text(text, COURSE) == text, "`uv run workshop publish` writes it"


def test_the_glossary_has_the_key_terms_of_the_lessons() -> None:
    text = glossary_path(COURSE).read_text(encoding="utf-8")
    assert glossary_text(COURSE) == text, "`uv run workshop publish` writes it"
