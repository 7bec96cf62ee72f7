"""Console blocks: how they are read and compared, and replays in real terminals."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import psutil
import pytest

from workshop.course import Course
from workshop.publishing.console import is_prefix, is_whole, line_matches, merged, read_block
from workshop.publishing.difference import Difference, PublishError
from workshop.publishing.markdown import fences
from workshop.publishing.ports import Ports
from workshop.publishing.publish import publish

SERVER = '''"""A server in miniature: it ticks at each request and says goodbye."""

import argparse
import http.server
import sys

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, default=8099)
arguments.add_argument("--greeting", default="hello")
options = arguments.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{options.greeting} from port {options.port}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print("asked for", self.path, flush=True)


try:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
except OSError:
    sys.exit(f"Port {options.port} is in use: try --port {options.port + 1}")
print(f"Listening on http://127.0.0.1:{options.port}", flush=True)
print("\\x1b[32mgreen\\x1b[0m", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    print("goodbye")
'''

LESSON = """# Lesson

```console terminal=server
$ python scripts/01_one/server.py
Listening on http://127.0.0.1:8099
…
```

Then, in another terminal:

```console
$ curl -s http://127.0.0.1:8099/a
hello from port 8099
$ url=http://localhost:8099/b
$ curl -si \\
>   "$url"
HTTP/1.0 200 OK
Server: …
Date: …
Content-Length: 20

hello from port 8099
$ python scripts/01_one/server.py
Port 8099 is in use: try --port 8100
```

```console terminal=server seconds=3
…
asked for /a
asked for /b
```

```console terminal=server
^C
goodbye
$ python scripts/01_one/server.py --port 8100 --greeting hi
Listening on http://127.0.0.1:8100
```

```console
$ curl -s http://127.0.0.1:8100/
hi from port 8100
$ python -c 'import time; print("ready", flush=True); time.sleep(60)'
ready
^C
…
KeyboardInterrupt
$ echo "it lives: $url, $COLUMNS"; stty size
it lives: http://localhost:8099/b, 80
24 80
```
"""


@pytest.fixture
def course(tmp_path: Path) -> Course:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "scripts" / "01_one").mkdir(parents=True)
    (tmp_path / "scripts" / "01_one" / "server.py").write_text(SERVER, encoding="utf-8")
    (tmp_path / "lessons" / "lessons.toml").write_text(
        '[[lesson]]\nslug = "01_one"\ntitle = "T"\nminutes = 1\nera = "E"\nsummary = "S"\n'
        '[lesson.ports]\n8099 = ["server.py", "client.py"]\n',
        encoding="utf-8",
    )
    return Course.load(tmp_path)


def replayed(course: Course, text: str) -> tuple[str, list[Difference]]:
    """The lesson's text after `publish`, and what it found."""
    course.lesson("1").text.write_text(text, encoding="utf-8")
    found = publish(course, None, compare=False)
    return course.lesson("1").text.read_text(encoding="utf-8"), found


def console(*lines: str, attributes: str = "") -> str:
    body = "".join(f"{line}\n" for line in lines)
    return f"```console{attributes}\n{body}```\n"


@pytest.mark.parametrize(
    ("shown", "line", "same"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("a…c", "abbbc", True),
        ("a…c", "ac", True),
        ("…", "", True),
        ("a.c", "abc", False),
        ("… ms    … ms", "3.5 ms  1000.0 ms", True),
        ("a    b", "a  b", False),
        ("id: …, again: …", "id: 1, again: 2", True),
    ],
)
def test_an_ellipsis_in_a_line_stands_for_any_text(shown: str, line: str, same: bool) -> None:
    assert line_matches(shown, line) is same


@pytest.mark.parametrize(
    ("shown", "lines", "whole", "prefix"),
    [
        ("", "", True, 0),
        ("", "a", False, 0),
        ("a", "a", True, 1),
        ("a", "a b", False, 1),
        ("a b", "a", False, None),
        ("a b", "a c", False, "never"),
        ("a …", "a", True, 1),
        ("a …", "a b c", True, 1),
        ("… a", "b c a", True, 3),
        ("… a", "b a c a", True, 2),
        ("… a", "b c", False, None),
        ("a … … b", "a b", True, 2),
        ("a … b c", "a b x b c", True, 5),
    ],
)
def test_shown_lines_account_for_the_fewest_lines(
    shown: str, lines: str, whole: bool, prefix: object
) -> None:
    assert is_whole(shown.split(), lines.split()) is whole
    assert is_prefix(shown.split(), lines.split()) == prefix


@pytest.mark.parametrize(
    ("shown", "lines", "result"),
    [
        ("a b c", "a x c", "a x c"),
        ("a id=… c", "x id=5 c", "x id=… c"),
        ("a … c", "a 1 2 d", "a … d"),
        ("a … c d", "a 1 2 x d", "a … x d"),
        ("a … c", "a 1 2 c e", "a … c e"),
        ("…", "1 2 3", "…"),
        ("a", "", ""),
        ("… z", "1", "… 1"),
    ],
)
def test_new_output_keeps_the_authors_elisions(shown: str, lines: str, result: str) -> None:
    assert merged(shown.split(), lines.split()) == result.split()


@pytest.mark.parametrize(
    "info", ["console server", "console terminal=", "console port=1", "console seconds=soon"]
)
def test_an_unknown_attribute_is_an_error(info: str) -> None:
    (fence,) = fences(f"\n```{info}\n$ ls\n```\n", "x.md")
    with pytest.raises(PublishError, match=r"x\.md, line 2: "):
        read_block(fence, "x.md")


def test_a_block_whose_program_is_missing_is_not_replayed(course: Course) -> None:
    missing = console("$ no-such-program", "its output", attributes=" needs=no-such-program")
    here = console("$ echo new", "old", attributes=" needs=bash")
    text, found = replayed(course, missing + here)
    assert text == missing + here.replace("old", "new")
    assert len(found) == 1


def test_a_containers_port_stays_and_the_machines_is_a_free_one(course: Course) -> None:
    ports = Ports(course, "docker run -p 8099:8081 x; docker run -p 127.0.0.1:8097:8081 x")
    command, server = ports.typed("docker run -p 8099:8081 -p 127.0.0.1:8097:8081 x")
    typed = re.fullmatch(r"docker run -p (\d{4}):8081 -p 127\.0\.0\.1:(\d{4}):8081 x", command)
    assert typed is not None
    assert {typed[1], typed[2]}.isdisjoint({"8099", "8097"})
    assert server is None
    assert ports.shown(f"port {typed[1]}") == "port 8099"


def test_a_lesson_that_shows_what_comes_is_left_as_it_is(course: Course) -> None:
    """Two terminals, Ctrl-C, continued commands and blocks, elision, ports, colours."""
    assert replayed(course, LESSON) == (LESSON, [])


@pytest.mark.parametrize(
    ("shown", "wrong", "at"),
    [
        (
            "hello from port 8099\n$ url",
            "hallo from port 8099\n$ url",
            "line 12, console, $ curl",
        ),
        ("Content-Length: 20", "Content-Length: 21", "line 15, console, $ curl -si"),
        ("goodbye", "good night", "line 34, console, ^C"),
        ("asked for /a", "asked for /x", "line 28, console, what came next"),
        ("Listening on http://127.0.0.1:8100", "listening…", "line 36, console, $ python"),
        ("try --port 8100", "try another", "line 23, console, $ python"),
    ],
)
def test_a_changed_output_fails_and_publish_writes_what_came(
    course: Course, shown: str, wrong: str, at: str
) -> None:
    lesson = course.lesson("1")
    assert shown in LESSON
    lesson.text.write_text(LESSON.replace(shown, wrong), encoding="utf-8")
    (difference,) = publish(course, None, compare=True)
    assert difference.what.startswith(at), difference.what
    assert difference.path == "lessons/01_one.md"
    assert f"-{wrong.partition(chr(10))[0]}" in difference.diff or "try" in difference.diff
    assert lesson.text.read_text(encoding="utf-8") == LESSON.replace(shown, wrong)
    after, _ = replayed(course, LESSON.replace(shown, wrong))
    # Where it is not known how much a running program prints, all of it is shown.
    assert after.replace("8100\ngreen\n", "8100\n") == LESSON


def test_a_changed_program_fails_the_comparison_unless_nothing_is_replayed(
    course: Course,
) -> None:
    lesson = course.lesson("1")
    lesson.text.write_text(LESSON, encoding="utf-8")
    (lesson.scripts / "server.py").write_text(
        SERVER.replace("goodbye", "bye"), encoding="utf-8"
    )
    assert publish(course, None, compare=True, replay=False) == []
    (difference,) = publish(course, None, compare=True)
    assert "-goodbye\n+bye" in difference.diff


def test_empty_blocks_are_filled_and_are_right_from_then_on(course: Course) -> None:
    text = console("$ python scripts/01_one/server.py", attributes=" terminal=one") + console(
        "$ curl -s http://127.0.0.1:8099/", "$ true", "$ printf 'a\\n\\nb\\n\\n\\n'"
    )
    filled, found = replayed(course, text)
    assert filled == console(
        "$ python scripts/01_one/server.py",
        "Listening on http://127.0.0.1:8099",
        "green",
        attributes=" terminal=one",
    ) + console(
        "$ curl -s http://127.0.0.1:8099/",
        "hello from port 8099",
        "$ true",
        "$ printf 'a\\n\\nb\\n\\n\\n'",
        "a",
        "",
        "b",
    )
    assert len(found) == 3
    assert replayed(course, filled) == (filled, [])


def test_a_command_that_does_not_end_is_stopped_and_said(course: Course) -> None:
    text = console("$ echo a; sleep 60", "a", "$ echo b", "b", attributes=" seconds=1")
    began = time.monotonic()
    new, (difference,) = replayed(course, text)
    assert time.monotonic() - began < 10
    assert "did not come to its end in time" in difference.diff
    assert new.endswith("$ echo b\nb\n```\n")


def test_lines_that_never_come_are_said_as_soon_as_the_command_has_ended(
    course: Course,
) -> None:
    began = time.monotonic()
    text = console("$ echo a", "a", "b", attributes=" terminal=x")
    _, (difference,) = replayed(course, text)
    assert time.monotonic() - began < 10
    assert "It ended before all had come" in difference.diff
    assert "-b" in difference.diff


def test_typing_into_a_busy_terminal_is_an_error(course: Course) -> None:
    text = console("$ echo a; sleep 60", "a", attributes=" terminal=x seconds=1") + console(
        "$ echo b", attributes=" terminal=x seconds=1"
    )
    new, (difference,) = replayed(course, text)
    assert not difference.curable
    assert "still runs" in difference.diff
    assert new == text


def test_output_that_would_read_as_a_command_is_never_written(course: Course) -> None:
    text = console("$ echo '$ rm -rf x'")
    new, (difference,) = replayed(course, text)
    assert new == text
    assert not difference.curable


def test_a_replay_works_in_a_folder_of_its_own(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (course.root / "work").mkdir()
    (course.root / "work" / "mine").write_text("mine", encoding="utf-8")
    text = console(
        "$ ls",
        "lessons  scripts",
        "$ mkdir work; ls $WORKSHOP_WORK; echo $OPENAI_API_KEY",
        "",
        "$ pwd",
        "…",
    )
    assert replayed(course, text) == (text, [])
    assert [path.name for path in (course.root / "work").iterdir()] == ["mine"]


def test_a_client_that_is_given_a_port_is_no_server(course: Course) -> None:
    client = course.lesson("1").scripts / "client.py"
    client.write_text(
        'import sys, time\nassert sys.argv[1] == "--port"\n'
        "print('asking', sys.argv[2], flush=True)\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    text = console(
        "$ python scripts/01_one/server.py",
        "Listening on http://127.0.0.1:8099",
        attributes=" terminal=server",
    ) + console(
        "$ python scripts/01_one/client.py", "asking 8099", attributes=" terminal=client"
    )
    began = time.monotonic()
    assert replayed(course, text) == (text, [])
    assert time.monotonic() - began < 15


def test_a_file_in_tmp_is_the_replays_own(course: Course) -> None:
    mine = Path("/tmp") / f"workshop-test-{os.getpid()}"
    text = console(f"$ echo hello > {mine}", f"$ cat '{mine}'; ls {mine}", "hello", str(mine))
    assert replayed(course, text) == (text, [])
    assert not mine.exists()


def test_the_file_that_tee_writes_is_there_for_the_next_command(course: Course) -> None:
    (course.root / "late_tee.py").write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "print(line := input(), flush=True)\n"
        "end = time.process_time() + 0.3\nwhile time.process_time() < end:\n    pass\n"
        "Path(sys.argv[1]).write_text(line)\nsys.stdin.read()\n",
        encoding="utf-8",
    )
    text = console(
        f"$ tee() {{ python {course.root}/late_tee.py $1; }}",
        "$ (echo hello; sleep 60) | tee shown",
        "hello",
        attributes=" terminal=shows",
    ) + console("$ cat shown", "hello")
    assert replayed(course, text) == (text, [])


def test_nothing_keeps_running_after_the_replay(course: Course) -> None:
    note = course.root / "pids"
    text = console(
        f"$ sleep 300 & echo $! > {note}; trap '' INT; (trap '' INT HUP; echo up; sleep 301)",
        "[1] …",
        "up",
        attributes=" terminal=x",
    )
    assert replayed(course, text)[1] == []
    pid = int(note.read_text(encoding="utf-8"))
    # What is left of a killed process until its parent asks is no running process.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
