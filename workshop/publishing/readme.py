"""The README's tables of lessons, of routes and of ports, made from the manifest."""

from __future__ import annotations

from workshop.course import Course
from workshop.publishing.difference import PublishError
from workshop.routes import routes


def readme_text(text: str, course: Course) -> str:
    """The README with each table between its two marks. Raises PublishError."""
    text = _with_block(text, "lessons", lesson_table(course))
    if routes(course):
        text = _with_block(text, "routes", route_table(course))
    return _with_block(text, "ports", port_table(course))


def _with_block(text: str, name: str, block: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise PublishError(f"README.md needs {begin} and, below it, {end}, each once.")
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    return f"{before}{begin}\n{block}{end}{after}"


def lesson_table(course: Course) -> str:
    """One row for each lesson, with links to its text and notebook."""
    rows = ["| | Lesson | What you do | Era | Minutes |", "|---|---|---|---|---:|"]
    for lesson in course.released:
        links = f"[{lesson.title}](lessons/{lesson.slug}.md)"
        if lesson.notebook_source.is_file():
            links += f" ([notebook](notebooks/{lesson.slug}.ipynb))"
        cells = (lesson.number, links, lesson.summary, lesson.era, str(lesson.minutes))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "".join(f"{row}\n" for row in rows)


def route_table(course: Course) -> str:
    """One row for each route through the course, with what it takes."""
    rows = ["| You have | Do | Minutes | Then |", "|---|---|---:|---|"]
    for route in routes(course):
        stops = ", ".join(
            f"[{one.number}](lessons/{one.slug}.md)" + " (only read)" * (one in route.read)
            for one, _ in route.stops
        )
        do = "lesson" if len(route.stops) == 1 else "lessons"
        rows.append(f"| {route.name} | {do} {stops} | {route.total} | {route.why} |")
    return "".join(f"{row}\n" for row in rows)


def port_table(course: Course) -> str:
    """One row for each default port, with the servers that listen there."""
    rows = ["| Port | Lesson | Servers |", "|---:|---|---|"]
    for lesson in course.released:
        for port in dict.fromkeys(lesson.ports.values()):
            programs = ", ".join(f"`{name}`" for name, at in lesson.ports.items() if at == port)
            rows.append(f"| {port} | {lesson.number} | {programs} |")
    return "".join(f"{row}\n" for row in rows)
