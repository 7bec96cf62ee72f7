"""`workshop lost`: the course on one page, for those who don't know where to go."""

from __future__ import annotations

from rich.console import Console

from workshop.course import Course
from workshop.next_step import next_step
from workshop.routes import routes
from workshop.screens import command, line, prose

STUCK = (
    (
        "A check fails, and you don't know why",
        "uv run workshop hint {number}",
        "One hint at a time; ask again.",
    ),
    (
        "You have read every hint",
        "uv run workshop solution {number}",
        "How your file differs from the solution.",
    ),
    (
        "Your file is a mess",
        "uv run workshop start {number} --reset",
        "Start the exercise over. A copy of your file is kept.",
    ),
    (
        "You came late",
        "uv run workshop start {number} --at 4 --reset",
        "Begin at TODO 4: those before it are done.",
    ),
    ("Nothing runs", "uv run workshop doctor", "What this machine lacks, and how to get it."),
    ("A word is new", "uv run workshop read glossary", "Every key term, and its lesson."),
)


def show_lost(screen: Console, course: Course) -> None:
    """What each lesson gives, what fits into which time, and what to type when stuck."""
    current, typed = next_step(course)
    number = current.number if current else "05"
    line(screen, ("What each lesson gives you", "bold"))
    for lesson in course.released:
        mark = ("> ", "bold cyan") if lesson == current else "  "
        line(screen)
        line(
            screen, mark, f"{lesson.number}  {lesson.title}", (f"  {lesson.minutes} min", "dim")
        )
        prose(screen, lesson.summary, indent=6)
    for route in routes(course):
        line(screen)
        line(screen, (f"If you have {route.name.lower()}", "bold"))
        for lesson, minutes in route.stops:
            how = ", without its exercise" if lesson in route.read else ""
            line(screen, f"  {minutes:>4} min  {lesson.number}  {lesson.title}{how}")
        line(screen, f"  {route.total:>4} min  together")
        prose(screen, route.why, indent=2)
    line(screen)
    line(screen, ("When you are stuck", "bold"))
    for when, what, why in STUCK:
        line(screen)
        line(screen, f"  {when}. ", (why, "dim"))
        line(screen, "    ", (what.format(number=number), "cyan"))
    line(screen)
    line(screen, "Read a lesson here: ", (f"uv run workshop read {number}", "cyan"))
    command(screen, "Or just go on. Next, type:", typed)
