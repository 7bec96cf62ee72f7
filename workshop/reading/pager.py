"""Show sections, a screenful at a time, and remember where the reader stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from workshop.course import Course, Lesson
from workshop.keys import Keys, keys
from workshop.reading.render import answer_lines, section_lines
from workshop.reading.sections import Part, Section

FINISHED = ""
"""The place in progress.json of a lesson that was read to its end."""


def remember(course: Course, lesson: Lesson, heading: str) -> None:
    """Store where the reader is in this lesson's text: the section, or FINISHED."""
    place = {"section": heading, "at": time.time()}
    course.progress.update(lesson, {"reading": place})


def place_in(course: Course, lesson: Lesson) -> str | None:
    """The heading where the reader stopped, FINISHED, or None for one never begun."""
    place: dict[str, Any] = course.progress.read(lesson).get("reading", {})
    return place.get("section")


def last_read(course: Course) -> Lesson | None:
    """The lesson that was read last; None if there is none."""
    read = {
        lesson.slug: course.progress.read(lesson).get("reading", {}).get("at", 0)
        for lesson in course.lessons
    }
    slug = max(read, key=lambda slug: read[slug], default=None)
    return course.lesson(slug) if slug is not None and read[slug] else None


def show_all(screen: Console, sections: list[Section], *, answers: bool) -> None:
    """Everything at once, for a pipe or a file."""
    for number, section in enumerate(sections):
        if number:
            screen.print()
        for line in section_lines(screen, section, answers=answers):
            _print(screen, line)


def _print(screen: Console, line: Text) -> None:
    # Never folded and never cut: a terminal wraps a long command by itself.
    screen.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


class Pager:
    """Sections in a terminal. What was shown stays above, to scroll back to and to copy."""

    def __init__(
        self,
        screen: Console,
        name: str,
        sections: list[Section],
        *,
        answers: bool = False,
        stopped_at: Callable[[str], None] = lambda heading: None,
    ) -> None:
        self._screen = screen
        self._name = name
        self._sections = sections
        self._all_answers = answers
        self._stopped_at = stopped_at
        self._index = 0
        self._waiting: list[Text] = []
        """Lines of this section that did not fit yet."""
        self._screens = 0
        """How many screenfuls of this section were shown."""
        self._folded: list[Part] = []
        """Answers of this section that were not asked for yet."""

    def run(self, index: int = 0) -> bool:
        """Show the sections from this one on. False if the reader quit before the end."""
        with keys() as pressed:
            self._open(index)
            while True:
                key = self._key(pressed)
                if key in ("\r", "\n", " "):
                    if self._waiting:
                        self._show_screen()
                    elif self._index + 1 < len(self._sections):
                        self._open(self._index + 1)
                    else:
                        self._stopped_at(FINISHED)
                        return True
                elif key == "b":
                    back = self._screens == 1 and self._index > 0
                    self._open(self._index - 1 if back else self._index)
                elif key == "a" and self._folded:
                    answer = answer_lines(self._screen, self._folded.pop(0))
                    self._waiting = [Text(), *answer, *self._waiting]
                    self._show_screen()
                elif key == "q":
                    return False

    def _open(self, index: int) -> None:
        section = self._sections[index]
        self._index, self._screens = index, 0
        self._folded = [] if self._all_answers else section.answers
        lines = section_lines(self._screen, section, answers=self._all_answers)
        self._waiting = [Text(), *lines]
        self._stopped_at(section.heading)
        self._show_screen()

    def _show_screen(self) -> None:
        """The next lines that fit, with one to spare for what the keys are."""
        self._screens += 1
        room = max(self._screen.height - 1, 3)
        while self._waiting:
            room -= max(1, -(-cell_len(self._waiting[0].plain) // self._screen.width))
            if room < 0:
                break
            _print(self._screen, self._waiting.pop(0))
        while self._waiting and not self._waiting[0].plain:
            self._waiting.pop(0)

    def _key(self, pressed: Keys) -> str:
        """Say what the keys are in the last line until one is pressed."""
        last = self._index + 1 == len(self._sections)
        enter = "more" if self._waiting else "end" if last else "next"
        words = [f"Enter {enter}", "b back", *(["a answer"] if self._folded else []), "q quit"]
        keys_are = " · ".join(words)
        place = f"{self._name}, {self._index + 1} of {len(self._sections)}"
        room = self._screen.width - 1
        shown = f"{place}    {keys_are}"
        if len(shown) > room:
            shown = keys_are[:room]
        self._screen.print(Text(shown, "reverse"), end="")
        try:
            return pressed.next() or ""
        finally:
            self._screen.file.write("\r\x1b[2K")
            self._screen.file.flush()
