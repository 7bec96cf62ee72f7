"""Lesson 06's checks on other servers than the exercise, and on it as it is solved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk_parts import program, serving
from workshop.checks.engine import check_program, check_url
from workshop.checks.lesson_06 import suite
from workshop.course import ROOT

pytestmark = pytest.mark.usefixtures("warm")

SCRIPTS = ROOT / "scripts/06_sdk_server"
FOLDER = ROOT / "solutions/06_sdk_server"
SOLUTION = FOLDER / "exercise.py"


def in_folder(folder: Path, text: str) -> Path:
    """The exercise with this text, and beside it what it imports."""
    path = folder / "exercise.py"
    path.write_text(text, encoding="utf-8")
    (folder / "serving.py").write_bytes((FOLDER / "serving.py").read_bytes())
    return path


def edited(edits: list[tuple[str, str]]) -> str:
    """The solution with these edits; what is found must stand in it once."""
    text = SOLUTION.read_text(encoding="utf-8")
    for find, replace in edits:
        assert text.count(find) == 1, find
        text = text.replace(find, replace)
    return text


def test_what_the_exercise_imports_is_what_lies_beside_the_lessons_programs() -> None:
    assert (FOLDER / "serving.py").read_bytes() == (SCRIPTS / "serving.py").read_bytes()


# A `def` runs on a thread, and says its progress from there: 0 first, then in per cent.
ON_A_THREAD = """\
    anyio.from_thread.run(ctx.report_progress, 0, 100)
    for done in range(1, packets + 1):
        tea = anyio.from_thread.run(scans[box].get)
        anyio.from_thread.run(ctx.report_progress, 100 * done / packets, 100, tea)
"""


def test_what_the_exercise_leaves_open_passes(tmp_path: Path) -> None:
    in_the_loop = """\
    for done in range(1, packets + 1):
        tea = await scans[box].get()
        await ctx.report_progress(done, packets, f"{tea} is in the box")
"""
    text = edited(
        [
            (
                'app.mount("/mcp", server.sse_app(',
                'app.mount("/mcp/", server.sse_app(message_path="/post/", ',
            ),
            ('[PUBLIC_NAME, "127', '["tea.example", "tea.example:*", "127'),
            ("import asyncio\n", "import asyncio\nimport anyio\n"),
            ("async def pack(", "def pack("),
            (in_the_loop, ON_A_THREAD),
        ]
    )
    report = check_program(suite, in_folder(tmp_path, text))
    assert report.ok, report.as_json()


def test_a_path_without_its_slash_is_found_on_anybodys_server() -> None:
    """Those that pass are in test_06_calculators.py, where they run already."""
    with serving(program("slash_broken").app) as url:
        report = check_url(suite, f"{url}/sse")
    assert report.ids("failed") == ["accepted"], report.as_json()
