"""Ways through the course for those who have an hour, half a day or a day."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from workshop.course import Course, CourseError, Lesson


@dataclass(frozen=True)
class Route:
    """What to do in a given time. The minutes of each lesson are the manifest's."""

    name: str
    minutes: int
    whole: tuple[Lesson, ...]
    read: tuple[Lesson, ...]
    """Lessons whose text is read and run, without the exercise."""
    why: str

    @property
    def stops(self) -> list[tuple[Lesson, int]]:
        """Each lesson in order, with the minutes that it takes on this route."""
        stops = [(lesson, lesson.minutes) for lesson in self.whole]
        stops += [(lesson, text_minutes(lesson)) for lesson in self.read]
        return sorted(stops, key=lambda stop: stop[0].slug)

    @property
    def total(self) -> int:
        """How many minutes it takes."""
        return sum(minutes for _, minutes in self.stops)


def text_minutes(lesson: Lesson) -> int:
    """How long it takes to read a lesson's text and to run what it shows."""
    return sum(lesson.sections.values())


def routes(course: Course) -> list[Route]:
    """The routes of the manifest. Raises CourseError for one that does not work out."""
    manifest = course.root / "lessons" / "lessons.toml"
    tables = tomllib.loads(manifest.read_text(encoding="utf-8")).get("route", [])
    return [_read_route(table, course) for table in tables]


def _read_route(table: dict[str, Any], course: Course) -> Route:
    where = f"lessons/lessons.toml, route {table.get('name', '?')!r}"
    if set(table) != {"name", "minutes", "whole", "read", "why"}:
        raise CourseError(f"{where}: it takes name, minutes, whole, read and why.")
    route = Route(
        table["name"],
        table["minutes"],
        tuple(course.lesson(slug) for slug in table["whole"]),
        tuple(course.lesson(slug) for slug in table["read"]),
        table["why"],
    )
    slugs = {lesson.slug for lesson in (*route.whole, *route.read)}
    for lesson in (*route.whole, *route.read):
        if missing := sorted(set(lesson.needs) - slugs):
            raise CourseError(f"{where}: lesson {lesson.number} needs {', '.join(missing)}.")
    if route.total > route.minutes:
        raise CourseError(
            f"{where}: it takes {route.total} minutes, more than {route.minutes}."
        )
    return route
