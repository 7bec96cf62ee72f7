"""The glossary is made from the lessons' key terms, and says when it can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import mini_course
from workshop.publishing.difference import PublishError
from workshop.publishing.glossary import Term, glossary_path, glossary_text, key_terms
from workshop.publishing.publish import publish

TEXT = """# A greeting

## Key terms

- **Zeal**: what one
  has *much* of.
- **echo, the**: what comes back.

## Test yourself

- **Not a term**: this is below another heading.
"""


def test_a_term_goes_on_in_indented_lines_and_ends_with_its_section() -> None:
    assert key_terms(TEXT, "01_greeting") == [
        Term("Zeal", "what one has *much* of.", "01_greeting"),
        Term("echo, the", "what comes back.", "01_greeting"),
    ]
    assert key_terms("# No terms\n", "01_greeting") == []


@pytest.mark.parametrize(
    "text",
    [
        "\n**Key terms:** *echo*.\n",
        "\n## Key terms\n\nNo list.\n",
        "\n## Key terms\n\n- **Echo** what comes back.\n",
        "\n## Key terms\n\n- Echo: what comes back.\n",
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(PublishError, match=r"lessons/01_greeting\.md.*Term"):
        key_terms(text, "01_greeting")


def test_terms_are_sorted_and_link_to_each_lesson_that_defines_them(tmp_path: Path) -> None:
    course = mini_course.build(tmp_path)
    assert glossary_text(course) == ""
    course.lesson("1").text.write_text(TEXT, encoding="utf-8")
    course.lesson("2").text.write_text(
        "# A farewell\n\n## Key terms\n\n- **Echo, the**: later.\n- **Fade**: to end.\n",
        encoding="utf-8",
    )
    entries = [line for line in glossary_text(course).splitlines() if line.startswith("- ")]
    assert entries == [
        "- **echo, the**: what comes back. "
        "([01](01_greeting.md#key-terms), [02](02_farewell.md#key-terms))",
        "- **Fade**: to end. ([02](02_farewell.md#key-terms))",
        "- **Zeal**: what one has *much* of. ([01](01_greeting.md#key-terms))",
    ]


def test_publish_writes_it_and_notices_a_change(tmp_path: Path) -> None:
    course = mini_course.build(tmp_path)
    course.lesson("1").text.write_text(TEXT, encoding="utf-8")
    assert "lessons/glossary.md" in {d.path for d in publish(course, None, compare=False)}
    assert publish(course, None, compare=True) == []
    glossary_path(course).write_text("# Glossary\n", encoding="utf-8")
    (found,) = publish(course, None, compare=True)
    assert found.path == "lessons/glossary.md" and found.curable
