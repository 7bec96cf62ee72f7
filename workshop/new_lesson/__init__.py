"""Make the skeleton of a lesson: `workshop new 08 agent --title "An agent"`.

`template/` holds a tiny lesson that is complete: it passes every test. Its files are real
ones, checked like all others. In them, NN stands for the lesson's number, NN_slug for its
slug, TITLE for its title, and 8999 for its port.
"""

from __future__ import annotations

import re
from pathlib import Path

from workshop.course import Course, CourseError
from workshop.publishing.publish import publish

TEMPLATE = Path(__file__).parent / "template"

# What each file of the template becomes. The starter and the notebook are made by `publish`.
FILES = {
    "lesson.md": "lessons/NN_slug.md",
    "diagram.svg": "lessons/diagrams/NN-1.svg",
    "hello_server.py": "scripts/NN_slug/hello_server.py",
    "exercise.py": "solutions/NN_slug/exercise.py",
    "exercise.toml": "solutions/NN_slug/exercise.toml",
    "notebook.py": "notebooks/source/NN_slug.py",
    "checks.py": "workshop/checks/lesson_NN.py",
    "test_lesson.py": "tests/test_NN_slug.py",
}

MARK = "REPLACE:"
"""Stands wherever an author has to write something. A lesson that is no draft has none."""


def new_lesson(course: Course, number: str, name: str, title: str | None = None) -> list[Path]:
    """Write the files of a draft, what `publish` makes of them, and its entry in the manifest.

    Returns the files. Nothing that exists is overwritten. Raises CourseError.
    """
    if not re.fullmatch(r"[0-9]{1,2}", number) or int(number) == 0:
        raise CourseError(f"A lesson's number is one from 01 to 99, not {number!r}.")
    number = f"{int(number):02}"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > 30:
        raise CourseError(
            f"A lesson's name is up to 30 lower-case letters, digits and single `_`, such as "
            f"`event_hub`, not {name!r}."
        )
    title = title if title is not None else name.replace("_", " ").capitalize()
    if not title.strip() or len(title) > 60 or re.search(r'["\\|`\r\n]', title):
        raise CourseError('A title is one line of up to 60 characters, without ", \\, | and `.')

    slug = f"{number}_{name}"
    for lesson in course.lessons:
        if lesson.number == number:
            raise CourseError(f"Lesson {number} is taken: it is {lesson.slug}.")
    if exist := _already_there(course.root, number):
        shown = "".join(f"\n  {path.relative_to(course.root)}" for path in exist)
        raise CourseError(f"Lesson {number} is taken: this exists already.{shown}")

    port = str(_free_port(course, number))
    words = {"NN_slug": slug, "NN": number, "TITLE": title, "8999": port}
    made: list[Path] = []
    for file, place in FILES.items():
        path = course.root / _filled(place, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as written:
            written.write(_filled((TEMPLATE / file).read_text(encoding="utf-8"), words))
        made.append(path)
    entry = _filled((TEMPLATE / "manifest.toml").read_text(encoding="utf-8"), words)
    manifest = course.root / "lessons" / "lessons.toml"
    manifest.write_text(
        _with_entry(manifest.read_text(encoding="utf-8"), entry, number), encoding="utf-8"
    )
    course = Course.load(course.root, course.work_root)
    # The text's terminals show what comes: there is nothing to replay.
    made += [
        course.root / one.path
        for one in publish(course, [course.lesson(slug)], False, replay=False)
    ]
    return sorted({*made, manifest})


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def _already_there(root: Path, number: str) -> list[Path]:
    """The files and folders of a lesson with this number, whatever its name."""
    patterns = [
        f"{room}/{number}_*"
        for room in ("lessons", "scripts", "solutions", "notebooks", "notebooks/source")
    ]
    patterns += [f"lessons/diagrams/{number}-*", f"workshop/checks/lesson_{number}*"]
    patterns += [f"tests/test_{number}_*"]
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def _free_port(course: Course, number: str) -> int:
    """The first of 80NN, 81NN, … that no lesson has."""
    taken = {port for lesson in course.lessons for port in lesson.ports.values()}
    return next(port for port in range(8_000 + int(number), 65_536, 100) if port not in taken)


def _with_entry(manifest: str, entry: str, number: str) -> str:
    """The manifest with this entry added, in the order of the numbers."""
    head, *entries = re.split(r"^(?=\[\[lesson\]\])", manifest, flags=re.MULTILINE)
    before = [one for one in entries if _number_in(one) < number]
    after = entries[len(before) :]
    parts = [head, *before, entry, *after]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _number_in(entry: str) -> str:
    found = re.search(r'^slug = "(\d\d)_', entry, flags=re.MULTILINE)
    return found[1] if found else ""
