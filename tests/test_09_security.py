"""Lesson 09: its program does what the text says."""

# REPLACE: a test for every claim of the text. CONTRIBUTING.md, "The lesson's tests".

from __future__ import annotations

from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.running import running

PROGRAM = ROOT / "scripts/09_security/hello_server.py"


def test_the_first_event_arrives_before_the_second_is_made() -> None:
    with (
        running(PROGRAM, "--interval", "3600") as program,
        Server(program.url, program).open("/sse") as stream,
    ):
        assert stream.wait(lambda stream: len(stream.events) == 1)
        assert stream.raw == b"data: one\n\n"
