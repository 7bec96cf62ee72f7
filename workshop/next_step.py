"""Where the learner is: the lesson in progress, and the one next thing to type."""

from __future__ import annotations

from workshop.course import Course, Lesson


def in_progress(course: Course) -> Lesson | None:
    """The first lesson, in order, that was started and is not done."""
    return next(
        (one for one in course.released if one.work.is_file() and not course.is_done(one)), None
    )


def next_to_start(course: Course) -> Lesson | None:
    """The first lesson with an exercise, in order, that is neither started nor done."""
    return next(
        (
            one
            for one in course.released
            if one.starter.is_file() and not one.work.is_file() and not course.is_done(one)
        ),
        None,
    )


def next_step(course: Course) -> tuple[Lesson | None, str]:
    """The lesson the learner should turn to, and the command that goes on with it."""
    if lesson := in_progress(course):
        return lesson, f"uv run workshop check {lesson.number} --watch"
    if lesson := next_to_start(course):
        return lesson, f"uv run workshop start {lesson.number}"
    return None, "uv run workshop check 05 --url http://127.0.0.1:8000/sse"
