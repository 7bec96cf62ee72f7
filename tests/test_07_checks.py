"""Lesson 07's checks: the next TODO comes first, and other right ways to do it pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.checks.engine import Report, check_program
from workshop.checks.lesson_07 import suite
from workshop.course import ROOT

pytestmark = pytest.mark.usefixtures("warm")

SOLUTION = ROOT / "solutions/07_sdk_client/exercise.py"


def check(text: str, folder: Path) -> Report:
    """What the checks say to this text as the learner's file."""
    parser = SOLUTION.with_name("event_stream.py")
    (folder / parser.name).write_bytes(parser.read_bytes())
    program = folder / "exercise.py"
    program.write_text(text, encoding="utf-8")
    return check_program(suite, program)


def replaced(text: str, find: str, replace: str) -> str:
    assert text.count(find) == 1, find
    return text.replace(find, replace)


def test_other_right_ways_pass(tmp_path: Path) -> None:
    text = SOLUTION.read_text(encoding="utf-8")
    for find, replace in [
        # Half of the range for certain, half of it at random.
        (
            "random.uniform(0, min(self.settings.longest_backoff, doubled))",
            "min(self.settings.longest_backoff, doubled) * random.uniform(0.5, 1)",
        ),
        # Nothing need be said.
        ('                self.say("the stream ended")\n', ""),
        # The parts of an origin.
        (
            "url.origin() != self.url.origin()",
            "(url.scheme, url.host, url.port) != "
            "(self.url.scheme, self.url.host, self.url.port)",
        ),
        # `run` takes this for the end, too.
        (
            'raise Gone(f"the endpoint {url} is on another server")',
            'raise ValueError(f"the endpoint {url} is on another server")',
        ),
        # Once more from the start, instead of round the loop.
        (
            "                self.end_stream()\n            except Lost",
            "                self.end_stream()\n"
            "                return await self.call_until_told(tool, arguments)\n"
            "            except Lost",
        ),
        # A limit by hand.
        (
            "        async with asyncio.timeout(self.settings.answer):\n"
            "            return await self.call_until_told(tool, arguments)\n",
            "        return await asyncio.wait_for(\n"
            "            self.call_until_told(tool, arguments), self.settings.answer\n"
            "        )\n",
        ),
    ]:
        text = replaced(text, find, replace)
    report = check(text, tmp_path)
    assert report.ok, report.as_json()


def test_a_failure_shows_the_wire_and_points_at_the_wrong_session(tmp_path: Path) -> None:
    text = replaced(
        SOLUTION.read_text(encoding="utf-8"),
        "        self.endpoint = self.checked(endpoint)\n",
        "        self.endpoint = self.endpoint or self.checked(endpoint)\n",
    )
    report = check(text, tmp_path)
    (failure,) = [result.failure for result in report.results if result.failure is not None]
    assert failure.hint == "old-endpoint"
    assert failure.label == "The wire"
    lines = failure.received.decode().splitlines()
    assert "<- event: endpoint, data: /message?session_id=two" in lines
    assert failure.at is not None
    assert failure.received[failure.at :].startswith(b"=one initialize")
    # The last of them: the first was right.
    assert b"=one initialize" not in failure.received[failure.at + 1 :]


def test_a_file_without_a_client_does_not_start(tmp_path: Path) -> None:
    report = check("class Settings:\n    pass\n", tmp_path)
    assert report.ids("failed") == ["starts"]
    assert "The checks need `Client`" in report.complaints[0].said


def test_a_handshake_that_crashes_is_shown(tmp_path: Path) -> None:
    text = replaced(
        SOLUTION.read_text(encoding="utf-8"), 'listed.get("tools", [])', 'listed["tols"]'
    )
    failed = {each.id: each.failure for each in check(text, tmp_path).results if each.failure}
    shown = failed["returns-the-result"].received
    assert b"** a task raised KeyError('tols'), in line" in shown


def test_what_crashes_is_shown(tmp_path: Path) -> None:
    text = replaced(
        SOLUTION.read_text(encoding="utf-8"),
        "        self.failures = 0\n\n    def server_asked",
        "        self.failure = 0 / 0\n\n    def server_asked",
    )
    report = check(text, tmp_path)
    failed = {each.id: each.failure for each in report.results if each.failure is not None}
    assert failed["first-wait"].hint == "crashed"
    assert b"ZeroDivisionError" in failed["first-wait"].received
    assert failed["returns-the-result"].hint == "no-result"
