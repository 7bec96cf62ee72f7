"""Lesson 02's checks, on parsers that nobody wrote for them, and on code that misbehaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workshop.checks.engine import Report, Result, check_program
from workshop.checks.lesson_02 import suite
from workshop.course import ROOT
from workshop.patience import stretched
from workshop.publishing.starters import solution_text
from workshop.running import environment

pytestmark = pytest.mark.usefixtures("warm")

# A library's parser in the shape that the checks know. It sees text, so it is given an
# incremental decoder, which is how it is used.
HTTPX_SSE = """
import codecs
from dataclasses import dataclass
from httpx_sse._decoders import SSEDecoder, SSELineDecoder

@dataclass
class Event:
    type: str
    data: str
    last_event_id: str

class EventStreamParser:
    def __init__(self):
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.lines, self.events = SSELineDecoder(), SSEDecoder()
        self.last_event_id, self.reconnection_time = "", None

    def feed(self, chunk):
        found = []
        text = self.decode(chunk)
        for line in self.lines.decode(text) if text else []:
            event = self.events.decode(line)
            if event is not None:
                self.last_event_id = event.id
                if event.retry is not None:
                    self.reconnection_time = event.retry
                found.append(Event(event.event, event.data, event.id))
        return found
"""

SOLUTION = (ROOT / "solutions/02_event_format/exercise.py").read_text(encoding="utf-8")


def check(tmp_path: Path, text: str) -> Report:
    path = tmp_path / "exercise.py"
    path.write_text(text, encoding="utf-8")
    return check_program(suite, path)


def failures(report: Report) -> dict[str, Result]:
    return {result.id: result for result in report.results if result.failure is not None}


def test_the_course_s_own_parser_passes() -> None:
    report = check_program(suite, ROOT / "scripts/02_event_format/event_stream.py")
    assert report.ok, report.as_json()


def test_httpx_sse_fails_where_it_leaves_the_standard(tmp_path: Path) -> None:
    found = failures(check(tmp_path, HTTPX_SSE))
    assert {id: result.failure.hint for id, result in found.items() if result.failure} == {
        "type-ends": "type-stays-without-data",  # `event` alone is an event for it
        "id-alone": "took-it-for-an-event",
        "retry": "not-set",  # `retry` alone, too
        "cr-at-once": "waits",  # it holds a last CR back
        "byte-order-mark": "mark-kept",
    }


def test_the_caret_stands_under_the_misread_byte(tmp_path: Path) -> None:
    broken = SOLUTION.replace('text = text.removeprefix("\\n")', "pass")
    failure = failures(check(tmp_path, broken))["crlf-in-two-chunks"].failure
    assert failure is not None
    assert failure.received == b"data: a\r\ndata: b\r\n\r\n"
    assert failure.at == failure.received.index(b"\n")
    assert failure.sent == rb"feed(b'data: a\r') feed(b'\ndata: b\r\n\r\n')"


def in_feed(line: str) -> str:
    """The solution with a line more at the start of `feed`."""
    first = "        events: list[Event] = []\n"
    return SOLUTION.replace(first, f"{first}        {line}\n")


def test_a_parser_that_prints_is_checked_all_the_same(tmp_path: Path) -> None:
    text = in_feed('print("x" * 100_000)').replace("import codecs", 'import codecs; print("!")')
    report = check(tmp_path, text)
    assert report.ok, report.as_json()


def test_what_it_printed_is_shown_with_a_failure(tmp_path: Path) -> None:
    broken = in_feed('print("got", chunk)').replace("if self._data:", "if True:")
    failure = failures(check(tmp_path, broken))["no-data"].failure
    assert failure is not None
    assert b"It printed: " in failure.sent and b"got b'" in failure.sent


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("while True: pass", "hangs"),
        ("import time; time.sleep(3600)", "hangs"),
        ('while True: print("again")', "hangs"),
        ("import os; os._exit(3)", "crashed"),
        ("import os; os.close(0); os.kill(os.getpid(), 9)", "crashed"),
    ],
)
def test_a_parser_that_hangs_or_dies_blocks_nobody(
    tmp_path: Path, line: str, hint: str
) -> None:
    report = check(tmp_path, in_feed(line))
    found = failures(report)
    assert [result.failure.hint for result in found.values() if result.failure] == [hint]
    assert list(found) == ["one-event"]
    assert report.seconds < stretched(3)


def test_many_checks_that_hang_take_no_longer_than_one(tmp_path: Path) -> None:
    # Not at once, but for every field other than data: a third of the checks.
    report = check(tmp_path, SOLUTION.replace('if name == "event":', 'while name != "data":'))
    assert report.ids("failed")
    assert {result.failure.hint for result in failures(report).values() if result.failure} == {
        "hangs"
    }
    assert report.seconds < stretched(3)


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("raise RuntimeError('my bug')", "RuntimeError: my bug", "crashed"),
        ("import sys; sys.exit('bye')", "SystemExit: bye", "crashed"),
        ("return None", "feed returned None", "nothing-returned"),
        ("yield", "feed returned <generator", "not-events"),
        ("return [chunk]", "feed returned b'data: hello", "not-events"),
        ("return [Event('message', 'hello', None)]", "last_event_id=None", "not-events"),
    ],
)
def test_an_exception_is_shown(tmp_path: Path, line: str, said: str, hint: str) -> None:
    failure = failures(check(tmp_path, in_feed(line)))["one-event"].failure
    assert failure is not None
    assert said in failure.wanted + failure.received.decode()
    assert failure.hint == hint


def test_the_exception_and_its_line_are_shown_and_no_line_of_ours(tmp_path: Path) -> None:
    text = SOLUTION.replace('if name == "event":', 'if {"data": 0, "event": 1}[name]:')
    found = failures(check(tmp_path, text))
    assert {result.failure.hint for result in found.values() if result.failure} == {"crashed"}
    failure = found["names"].failure
    assert failure is not None
    shown = failure.received.decode().splitlines()
    assert len(shown) <= 8  # what is longer is cut when it is printed
    assert shown[-1] == "KeyError: ' '"
    assert "driver.py" not in str(shown) and str(tmp_path) not in str(shown)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def x(:", "SyntaxError"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("import sys; sys.exit(5)", "The program ends here"),
    ],
)
def test_a_file_that_can_not_be_imported_says_why(tmp_path: Path, text: str, said: str) -> None:
    report = check(tmp_path, text)
    assert report.ids("failed") == ["starts"]
    assert said in report.complaints[0].said


def test_a_file_without_the_class_is_a_failure(tmp_path: Path) -> None:
    report = check(tmp_path, "x = 1\n")
    assert report.ids("failed") == ["starts"]
    assert "EventStreamParser" in report.complaints[0].said


def test_the_failure_in_the_lesson_is_what_the_command_prints(tmp_path: Path) -> None:
    work = tmp_path / "02_event_format"
    work.mkdir()
    starter = ROOT / "scripts/02_event_format/exercise.py"
    (work / "exercise.py").write_text(starter.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "workshop.cli", "check", "02"],
        env=environment({"WORKSHOP_WORK": str(tmp_path), "COLUMNS": "80"}),
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
    )
    assert done.returncode == 1
    lesson = (ROOT / "lessons/02_event_format.md").read_text(encoding="utf-8")
    shown = lesson[lesson.index("     ✓ 10 passed\n") :].partition("```")[0]
    # Where the learner's file lies is another matter here.
    assert shown.replace("work/", f"{tmp_path}/") in done.stdout


@pytest.mark.parametrize(
    ("find", "replace", "code", "todo"),
    [
        ('if name == "retry"', 'while name == "retry"', 'while name == "retry"', 3),
        ("lines = (", "while True: lines = (", "while True: lines = (", 5),
        (
            "        events: list[Event] = []\n",
            "        while True: pass\n",
            "while True: pass",
            None,
        ),
    ],
)
def test_an_endless_loop_is_shown_by_its_line_and_todo(
    tmp_path: Path, find: str, replace: str, code: str, todo: int | None
) -> None:
    text = solution_text(SOLUTION).replace(find, replace)
    (result,) = failures(check(tmp_path, text)).values()
    assert result.failure is not None and result.failure.hint == "hangs"
    shown = result.failure.received.decode()
    line = next(n for n, one in enumerate(text.splitlines(), start=1) if code in one)
    assert shown.startswith((f"line {line}: {code}", f"line {line + 1}: "))  # or in its body
    assert result.todo == todo


def test_parsers_that_share_something_are_told_so_and_nothing_else(tmp_path: Path) -> None:
    lines = SOLUTION.replace("self._event_type", "EventStreamParser.type").replace(
        '        EventStreamParser.type = ""\n        self._last_event_id = ""\n',
        '        self._last_event_id = ""\n',
    )
    shared = lines.replace("    def __init__", '    type = ""\n\n    def __init__', 1)
    failure = failures(check(tmp_path, shared))["own-state"].failure
    assert failure is not None and failure.hint == "shared"
    assert b"type='add'" in failure.received
