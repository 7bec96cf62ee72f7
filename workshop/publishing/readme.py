"""The README's table of lessons, made from the manifest."""

from __future__ import annotations

from workshop.course import Course
from workshop.publishing.difference import PublishError

BEGIN = "<!-- lessons -->"
END = "<!-- /lessons -->"


def readme_text(text: str, course: Course) -> str:
    """The README with the table between its two marks. Raises PublishError."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise PublishError(f"README.md needs {BEGIN} and, below it, {END}, each once.")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{lesson_table(course)}{END}{after}"


def lesson_table(course: Course) -> str:
    """One row a lesson, with links to its text and notebook."""
    rows = ["| | Lesson | What you do | Era | Minutes |", "|---|---|---|---|---:|"]
    for lesson in course.lessons:
        links = f"[{lesson.title}](lessons/{lesson.slug}.md)"
        if lesson.notebook_source.is_file():
            links += f" ([notebook](notebooks/{lesson.slug}.ipynb))"
        cells = (lesson.number, links, lesson.summary, lesson.era, str(lesson.minutes))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "".join(f"{row}\n" for row in rows)
