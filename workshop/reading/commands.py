"""What `workshop read` does with its words."""

from __future__ import annotations

import sys

from rich.console import Console

from workshop.course import Course, CourseError, Lesson
from workshop.next_step import in_progress
from workshop.publishing.glossary import glossary_path
from workshop.reading.pager import (
    FINISHED,
    Pager,
    last_read,
    place_in,
    remember,
    show_all,
)
from workshop.reading.sections import Section, find_section, sections_of
from workshop.screens import command, line, prose


def read_lesson(
    screen: Console,
    course: Course,
    name: str | None,
    wanted: str | None,
    *,
    list_them: bool = False,
    answers: bool = False,
) -> None:
    """Show the lesson called `name`, or the one to go on with. Raises CourseError.

    `wanted` is the section to begin with; in a pipe, the only one.
    """
    lesson = course.lesson(name) if name is not None else to_go_on_with(course)
    if not lesson.text.is_file():
        raise CourseError(f"Lesson {lesson.number} has no text yet.")
    sections = sections_of(lesson.text.read_text(encoding="utf-8"))
    if list_them:
        show_list(screen, course, lesson, sections)
        return
    begin = 0
    if wanted is not None:
        found = find_section(sections, wanted)
        if found is None:
            raise CourseError(
                f"Lesson {lesson.number} has no section {wanted!r}. To see its sections, type\n"
                f"  uv run workshop read {lesson.number} --list"
            )
        begin = found
    if not is_interactive(screen):
        show_all(screen, sections if wanted is None else [sections[begin]], answers=answers)
        return
    if wanted is None and (place := place_in(course, lesson)):
        # A heading that is gone, or another lesson's text by now: from the beginning.
        begin = next((n for n, one in enumerate(sections) if one.heading == place), 0)
    pager = Pager(
        screen,
        lesson.number,
        sections,
        answers=answers,
        stopped_at=lambda heading: remember(course, lesson, heading),
    )
    if pager.run(begin):
        prose(screen, f"That was lesson {lesson.number}.")
        if lesson_after(course, lesson):
            command(screen, "To read the next one, type:", "uv run workshop read")
    else:
        command(screen, "To go on reading here, type:", "uv run workshop read")


def to_go_on_with(course: Course) -> Lesson:
    """The lesson that was read last, or the one after it if that was to its end.

    Without any, the lesson in progress, or the first. Raises CourseError.
    """
    lesson = last_read(course)
    if lesson is not None and place_in(course, lesson) == FINISHED:
        last, lesson = lesson, lesson_after(course, lesson)
        if lesson is None:
            raise CourseError(
                f"You have read the last lesson. Name one, as in\n"
                f"  uv run workshop read {last.number}"
            )
    lesson = lesson or in_progress(course) or next(iter(course.released), None)
    if lesson is None:
        raise CourseError("There are no lessons yet.")
    return lesson


def lesson_after(course: Course, lesson: Lesson) -> Lesson | None:
    """The next lesson that learners are shown; None after the last."""
    return next((one for one in course.released if one.slug > lesson.slug), None)


def is_interactive(screen: Console) -> bool:
    """Whether a person sees the screen and has the keys."""
    return screen.is_terminal and not screen.is_dumb_terminal and sys.stdin.isatty()


def show_list(screen: Console, course: Course, lesson: Lesson, sections: list[Section]) -> None:
    """The sections with their numbers, their minutes, and where the reader is."""
    line(screen, (f"{lesson.number}  {lesson.title}", "bold"))
    line(screen)
    place = place_in(course, lesson)
    for number, section in enumerate(sections, 1):
        minutes = lesson.sections.get(section.heading)
        here = (">", "bold cyan") if section.heading == place else " "
        time = f"{minutes:>3} min" if minutes else " " * 7
        line(screen, here, f" {number:>2}  {time}  {section.heading}")
    command(screen, "To read one, type:", f"uv run workshop read {lesson.number} --section 3")


def read_glossary(screen: Console, course: Course, wanted: str | None) -> None:
    """Show the glossary, or the terms that have `wanted` in their name. Raises CourseError."""
    path = glossary_path(course)
    if not path.is_file():
        raise CourseError("There is no glossary yet.")
    text = path.read_text(encoding="utf-8")
    if wanted is not None:
        entries = [entry for entry in text.splitlines() if entry.startswith("- **")]
        chosen = [
            entry for entry in entries if wanted.casefold() in entry.split("**")[1].casefold()
        ]
        if not chosen:
            raise CourseError(f"The glossary has no term {wanted!r}.")
        text = "\n".join(["# Glossary", "", *chosen])
    sections = sections_of(text)
    if wanted is None and is_interactive(screen):
        Pager(screen, "Glossary", sections).run()
    else:
        show_all(screen, sections, answers=False)
