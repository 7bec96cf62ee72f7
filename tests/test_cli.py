"""The `workshop` command: what each command prints, and its exit status."""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from tests import mini_course
from workshop import checks, cli
from workshop.checks.engine import Report, check_program
from workshop.checks.engine import Result as CheckResult
from workshop.complaints import Complaint
from workshop.course import Course
from workshop.failed import Failed
from workshop.report_table import report_table
from workshop.running import free_port, recorded, running
from workshop.screens import show_overview, show_report

Run = Callable[..., Result]

WRONG = 'EVENT = b"data: hallo\\n\\n"\nNAME = "greeting"\n'
RIGHT = 'EVENT = b"data: hello\\n\\n"\nNAME = "greeting"\n'


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return mini_course.build(tmp_path)


@pytest.fixture
def run(course: Course, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(cli, "load_course", lambda: mini_course.load(course.root))
    monkeypatch.setattr(checks, "suite_of", mini_course.suite_of)
    monkeypatch.delenv("COLUMNS", raising=False)
    runner = CliRunner()

    def run(*words: str, status: int = 0) -> Result:
        result = runner.invoke(cli.app, list(words), env={"NO_COLOR": "1"})
        assert result.exit_code == status, result.output
        for line in [] if "--json" in words else result.output.splitlines():
            assert len(line) <= 80 and line == line.rstrip(), repr(line)
        return result

    return run


def write(course: Course, text: str) -> None:
    course.lesson("1").work.write_text(text, encoding="utf-8")


def test_the_overview_says_where_you_are_and_the_one_next_thing(
    run: Run, course: Course
) -> None:
    first = run().output
    assert first.splitlines()[0].endswith("0 of 2 lessons done")
    assert "> 01  A greeting   10 min  not started" in first
    assert first.endswith("Next, type:\n  uv run workshop start 01\n")

    run("start", "1")
    assert run().output.endswith("Next, type:\n  uv run workshop check 01 --watch\n")

    run("check", status=1)
    assert "in progress (1 of 4 checks)" in run().output

    write(course, RIGHT)
    run("check")
    done = run().output
    assert "  01  A greeting   10 min  done" in done
    assert "> 02  A farewell" in done
    assert done.endswith("Next, type:\n  uv run workshop start 02\n")


def test_the_overview_of_a_learner_who_has_done_everything(run: Run, course: Course) -> None:
    for lesson in course.lessons:
        course.start(lesson)
        course.record(lesson, 4, 4)
        lesson.work.write_text("later", encoding="utf-8")
    assert "passed, changed since" in run().output
    assert "2 of 2 lessons done" in run().output
    assert run().output.splitlines()[-1].startswith("  uv run workshop check 05 --url http://")


def test_of_two_started_lessons_the_first_is_in_progress(run: Run, course: Course) -> None:
    for lesson in course.lessons:
        course.start(lesson)
    os.utime(course.lesson("1").work, (1, 1))
    assert "> 01" in run().output
    course.record(course.lesson("1"), 4, 4)
    assert "> 02" in run().output
    write(course, "broken (")
    run("check", "1", status=1)
    assert "> 02" in run().output, "what was passed stays passed"


def test_without_a_number_the_lesson_in_progress_is_meant(run: Run, course: Course) -> None:
    for words in (["check"], ["hint"], ["solution"]):
        said = run(*words, status=2).stderr
        assert f"uv run workshop {words[0]} 05" in said.replace("\n", " ")
        assert said.endswith("  uv run workshop start 01\n")
    assert "work/01_greeting/exercise.py" in run("start").output
    assert "01  A greeting" in run("check", status=1).output
    assert "Hint 1 of 3" in run("hint").output
    assert "+++ the solution" in run("solution").output
    write(course, RIGHT)
    assert run("start").output.startswith("01  A greeting"), "it is only shown again"
    assert course.lesson("1").work.read_text(encoding="utf-8") == RIGHT
    run("check")
    assert run("start").output.startswith("02  A farewell")
    assert "Kept" not in run("start", "--reset").output


def test_the_options_that_every_command_is_expected_to_have(run: Run) -> None:
    assert run("-h").output == run("--help").output
    assert run("check", "-h").output.startswith("Usage: ")
    version = importlib.metadata.version("mcp-sse-workshop")
    assert run("--version").output == f"mcp-sse-workshop {version}\n"


def test_start_says_what_to_read_what_to_edit_and_what_to_type(
    run: Run, course: Course
) -> None:
    assert run("start", "01_greeting").output == (
        "01  A greeting\n\n"
        "  Read  lessons/01_greeting.md\n"
        "  Edit  work/01_greeting/exercise.py\n\n"
        "  TODO 1  Write the event\n"
        "  TODO 2  Name it\n\n"
        "Next, type:\n"
        "  uv run workshop check 01 --watch\n"
    )
    assert "It builds on lesson 01, which you have not done yet." in run("start", "2").output


def test_start_refuses_to_overwrite_and_reset_keeps_what_was_there(
    run: Run, course: Course
) -> None:
    run("start", "1")
    write(course, "mine")
    assert "uv run workshop start 01 --reset" in run("start", "1", status=2).stderr
    assert course.lesson("1").work.read_text(encoding="utf-8") == "mine"
    reset = run("start", "1", "--reset").output
    assert "Kept  work/01_greeting/exercise.backup.py, what you had before" in reset
    kept = course.lesson("1").work.with_name("exercise.backup.py")
    assert kept.read_text(encoding="utf-8") == "mine"


def test_start_at_a_todo_says_what_is_done_and_what_was_kept(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, "mine")
    run("check", "1", status=1)
    output = run("start", "--at", "2").output
    assert "  Kept  work/01_greeting/exercise.backup.py, what you had before\n" in output
    assert "  TODO 1  Write the event  (done)\n  TODO 2  Name it\n" in output
    assert "> 01  A greeting   10 min  started" in run().output
    assert "TODO 2" in run("check", "1", status=1).output


def test_one_todo_can_be_checked_and_is_no_progress(run: Run, course: Course) -> None:
    run("start", "1", "--at", "2")
    first = run("check", "1", "--todo", "1").output
    assert "\nTODO 1 is done: 3 checks passed in 0." in first
    assert "\n1 other check was left out.\n" in first
    assert first.endswith(
        "\nNext is TODO 2: work/01_greeting/exercise.py:6\n"
        "\nThen type:\n  uv run workshop check 01 --todo 2\n"
    )
    second = run("check", "1", "--todo", "2", status=1).output
    assert "   2 ✗ Its name is" in second
    assert "\n1 passed, 1 failed in 0." in second
    assert "\n2 other checks were left out.\n" in second
    found = json.loads(run("check", "--todo", "1", "--json").stdout)
    assert (found["todo"], found["left_out"], len(found["checks"])) == (1, 1, 3)
    assert "> 01  A greeting   10 min  started" in run().output
    write(course, RIGHT)
    assert run("check", "1", "--todo", "2").output.endswith(
        "That was the last TODO. Now run all checks:\n  uv run workshop check 01\n"
    )
    assert "Next" not in run("check", "1", "--todo", "1", "--solution").output


def test_a_failing_check_says_everything_in_order(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, WRONG)
    output = run("check", "1", status=1).output
    before, after = re.split(r" in \d\.\d s\.\n", output)
    assert before == (
        "01  A greeting\n"
        "    work/01_greeting/exercise.py\n"
        "\n"
        "     ✓ 2 passed\n"
        "   2 ✗ The event says `hello`                                             TODO 1\n"
        "       WHATWG HTML, parsing an event stream\n"
        "       Sent       hello\\r\\n\n"
        "       Came back  data: hallo\\n\n"
        "                         ^\n"
        "       Wanted     data: hello\n"
        "       Hint       End it with a blank line: [/red] is no markup here.\n"
        "\n"
        "       Why        Without the blank line a client waits for ever [see the\n"
        "                  text].\n"
        '       Read       "The blank line" in lessons/01_greeting.md\n'
        "       TODO 1     work/01_greeting/exercise.py\n"
        "\n"
        "     · 1 more waits for this one\n"
        "\n"
        "2 passed, 1 failed, 1 waiting"
    )
    assert after == ("One more hint:  uv run workshop hint 01\nAdd --list to see all checks.\n")


def test_all_checks_are_listed_on_request(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, WRONG)
    output = run("check", "1", "--list", status=1).output
    assert re.split(r" in \d\.\d s\.\n", output) == [
        "01  A greeting\n"
        "    work/01_greeting/exercise.py\n"
        "\n"
        "   1 ✓ The file runs\n"
        "   2 ✗ The event says `hello`                                             TODO 1\n"
        "   3 · It is one event                                               waits for 2\n"
        "   4 ✓ Its name is `greeting`, whatever the program that sends it may call\n"
        "       itself in its log\n"
        "\n"
        "2 passed, 1 failed, 1 waiting",
        "One more hint:  uv run workshop hint 01\nLeave out --list to see what to fix first.\n",
    ]
    full = run("check", "1", "--list", "--all", status=1).output
    assert "   1 ✓ The file runs\n" in full and "       Hint  " in full
    write(course, RIGHT)
    assert "   3 ✓ It is one event\n" in run("check", "1", "--list").output


def test_the_first_failure_is_shown_in_full_and_the_others_on_request(run: Run) -> None:
    run("start", "1")
    short = run("check", "1", status=1).output
    assert "work/01_greeting/exercise.py:3" in short, "the line of the TODO"
    assert short.count("Hint ") == 1
    assert short.endswith(
        "\nAdd --all to see every failure in full, --list to see all checks.\n"
    )
    full = run("check", "1", "--all", status=1).output
    assert full.count("Hint ") == 2
    assert "GET /name\n                  Accept: text/plain\n       Came back  nothing" in full
    assert "--all" not in full


def test_passing_is_said_in_short_with_what_is_next(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, RIGHT)
    output = run("check", "01").output
    assert "All 4 checks passed in 0." in output
    assert output.endswith(
        " s.\n"
        "\n"
        "Now you can greet anybody who listens.\n"
        "\n"
        "Show a colleague\n"
        "Your greeting, and that it does not wait for the end of anything, in the editor\n"
        "of your choice:\n"
        "  cat work/01_greeting/exercise.py\n"
        "And again:\n"
        "  cat work/01_greeting/exercise.py \\\n"
        "    | tail -1\n"
        "\n"
        "Lesson 01 is done. Next, type:\n"
        "  uv run workshop start 02\n"
    )
    assert "✓" not in output, "there is nothing to look for"


def test_a_file_that_does_not_run_says_why(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, "EVENT = (\n")
    output = run("check", "1", status=1).output
    assert (
        "\n"
        "  Start here. Python says about your file:\n"
        "    work/01_greeting/exercise.py:1\n"
        "      EVENT = (\n"
        "              ^\n"
        "      SyntaxError: '(' was never closed\n"
        "\n"
        "   1 ✗ The file runs\n"
    ) in output
    assert output.count("SyntaxError") == 1
    assert "     · 3 more wait for this one\n" in output


def test_the_solution_can_be_checked_and_counts_for_nothing(run: Run, course: Course) -> None:
    output = run("check", "1", "--solution").output
    assert "solutions/01_greeting/exercise.py" in output
    assert "Next" not in output
    assert "not started" in run().output


def test_json_is_all_that_is_printed(run: Run, course: Course) -> None:
    run("start", "1")
    found = json.loads(run("check", "1", "--json", status=1).stdout)
    assert found["passed"] is False
    assert [check["state"] for check in found["checks"]] == [
        "passed",
        "failed",
        "waiting",
        "failed",
    ]
    assert found["checks"][1] | {"seconds": 0} == {
        "id": "event",
        "title": "The event says `hello`",
        "state": "failed",
        "rule": "WHATWG HTML, parsing an event stream",
        "todo": 1,
        "seconds": 0,
        "hint": "wrong",
        "hint_text": "End it with a blank line: [/red] is no markup here.",
        "sent": "hello\r\n",
        "received": "",
        "at": 0,
        "wanted": "data: hello",
        "why": "Without the blank line a client waits for ever [see the text].",
        "read": "The blank line",
    }
    write(course, RIGHT)
    assert json.loads(run("check", "1", "--json").stdout)["passed"] is True
    missing = json.loads(run("check", "2", "--json", status=2).stdout)
    assert missing["passed"] is False and "workshop start 02" in missing["error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "1"], "uv run workshop start 01"),
        (["check"], "No lesson is in progress"),
        (["check", "7"], "There is no lesson '7'"),
        (["check", "x"], "There is no lesson 'x'"),
        (["check", "1", "--url", "localhost:8081"], "One looks like http://127.0.0.1:8000"),
        (["check", "1", "--url", "http://[::1"], "not a URL"),
        (["check", "1", "--url", "http://127.0.0.1:99999"], "not a URL: Port out of range"),
        (["check", "1", "--solution", "--url", "http://127.0.0.1:1"], "either --solution or"),
        (["check", "1", "--watch", "--json"], "without --url and --json"),
        (["check", "2", "--solution"], "has no exercise"),
        (["check", "1", "--solution", "--todo", "3"], "has no TODO 3. Its TODOs: 1, 2."),
        (["check", "1", "--todo", "1", "--url", "http://127.0.0.1:1"], "a URL has no TODOs"),
        (["start", "1", "--at", "3"], "Lesson 01 has no TODO 3. Its TODOs: 1, 2."),
        (["start", "2", "--at", "2"], "Lesson 02 has no TODO 2. Its TODOs: none."),
        (["hint", "1"], "uv run workshop start 01"),
        (["hint", "1", "--todo", "2"], "uv run workshop start 01"),
        (["hint", "1", "--todo", "3"], "Lesson 01 has no TODO 3. Its TODOs: 1, 2."),
        (["solution", "1"], "uv run workshop start 01"),
        (["solution", "2"], "has no exercise"),
        (["start", "9"], "There is no lesson '9'"),
        (["publish", "9"], "There is no lesson '9'"),
        (["chek"], "Did you mean 'check'?"),
    ],
)
def test_what_cannot_be_done_is_said_in_plain_words(
    run: Run, words: list[str], said: str
) -> None:
    result = run(*words, status=2)
    assert said in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_nothing_at_the_url_is_a_clear_failure(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"Nothing answers at {url}" in run("check", "1", "--url", url, status=2).stderr


def test_a_lesson_whose_checks_need_a_file_says_so(run: Run) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as it:
        url = f"http://127.0.0.1:{it.server_port}"
        said = run("check", "1", "--url", url, status=2).stderr.replace("\n", " ")
    assert "need a file; they can't check a URL" in said


def test_hints_come_one_at_a_time_for_the_first_todo_that_fails(
    run: Run, course: Course
) -> None:
    run("start", "1")
    first = run("hint", "1").output
    assert first.startswith("TODO 1  Write the event\n        work/01_greeting/exercise.py:3\n")
    assert "Hint 1 of 3\n  What ends an event?\n" in first
    assert "2 hints are left. For the next one, type:\n  uv run workshop hint 01" in first
    assert "1 hint is left." in run("hint", "1").output
    for _ in range(2):
        last = run("hint", "1").output
        assert "What ends an event?" in last and "EVENT = b'data: …'" in last
        assert last.endswith("uv run workshop solution 01\n")
    # The ladder of the next TODO begins when the first passes.
    write(course, 'EVENT = b"data: hello\\n\\n"\nNAME = ""\n')
    assert "Hint 1 of 2\n  What is it?\n" in run("hint", "1").output
    write(course, RIGHT)
    assert "you need no hint" in run("hint", "1").output


def test_a_hint_can_be_had_for_any_todo(run: Run, course: Course) -> None:
    run("start", "1")
    second = run("hint", "1", "--todo", "2").output
    assert "Hint 1 of 2\n  What is it?\n" in second
    assert second.endswith("type:\n  uv run workshop hint 01 --todo 2\n")
    assert course.hints_given(course.lesson("1"), 1) == 0


def test_what_python_says_comes_before_a_hint(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, "EVENT = b''\nNAME = ''\ndef x(): return nothing_of_this_name\n")
    output = run("hint", "1").output
    assert output.index("'nothing_of_this_name' is not defined") < output.index("Hint 1 of 3")


def test_a_hint_for_a_file_that_does_not_run_is_what_it_printed(
    run: Run, course: Course
) -> None:
    run("start", "1")
    write(course, "EVENT =\n")
    assert "SyntaxError: invalid syntax" in run("hint", "1").output
    assert course.hints_given(course.lesson("1"), 1) == 0


def test_the_solution_is_shown_beside_yours_without_its_marks(run: Run, course: Course) -> None:
    run("start", "1")
    output = run("solution", "1").output
    assert '-EVENT = b""\n+EVENT = b"data: hello\\n\\n"' in output
    assert "# ---" not in output
    write(course, mini_course.SOLUTION)  # with marks: then the marks differ
    assert "-# --- solution" in run("solution", "1").output


def test_a_file_like_the_solution_is_said_to_be(run: Run, course: Course) -> None:
    run("start", "1")
    lines = mini_course.SOLUTION.splitlines(keepends=True)
    kept = [text for text in lines if not text.startswith(("# ---", "# EVENT", "# NAME"))]
    write(course, "".join(kept))
    assert "Your file is the same as the solution" in run("solution", "1").output


def test_broken_progress_is_said_and_does_not_stop_anything(run: Run, course: Course) -> None:
    run("start", "1")
    (course.work_root / "progress.json").write_text("{", encoding="utf-8")
    assert "progress.corrupt.json" in run().stderr


# --- the screens themselves ----------------------------------------------------------------


def screen(width: int = 80, *, encoding: str = "utf-8", colour: bool = False) -> Console:
    file = TextIOWrapper(BytesIO(), encoding=encoding, newline="")
    return Console(
        file=file,
        width=width,
        markup=False,
        highlight=False,
        soft_wrap=True,
        force_terminal=colour,
        color_system="standard" if colour else None,
    )


def printed(console: Console) -> str:
    file = console.file
    assert isinstance(file, TextIOWrapper)
    file.flush()
    file.seek(0)
    return file.read()


def report(failure: Failed, hint: str = "Look.") -> Report:
    result = CheckResult("a", "A", "failed", "Because.", "Here", "MUST", None, failure, hint)
    return Report("01_greeting", "http://127.0.0.1:1", [result])


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize(
    "received",
    [
        b"[bold]x[/bold] [red] :smile: \x1b[31m http://x",
        "é世界\U0001f600".encode() * 40,
        b"\xff\x00\r\n" * 30,
        b"x" * 500,
        b"",
    ],
)
def test_what_came_back_is_shown_to_the_byte_and_never_too_wide(
    course: Course, width: int, received: bytes
) -> None:
    for at in (None, 0, len(received) // 2, len(received)):
        console = screen(width)
        failure = Failed("h", sent=received, received=received, at=at, wanted="w " * 90)
        show_report(console, course, course.lesson("1"), report(failure))
        text = printed(console)
        assert "\x1b" not in text and "\x00" not in text
        assert ("^" in text) == (at is not None)
        assert max(cell_len(line) for line in text.splitlines()) <= min(width, 80)


def test_the_caret_stands_under_the_byte_also_after_wide_characters(course: Course) -> None:
    console = screen()
    received = "data: 世界 x".encode()
    failure = Failed("h", received=received, at=received.index(b"x"))
    show_report(console, course, course.lesson("1"), report(failure))
    lines = printed(console).splitlines()
    caret = next(number for number, text in enumerate(lines) if text.strip() == "^")
    before = lines[caret - 1][: lines[caret - 1].index("x")]
    assert cell_len(before) == lines[caret].index("^")


def test_square_brackets_are_no_markup(course: Course) -> None:
    console = screen()
    failure = Failed("h", received=b"[bold]x[/bold] :smile:", wanted="[red]")
    show_report(console, course, course.lesson("1"), report(failure, "[/]"))
    text = printed(console)
    assert "[bold]x[/bold] :smile:" in text and "[red]" in text and "[/]" in text


def test_the_end_of_a_long_traceback_is_what_is_shown(course: Course) -> None:
    console = screen()
    trace = "\n".join(f"line {n}" for n in range(40)) + "\nValueError: here\n"
    failure = Failed("did-not-start", received=trace, label="Result")
    show_report(console, course, course.lesson("1"), report(failure))
    text = printed(console)
    assert "ValueError: here" in text and "line 39" in text and "line 3\n" not in text


def test_what_came_again_and_again_is_shown_once(course: Course) -> None:
    console = screen()
    received = b"event: x\n" + b": heartbeat\n\n" * 25 + b"end" + b"\n" * 3
    show_report(console, course, course.lesson("1"), report(Failed("h", received=received)))
    rows = printed(console).partition("Came back  ")[2].partition("       Hint")[0]
    assert [row.strip() for row in rows.splitlines()] == [
        r"event: x\n",
        r": heartbeat\n",
        r"\n",
        "… the same 24 times more",
        r"end\n",
        r"\n",
        r"\n",
    ]


def test_no_word_of_a_text_is_split(course: Course) -> None:
    console = screen()
    said = (
        "AttributeError: 'EventStreamParser' object has no attribute 'feed' and none of those"
    )
    failure = Failed("h", received=f"    {said}\n", label="Raised")
    show_report(console, course, course.lesson("1"), report(failure))
    text = printed(console)
    assert " ".join(text.split()).count(said) == 1 and "\\n" not in text


def test_a_notebook_shows_what_python_says_above_the_checks(course: Course) -> None:
    lesson = course.lesson("1")
    complaint = Complaint(lesson.work, "KeyError: '<x>'", 7, "return names[name]", 7)
    failed = replace(report(Failed("h")), complaints=[complaint])
    table = report_table(course, lesson, failed)
    before, _, _ = table.partition("<table")
    assert "Fix this first" not in before, "it may be another place"
    assert (
        "work/01_greeting/exercise.py:7\n  return names[name]\n         ^\n"
        "KeyError: &#x27;&lt;x&gt;&#x27;"
    ) in before


def seen(table: str) -> str:
    """The text of a table that is seen before anything is unfolded."""
    folded = re.compile(r"<details><summary[^>]*>(.*?)</summary>.*?</details>", re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", folded.sub(r"\1", table)))


def test_a_notebook_folds_what_passed_and_what_waits(course: Course) -> None:
    course.start(course.lesson("1"))
    write(course, WRONG.replace("greeting", "grating"))
    report = check_program(mini_course.suite, course.lesson("1").work)
    table = report_table(course, course.lesson("1"), report)
    text = seen(table)
    assert "1 of 4 checks passed in 0." in text and "Fix this first: The event says" in text
    assert text.count("Sent") == 1, "only the first failure is unfolded"
    assert "· 1 more waits for this one" in text and "It is one event" not in text
    assert text.endswith("✓ 1 passed ") and "The file runs" not in text
    assert "It is one event" in table and "The file runs" in table and table.count("Sent") == 2


def test_a_notebook_says_what_a_passed_lesson_gives(course: Course) -> None:
    course.start(course.lesson("1"))
    write(course, RIGHT)
    report = check_program(mini_course.suite, course.lesson("1").work)
    table = report_table(course, course.lesson("1"), report)
    assert "Now you can greet anybody who listens." in table
    assert "Show a colleague." in table and "cat work/01_greeting/exercise.py" in table
    assert "The file runs" not in seen(table)
    one = replace(report, todo=1, left_out=1)
    assert "TODO 1 is done" in report_table(course, course.lesson("1"), one)
    assert "Now you can" not in report_table(course, course.lesson("1"), one)


def test_what_python_says_is_shown_before_the_failure(course: Course) -> None:
    lesson = course.lesson("1")
    complaints = [
        Complaint(lesson.work, "KeyError: 'x'", 7, "return names[name]", 7),
        Complaint(lesson.work, "There is no code in this file."),
    ]
    failed = replace(
        report(Failed("h", received="x")), subject=str(lesson.work), complaints=complaints
    )
    console = screen()
    show_report(console, course, lesson, failed)
    text = printed(console)
    assert text.startswith(
        "01  A greeting\n"
        "    work/01_greeting/exercise.py\n"
        "\n"
        "  Start here. Python says about your file:\n"
        "    work/01_greeting/exercise.py:7\n"
        "      return names[name]\n"
        "             ^\n"
        "      KeyError: 'x'\n"
        "    work/01_greeting/exercise.py\n"
        "      There is no code in this file.\n"
        "\n"
        "   1 ✗ A\n"
    )


def test_what_programs_print_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(
        "import socket, sys\n"
        "print('said', file=sys.stderr)\n"
        "socket.create_server(('127.0.0.1', int(sys.argv[2]))).accept()\n"
        "input()\n",
        encoding="utf-8",
    )
    with recorded() as programs, running(path) as program:
        program.wait_for_output("EOFError")
    assert [one.output.partition("\n")[0] for one in programs] == ["said"]
    with running(path):
        pass
    assert len(programs) == 1


def test_a_check_that_breaks_is_no_traceback(run: Run, course: Course) -> None:
    run("start", "1")
    write(course, 'EVENT = "not bytes"\nNAME = "greeting"\n')
    said = run("check", "1", status=2).stderr.replace("\n", " ")
    assert said.startswith("A check failed to handle what it got: AssertionError")
    assert "please report it, with your file." in said


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_does_not_break_the_overview(course: Course, width: int) -> None:
    course.start(course.lesson("1"))
    course.record(course.lesson("1"), 1, 4)
    console = screen(width)
    show_overview(console, course)
    text = printed(console)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    if width == 40:
        assert (
            "Server-Sent Events and MCP, by hand\n"
            "0 of 2 lessons done\n"
            "\n"
            "> 01  A greeting\n"
            "      10 min  in progress (1 of 4\n"
            "      checks)\n"
            "  02  A farewell\n"
            "      20 min  not started\n"
        ) in text


def test_colour_is_for_terminals_and_marks_are_for_unicode(course: Course) -> None:
    plain, coloured, ascii_only = screen(), screen(colour=True), screen(encoding="ascii")
    for console in (plain, coloured, ascii_only):
        show_report(console, course, course.lesson("1"), report(Failed("h", received="x")))
        show_overview(console, course)
    assert "\x1b" not in printed(plain)
    assert "\x1b[" in printed(coloured)
    assert "no A" in printed(ascii_only)


# --- as a learner runs it --------------------------------------------------------------------


def workshop(*words: str, work: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workshop.cli", *words],
        cwd=work,
        env={**os.environ, "WORKSHOP_WORK": str(work), "PYTHONUTF8": "1", **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_the_real_course_from_any_folder(tmp_path: Path) -> None:
    here = workshop(work=tmp_path)
    assert here.returncode == 0 and here.stderr == ""
    assert "uv run workshop start 01" in here.stdout
    started = workshop("start", "01", work=tmp_path)
    assert started.returncode == 0, started.stderr
    assert (tmp_path / "01_flask_stream" / "exercise.py").is_file()
    checked = workshop("check", work=tmp_path)
    assert checked.returncode == 1 and "TODO 1" in checked.stdout, checked.stderr
    assert "\x1b" not in checked.stdout
    assert max(len(line) for line in checked.stdout.splitlines()) <= 80


def test_the_overview_needs_none_of_the_slow_packages(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from workshop import cli\n"
        "try: cli.app([])\n"
        "except SystemExit: pass\n"
        "print({'mcp', 'fastapi', 'starlette', 'agents', 'flask'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "WORKSHOP_WORK": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.endswith("set()\n")
