"""Lesson 02's programs do what the lesson says of them, the broken ones included."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.test_02_browser import serving
from workshop.course import ROOT
from workshop.running import environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/02_event_format"


def run(program: str, *arguments: str, stdin: bytes = b"") -> str:
    """What the program prints. It must end by itself, and well."""
    command = [sys.executable, str(FOLDER / program), *arguments]
    done = subprocess.run(
        command, input=stdin, capture_output=True, env=environment(), timeout=60, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode("utf-8")


@contextmanager
def reading(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """event_stream.py at work, with pipes."""
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "event_stream.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        bufsize=0,
    )
    with process:
        yield process
        process.kill()


def line(process: subprocess.Popen[bytes]) -> str:
    """The next line it prints; the test's time limit is that of the pipe."""
    assert process.stdout is not None
    read = bytearray()
    while not read.endswith(b"\n"):
        piece = process.stdout.read(1)
        assert piece, f"it ended after {read!r}"
        read += piece
    return read.decode("utf-8").rstrip("\n")


def test_events_are_printed_as_they_come() -> None:
    with reading("-") as process:
        assert process.stdin is not None
        # Nothing more is written before the event was read: it can't be one late lump.
        process.stdin.write(b"id: 1\ndata: a\r\n\r")
        assert line(process) == "Event(type='message', data='a', last_event_id='1')"
        process.stdin.write(b"\nretry: 500\ndata: b\n\n")
        assert line(process) == "Event(type='message', data='b', last_event_id='1')"
        process.stdin.close()
        assert line(process) == "The stream ended. Last event id: '1', retry: 500 ms"
        assert process.wait(timeout=5) == 0


def test_a_url_is_read_as_it_comes() -> None:
    with (
        running(
            ROOT / "scripts/01_flask_stream/flask_server.py", "--interval", "3600"
        ) as server,
        reading(f"{server.url}/mcp-sse") as process,
    ):
        assert line(process) == "Event(type='message', data='Update 0', last_event_id='')"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_when_asked(how: signal.Signals) -> None:
    with reading("-") as process:
        assert process.stdin is not None
        process.stdin.write(b"data: a\n\n")
        line(process)
        process.send_signal(how)
        assert process.wait(timeout=2) == 0
        assert process.stdout is not None and process.stdout.read() == b""


@pytest.mark.parametrize(
    "program",
    [
        ROOT / "solutions/02_event_format/exercise.py",
        FOLDER / "exercise.py",
        FOLDER / "event_stream.py",
        FOLDER / "characters_fixed.py",
    ],
    ids=lambda path: f"{path.parts[-3]}-{path.stem}",
)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_without_a_traceback(program: Path, how: signal.Signals) -> None:
    # As a script starts it with `&`: Ctrl-C is to be ignored.
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, str(program)]
    process = subprocess.Popen(
        [*command, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        bufsize=0,
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"data: a\n\n")
        assert line(process)  # it is at work
        process.send_signal(how)
        assert process.wait(timeout=5) in (0, -how)
        assert process.stdout.read() == b""


def test_what_is_no_stream_is_one_line_and_status_1() -> None:
    port = free_port()
    with serving([], []) as server:
        page = f"http://127.0.0.1:{server.server_port}/"
        for source, said in [
            (page, "it is text/html"),
            (f"http://127.0.0.1:{port}/", "refused"),
            ("nonsense", "unknown url type"),
        ]:
            with reading(source) as process:
                text = line(process)
                assert text.startswith(f"Can't read an event stream from {source}: ")
                assert said in text
                assert process.wait(timeout=5) == 1
                assert process.stdout is not None and process.stdout.read() == b""


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"hello\r\n\r\n", ": hello"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", ": its bytes are encoded, as gzip"),
        # A chunk of 0x12 bytes of which two come.
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n12\r\nda", ": IncompleteRead"),
    ],
)
def test_a_broken_answer_is_one_line_and_status_1(answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with reading(url) as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
            text = line(process)
            assert text.startswith(f"Can't read an event stream from {url}") and said in text
            assert process.wait(timeout=5) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_leaves_quietly_when_nobody_reads_what_it_prints(unbuffered: str) -> None:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "event_stream.py"), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"PYTHONUNBUFFERED": unbuffered}),
        bufsize=0,
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"data: a\n\n")
        line(process)
        process.stdout.close()
        process.stdin.write(b"data: b\n\n")
        assert process.wait(timeout=5) == 0
        assert process.stderr is not None and process.stderr.read() == b""


def test_an_event_over_the_bound_ends_the_program_with_a_line() -> None:
    command = [sys.executable, str(FOLDER / "event_stream.py"), "-"]
    stream = b"data: " + b"x" * 1_100_000
    done = subprocess.run(command, input=stream, capture_output=True, env=environment())
    assert done.returncode == 1
    assert done.stderr.endswith(b": An event is over 1048576 characters\n")


def test_httpx2_has_the_same_bound() -> None:
    def events(size: int) -> int:
        response = httpx2.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=b"data: " + b"x" * (size - 6) + b"\n\n",
            request=httpx2.Request("GET", "http://127.0.0.1/"),
        )
        return len(list(httpx2.EventSource(response)))

    assert events(1_048_576) == 1
    with pytest.raises(httpx2.SSEError):
        events(1_048_577)


# --- broken, then fixed ------------------------------------------------------------------


def test_startswith() -> None:
    plain = b"data: Update 0\n\ndata: Update 1\n\n"
    assert run("startswith_broken.py", stdin=plain).count("event with data") == 2
    stream = b"data:a\n\nevent: add\ndata: b\ndata: c\n\ndata\n\n"
    assert run("startswith_broken.py", stdin=stream).splitlines() == [
        "event with data 'b'",
        "event with data 'c'",
    ]
    assert run("startswith_fixed.py", stdin=stream).splitlines() == [
        "message with data 'a'",
        r"add with data 'b\nc'",
        "message with data ''",
    ]


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        ("characters_broken.py", ["'na\ufffd'", "'\ufffdve'"]),
        ("characters_fixed.py", ["'na'", "'ïve'"]),
    ],
)
def test_a_character_cut_in_two(program: str, wanted: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        bufsize=0,
    )
    with process:
        assert process.stdin is not None
        for chunk, shown in zip([b"na\xc3", b"\xafve"], wanted, strict=True):
            process.stdin.write(chunk)
            assert line(process).endswith(f" is {shown}")
        process.stdin.close()


LF, CR = "Ada\n\nevent: admin\ndata: x", "Ada\r\revent: admin\rdata: x"


@pytest.mark.parametrize(
    ("program", "name", "injected"),
    [
        ("injection_broken.py", "Ada", False),
        ("injection_broken.py", LF, True),
        ("injection_broken.py", CR, True),
        ("injection_lf_only.py", LF, False),
        ("injection_lf_only.py", CR, True),
        ("injection_fixed.py", LF, False),
        ("injection_fixed.py", CR, False),
    ],
)
def test_injection(program: str, name: str, injected: bool) -> None:
    stream = run(program, name).encode()
    printed = run("event_stream.py", "-", stdin=stream)
    assert ("Event(type='admin', data='x is here'" in printed) == injected
    assert printed.count("Event(") == (2 if injected else 1)


def test_compare_shows_what_others_make_of_an_id() -> None:
    printed = run("compare.py", stdin=b"id: 7\ndata: a\n\n: ping\n\n").splitlines()
    assert [text.count("(") for text in printed] == [1, 2, 1]
    printed = run("compare.py", stdin=b"id: 7\n\n").splitlines()
    assert [text.count("(") for text in printed] == [0, 1, 1]


@pytest.mark.quiet
def test_the_parser_is_the_fastest_on_every_kind_of_stream() -> None:
    slower: set[str] = set()
    for _ in range(3):  # what is slower must be so each time, not once on a busy machine
        rows = run("benchmark.py", "--rounds", "9", "--scale", "60").splitlines()[1:]
        assert len(rows) == 8
        found = {
            row[:34].strip()
            for row in rows
            if min(float(times) for times in re.findall(r"([0-9.]+) x", row)) <= 1
        }
        slower = found if not slower else slower & found
        if not slower:
            return
    assert not slower
