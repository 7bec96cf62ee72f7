"""Where the learner is: the lesson in progress, and the one next thing to type."""

from __future__ import annotations

from workshop.course import Course, Lesson

DONE = "done"
NOT_STARTED = "not started"


def with_exercise(course: Course) -> list[Lesson]:
    """The lessons that have an exercise, in order."""
    return [lesson for lesson in course.lessons if lesson.starter.is_file()]


def in_progress(course: Course) -> Lesson | None:
    """The started lesson that is not done; of several, the one written to last."""
    started = [
        lesson
        for lesson in course.lessons
        if lesson.work.is_file() and course.state(lesson) != DONE
    ]
    return max(started, key=lambda lesson: lesson.work.stat().st_mtime_ns, default=None)


def next_to_start(course: Course) -> Lesson | None:
    """The first lesson, in order, that was never started."""
    return next(
        (one for one in with_exercise(course) if course.state(one) == NOT_STARTED), None
    )


def next_step(course: Course) -> tuple[Lesson | None, str]:
    """The lesson the learner should turn to, and the command that goes on with it."""
    if lesson := in_progress(course):
        return lesson, f"uv run workshop check {lesson.number} --watch"
    if lesson := next_to_start(course):
        return lesson, f"uv run workshop start {lesson.number}"
    return None, "uv run workshop check 05 --url http://127.0.0.1:8000/sse"
