"""Regenerate, or compare, everything that is derived from a source.

Sources: `solutions/` (starters), `scripts/` (snippets, carried files), the programs
themselves (recorded output), `notebooks/source/` (notebooks), Mermaid blocks (SVG files),
the lessons' key terms (the glossary), and the manifest (the README's tables).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workshop.course import Course, Lesson, imported_names
from workshop.publishing.diagrams import publish_diagrams, with_links
from workshop.publishing.difference import Difference, PublishError, unified
from workshop.publishing.glossary import glossary_path, glossary_text
from workshop.publishing.make_notebook import notebook_text
from workshop.publishing.readme import readme_text
from workshop.publishing.replay import replay as replay_consoles
from workshop.publishing.snippets import fill_snippets
from workshop.publishing.starters import starter_text


def publish(
    course: Course, lessons: list[Lesson] | None, compare: bool, *, replay: bool = True
) -> list[Difference]:
    """Compare everything of these lessons (None: of all) with its source.

    Without `compare`, whatever differs is also written. `replay=False` leaves the
    recorded output of console blocks alone. The result is what was different; those
    that are not `curable` were not written.
    """
    chosen = course.lessons if lessons is None else lessons
    found: list[Difference] = []
    # First the files that other steps read or run.
    for lesson in chosen:
        for made in _copies(course, lesson):
            found += _settle(course, *made, compare=compare)
    # Most of the time of a replay is waiting, so the lessons can go side by side.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for differences in pool.map(
            lambda lesson: _publish_text(course, lesson, compare, replay),
            [lesson for lesson in chosen if lesson.text.is_file()],
        ):
            found += differences
    for made in _notebooks(course, chosen):
        found += _settle(course, *made, compare=compare)
    drawn = [lesson.text for lesson in chosen if lesson.text.is_file()]
    if lessons is None:
        glossary = _made(lambda: glossary_text(course))
        if glossary:
            what = "the glossary, made from the lessons' key terms"
            found += _settle(course, glossary_path(course), what, glossary, compare=compare)
    readme = course.root / "README.md"
    if lessons is None and readme.is_file():
        made = _made(
            lambda: with_links(readme_text(_read(readme), course), readme, course.root)
        )
        found += _settle(course, readme, "its tables and links", made, compare=compare)
        drawn.append(readme)
    return found + publish_diagrams(drawn, course.root, compare=compare)


def _copies(course: Course, lesson: Lesson) -> Iterator[tuple[Path, str, str | PublishError]]:
    """Each file that is made entirely from another: (path, what it is, what it should be)."""
    if lesson.solution.is_file():
        source = str(lesson.solution.relative_to(course.root))
        yield (
            lesson.starter,
            f"starter, made from {source}",
            _made(lambda: starter_text(_read(lesson.solution), source)),
        )
    origins: dict[str, Path] = {}
    for target, origin in lesson.carried.items():
        name = str(origin.relative_to(course.root))
        what = f"carried over from {name}"
        if not origin.is_file():
            yield lesson.text, what, PublishError(f"There is no {name}.")
            continue
        origins[origin.name] = origin
        yield target, what, _read(origin)
    if lesson.solution.is_file():
        for origin in _imported(lesson, origins):
            what = f"copied from {origin.relative_to(course.root)}"
            yield lesson.solution.with_name(origin.name), what, _read(origin)


def _imported(lesson: Lesson, origins: dict[str, Path]) -> list[Path]:
    """The files beside the starter that the solution imports, and those that they import.

    `origins` has the files that are carried over, by name: those are read where they
    come from.
    """
    found: list[Path] = []
    waiting = [lesson.solution]
    while waiting:
        try:
            names = imported_names(waiting.pop())
        except SyntaxError:
            continue  # the tests say so; here it imports nothing
        for name in sorted(names):
            path = origins.get(f"{name}.py", lesson.scripts / f"{name}.py")
            if path.is_file() and path not in found:
                found.append(path)
                waiting.append(path)
    return found


def _notebooks(
    course: Course, lessons: list[Lesson]
) -> Iterator[tuple[Path, str, str | PublishError]]:
    for lesson in lessons:
        if not lesson.notebook_source.is_file():
            continue
        source = str(lesson.notebook_source.relative_to(course.root))
        # From the solution, so that a comparison does not depend on the starter's file.
        made = _made(
            lambda lesson=lesson, source=source: notebook_text(
                _read(lesson.notebook_source),
                source,
                course.root,
                lesson.number,
                starter_text(_read(lesson.solution), str(lesson.solution))
                if lesson.solution.is_file()
                else None,
            )
        )
        yield lesson.notebook, f"notebook, made from {source}", made


def _made(make: Callable[[], str]) -> str | PublishError:
    """What `make` makes, or why it cannot."""
    try:
        return make()
    except PublishError as error:
        return error


def _publish_text(
    course: Course, lesson: Lesson, compare: bool, with_replay: bool
) -> list[Difference]:
    """The lesson's own text: its snippets, and what its programs print."""
    name = str(lesson.text.relative_to(course.root))
    is_now = _read(lesson.text)
    try:
        text, found = fill_snippets(is_now, name, course.root)
        linked = with_links(text, lesson.text, course.root)
        if linked != text:
            found.append(Difference(name, "links to diagrams", unified(text, linked)))
        text = linked
        if with_replay:
            text, differences = replay_consoles(text, name, course)
            found += differences
    except PublishError as error:
        return [Difference(name, "the lesson's text", str(error), curable=False)]
    if text != is_now and not compare:
        _write(lesson.text, text)
    return found


def _read(path: Path) -> str:
    # newline="" keeps every byte: what is compared is the file, not its lines.
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def _settle(
    course: Course, path: Path, what: str, wanted: str | PublishError, *, compare: bool
) -> list[Difference]:
    """Compare one file with what it should be, and write it unless `compare`."""
    shown = str(path.relative_to(course.root))
    if isinstance(wanted, PublishError):
        return [Difference(shown, what, str(wanted), curable=False)]
    is_now = _read(path) if path.is_file() else ""
    if is_now == wanted and path.is_file():
        return []
    if not compare:
        _write(path, wanted)
    return [Difference(shown, what, unified(is_now, wanted))]
