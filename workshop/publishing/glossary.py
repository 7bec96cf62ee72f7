"""The glossary, made from the key terms at the end of each lesson."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from workshop.course import Course
from workshop.publishing.difference import PublishError

HEADING = "Key terms"
_ENTRY = re.compile(r"- \*\*(?P<term>[^*]+)\*\*: (?P<meaning>\S.*)")

_INTRODUCTION = """\
# Glossary

Each term as the lesson that introduces it defines it. `uv run workshop publish` makes this list
from the *Key terms* at the end of each lesson.
"""


@dataclass(frozen=True)
class Term:
    """One key term, and the slug of the lesson that defines it."""

    name: str
    meaning: str
    slug: str


def glossary_path(course: Course) -> Path:
    """lessons/glossary.md"""
    return course.root / "lessons" / "glossary.md"


def key_terms(text: str, slug: str) -> list[Term]:
    """The terms of one lesson's text; none if it has no such section.

    Raises PublishError for a list of terms that cannot be read.
    """
    name = f"lessons/{slug}.md"
    below = text.partition(f"\n## {HEADING}\n")[2].partition("\n## ")[0]
    # A bullet goes on in indented lines.
    joined = re.sub(r"\n  +", " ", below)
    bullets = [line for line in joined.splitlines() if line.startswith("- ")]
    if "**Key terms:**" in text or (below and not bullets):
        raise PublishError(f"{name}: write `## {HEADING}`, and below it `- **Term**: meaning`.")
    terms: list[Term] = []
    for bullet in bullets:
        found = _ENTRY.fullmatch(bullet)
        if found is None:
            raise PublishError(f"{name}, {HEADING}: not `- **Term**: meaning`: {bullet}")
        terms.append(Term(found["term"], found["meaning"], slug))
    return terms


def glossary_text(course: Course) -> str:
    """The whole glossary, sorted; "" if no lesson has key terms. Raises PublishError.

    A term that several lessons define is shown as the first one has it, with links to
    all of them.
    """
    defined: dict[str, list[Term]] = {}
    for lesson in course.released:
        if lesson.text.is_file():
            for term in key_terms(lesson.text.read_text(encoding="utf-8"), lesson.slug):
                defined.setdefault(term.name.casefold(), []).append(term)
    entries: list[str] = []
    for _, terms in sorted(defined.items()):
        links = ", ".join(f"[{one.slug[:2]}]({one.slug}.md#key-terms)" for one in terms)
        entries.append(f"- **{terms[0].name}**: {terms[0].meaning} ({links})\n")
    return "\n".join([_INTRODUCTION, "".join(entries)]) if entries else ""
