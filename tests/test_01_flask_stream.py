"""Lesson 01: every claim of its text, against its real programs."""

from __future__ import annotations

import io
import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.handlers import SimpleHandler

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from tests.page_parts import complaints
from tests.parts import require
from workshop.checks import suite_of
from workshop.checks.engine import check_program, check_url
from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.running import HOST, free_port, recorded, running

pytestmark = pytest.mark.usefixtures("warm")

SCRIPTS = ROOT / "scripts/01_flask_stream"
SOLUTION = ROOT / "solutions/01_flask_stream/exercise.py"
FLASK_SERVER = SCRIPTS / "flask_server.py"
END_FOR_GOOD = SCRIPTS / "end_for_good.py"

# The path of an event stream in every program of the lesson.
PROGRAMS = [
    pytest.param(FLASK_SERVER, "/mcp-sse", id="flask_server"),
    pytest.param(SCRIPTS / "late_lump_fixed.py", "/mcp-sse", id="late_lump_fixed"),
    pytest.param(END_FOR_GOOD, "/done-event", id="end_for_good"),
    pytest.param(SOLUTION, "/mcp-sse?interval=3600", id="solution"),
]
HELD = ("--interval", "3600")  # nobody waits for the second event: the producer is held

UPDATES = "".join(f"data: Update {number}\n\n" for number in range(5)).encode()


def held(program: Path) -> tuple[str, ...]:
    """The options that hold the producer; the solution takes them in the URL."""
    return () if program == SOLUTION else HELD


def connect(port: int, path: str) -> socket.socket:
    """Send a GET request over a socket of one's own."""
    listener = socket.create_connection((HOST, port), timeout=10)
    listener.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
    return listener


def read_until(listener: socket.socket, text: bytes) -> bytes:
    """Receive until `text` has come or the stream ends."""
    received = b""
    while text not in received and (piece := listener.recv(4096)):
        received += piece
    return received


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an app made in a test; yield its URL."""
    port = free_port()
    server = make_server(HOST, port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.shutdown()
        thread.join()


# The stream


def test_the_server_sends_five_events_and_ends() -> None:
    with running(FLASK_SERVER, "--interval", "0.01") as program:
        answer = Server(program.url).request("GET", "/mcp-sse")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.body == UPDATES


def test_the_events_come_one_second_apart_unless_told_otherwise() -> None:
    with running(FLASK_SERVER) as program, Server(program.url).open("/mcp-sse") as stream:
        assert stream.event(lambda event: event.data == "Update 1", seconds=5)
        first, second = stream.events
    assert 0.9 < second.seconds - first.seconds < 3


@pytest.mark.parametrize(("program", "path"), PROGRAMS)
def test_the_first_event_arrives_while_the_producer_is_held(program: Path, path: str) -> None:
    with (
        running(program, *held(program)) as started,
        Server(started.url).open(path) as stream,
    ):
        event = stream.event(seconds=5)
    assert event is not None
    assert event.data == "Update 0"


def test_curl_prints_the_first_event_while_the_producer_is_held() -> None:
    curl = require("curl")
    with running(FLASK_SERVER, *HELD) as program:
        reader = subprocess.Popen(
            [curl, "-sN", f"{program.url}/mcp-sse"], stdout=subprocess.PIPE
        )
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"data: Update 0\n"
        reader.kill()
        reader.communicate()


@pytest.mark.parametrize(("program", "path"), PROGRAMS)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_program_leaves_with_a_stream_open(
    program: Path, path: str, how: signal.Signals
) -> None:
    with running(program, *held(program)) as started:
        with connect(started.port, path) as listener:
            assert b"Update 0" in read_until(listener, b"Update 0")
            took = started.stop(how)
        assert started.process.returncode == 0
        assert took < 2
        assert "Traceback" not in started.output


@pytest.mark.parametrize(
    "program", [*(parameter.values[0] for parameter in PROGRAMS), SCRIPTS / "exercise.py"]
)
def test_a_port_in_use_is_one_line_that_says_what_to_do(program: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, program, "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"Port {port} is in use. Choose another: --port {port + 1}\n"


# Headers


def test_a_response_without_a_length_is_sent_in_chunks_and_then_closed() -> None:
    with (
        running(FLASK_SERVER, *HELD) as program,
        connect(program.port, "/mcp-sse") as listener,
    ):
        head, _, body = read_until(listener, b"Update 0\n\n").partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert head.count(b"\r\nConnection:") == 1
    assert b"\r\nConnection: close" in head
    # 16 bytes, which is 10 in hexadecimal.
    assert body.startswith(b"10\r\ndata: Update 0\n\n")


def test_a_connection_header_of_the_app_stands_beside_the_servers_own() -> None:
    app = Flask(__name__)

    @app.get("/")
    def contradict() -> Response:
        return Response("hello", headers={"Connection": "keep-alive"})

    with serving(app) as url:
        answer = Server(url).request("GET", "/")
    assert answer.headers.get_all("Connection") == ["keep-alive", "close"]


def test_wsgiref_refuses_a_connection_header() -> None:
    app = Flask(__name__)

    @app.get("/")
    def contradict() -> Response:
        return Response("hello", headers={"Connection": "keep-alive"})

    errors = io.StringIO()
    handler = SimpleHandler(
        io.BytesIO(),
        io.BytesIO(),
        errors,
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SERVER_NAME": HOST,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
        },
    )
    handler.run(app)
    assert "Hop-by-hop header, 'Connection: keep-alive', not allowed" in errors.getvalue()


# One late lump


@pytest.mark.parametrize(
    ("program", "arrived"),
    [("late_lump_broken.py", b""), ("late_lump_fixed.py", b"data: Update 0\n\n")],
)
def test_what_arrives_while_the_producer_is_held(program: str, arrived: bytes) -> None:
    with running(SCRIPTS / program, *HELD) as started:
        with connect(started.port, "/mcp-sse") as listener:
            started.wait_for_output("made Update 0")
            if arrived:
                assert arrived in read_until(listener, arrived)
            # The producer is held for good. Whatever was to come before the second
            # event has come: the end of the program ends the wait for it.
            started.stop()
            rest = read_until(listener, b"never")
        assert "made Update 1" not in started.output
    # A chunk's own line end may have come a moment after the event in it.
    assert rest.strip() == b"", "something was sent after all"


def test_only_the_late_lump_has_a_length() -> None:
    lengths = []
    for name in ("late_lump_broken.py", "late_lump_fixed.py"):
        with running(SCRIPTS / name, "--interval", "0.01") as program:
            answer = Server(program.url).request("GET", "/mcp-sse")
        assert answer.body == UPDATES
        lengths.append(answer.headers["Content-Length"])
    assert lengths == ["80", None]


def test_the_pair_differs_only_where_the_lesson_says() -> None:
    broken = (SCRIPTS / "late_lump_broken.py").read_text(encoding="utf-8").splitlines()
    fixed = (SCRIPTS / "late_lump_fixed.py").read_text(encoding="utf-8").splitlines()
    assert broken[0].startswith('"""Broken: ')
    assert fixed[0].startswith('"""Fixed: ')
    assert len(set(broken) ^ set(fixed)) <= 9


# Threads


def test_each_listener_has_a_thread_of_its_own() -> None:
    with running(FLASK_SERVER, *HELD) as program:
        server = Server(program.url)
        with server.open("/mcp-sse") as first, server.open("/mcp-sse") as second:
            assert first.event(seconds=5)
            assert second.event(seconds=5)


def test_with_one_thread_the_second_listener_waits_for_the_first() -> None:
    with (
        running(FLASK_SERVER, "--one-thread", "--interval", "0.1") as program,
        connect(program.port, "/mcp-sse") as first,
    ):
        received = read_until(first, b"Update 0")
        with connect(program.port, "/mcp-sse") as second:
            assert b"Update 0" in read_until(second, b"Update 0")
        # All that the first one gets must have been sent before: read without waiting.
        first.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(first, selectors.EVENT_READ)
            while ready.select(timeout=0) and (piece := first.recv(4096)):
                received += piece
    assert b"Update 4" in received


def test_one_thread_means_http_1_0_so_the_end_of_the_connection_ends_the_stream() -> None:
    with (
        running(FLASK_SERVER, "--one-thread", "--interval", "0.01") as program,
        connect(program.port, "/mcp-sse") as listener,
    ):
        received = read_until(listener, b"never")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert body == UPDATES


# Who is listening?


def listeners(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/listeners") as answer:
        return json.load(answer)


def test_who_leaves_is_noticed_only_when_the_next_event_is_sent() -> None:
    with running(SOLUTION) as program:
        server = Server(program.url)
        with server.open("/mcp-sse?interval=3600") as stream:
            assert stream.event(seconds=5)
        # It has left, and the server has nothing to send to it.
        assert listeners(program.url) == {"listeners": 1, "open_feeds": 1}


def test_a_generator_that_never_started_runs_no_finally() -> None:
    ran = []

    def updates() -> Generator[str, None, None]:
        try:
            yield "data: 0\n\n"
        finally:
            ran.append("finally")

    updates().close()
    assert ran == []
    started = updates()
    next(started)
    started.close()
    assert ran == ["finally"]


def test_a_head_request_makes_the_generator_and_never_starts_it() -> None:
    app = Flask(__name__)
    seen = []

    def updates() -> Iterator[str]:
        seen.append("started")
        yield "data: 0\n\n"

    @app.get("/")
    def stream() -> Response:
        seen.append("made")
        return Response(updates(), content_type="text/event-stream")

    with serving(app) as url:
        Server(url).request("HEAD", "/")
    assert seen == ["made"]


# The checks


def test_the_checks_pass_on_the_lessons_own_server_by_its_url() -> None:
    with running(FLASK_SERVER, "--interval", "0.05") as program:
        report = check_url(suite_of("01_flask_stream"), program.url)
    assert report.ok, report.as_json()
    assert len(report.results) == 4


RIGHT_TOO = {
    # Taken in the view and given back by the response: `call_on_close` runs for HEAD too.
    "call_on_close": [
        ("    listeners.up()\n", ""),
        ("        listeners.down()\n", ""),
        ("    return Response(\n        updates", "    answer = Response(\n        updates"),
        (
            "    )\n    # --- starter",
            "    )\n    listeners.up()\n    answer.call_on_close(listeners.down)\n"
            "    return answer\n    # --- starter",
        ),
    ],
    "other fields before the data": [
        (
            'f"data: Update',
            'f": hi\\nretry: 100\\nevent: message\\nid: {number}\\ndata: Update',
        ),
    ],
    "CRLF, no space, one blank line more": [
        ('f"data: Update {number}\\n\\n"', 'f"data:Update {number}\\r\\n\\r\\n\\r\\n"'),
    ],
    "mimetype": [('content_type="', 'mimetype="')],
    "bytes": [
        ("            yield event(number)\n", "            yield event(number).encode()\n")
    ],
    "no-store": [('"no-cache"', '"no-store"')],
    "counted inside the try": [
        ("    listeners.up()\n", ""),
        ("    try:\n        for", "    try:\n        listeners.up()\n        for"),
    ],
}


@pytest.mark.parametrize("edits", RIGHT_TOO.values(), ids=RIGHT_TOO)
def test_another_right_solution_passes_too(
    tmp_path: Path, edits: list[tuple[str, str]]
) -> None:
    solution = SOLUTION.read_text(encoding="utf-8")
    for old, new in edits:
        assert solution.count(old) == 1
        solution = solution.replace(old, new)
    other = tmp_path / "exercise.py"
    other.write_text(solution, encoding="utf-8")
    report = check_program(suite_of("01_flask_stream"), other)
    assert report.ok, report.as_json()


def test_the_traceback_is_there_when_the_check_of_the_status_fails(tmp_path: Path) -> None:
    """The development server answers 500 first and prints afterwards: the check waits."""
    solution = SOLUTION.read_text(encoding="utf-8")
    other = tmp_path / "exercise.py"
    other.write_text(solution.replace("listeners.up()", "listener.up()"), encoding="utf-8")
    with recorded() as programs:
        report = check_program(suite_of("01_flask_stream"), other)
    assert report.ids("failed") == ["answers"]
    assert "NameError: name 'listener' is not defined" in programs[0].output


# In the browser


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """A page of its own at `url`."""
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(url)
    yield page
    page.close()


def test_the_page_shows_the_events_and_the_surprise(chromium: Browser) -> None:
    with (
        running(FLASK_SERVER, "--interval", "0.05") as program,
        opened(chromium, program.url) as page,
    ):
        page.wait_for_function("reconnections === 1 && events > 5", timeout=15_000)
        page.click("#stop")
        assert page.inner_text("#state") == "2 CLOSED"
        assert page.inner_text("#reconnections") == "1"
        lines = page.locator("#log b").all_inner_texts()
        assert lines[:9] == [
            "connecting",
            "open",
            *(f"Update {number}" for number in range(5)),
            "error: the stream ended, will try again",
            "open",
        ]
        assert lines[-1] == "closed by you"
        assert "reconnected by itself" in page.inner_text("#surprise")
        # How long Chromium waits when the stream does not say: about three seconds.
        gaps = page.locator("#log span").all_inner_texts()
        waited = float(gaps[8].removeprefix("+").removesuffix(" s"))
        assert 2.5 < waited < 4.5


def test_the_page_can_stop_and_start_again(chromium: Browser) -> None:
    with running(FLASK_SERVER, *HELD) as program, opened(chromium, program.url) as page:
        page.wait_for_function("events === 1")
        assert page.inner_text("#state") == "1 OPEN"
        page.click("#stop")
        assert page.inner_text("#state") == "2 CLOSED"
        page.click("#start")
        page.wait_for_function("events === 1 && source.readyState === 1")
        assert page.inner_text("#reconnections") == "0"


@pytest.mark.parametrize("program", [FLASK_SERVER, END_FOR_GOOD], ids=lambda path: path.stem)
def test_the_pages_fit_and_can_be_read(chromium: Browser, program: Path) -> None:
    with (
        running(program, "--interval", "0.01") as started,
        opened(chromium, started.url) as page,
    ):
        page.get_by_text("Update 4").first.wait_for()
        assert complaints(page) == []


@pytest.mark.parametrize(
    ("style", "told"),
    [
        ("h1 { color: #999 }", "contrast 2."),
        ("h1 { opacity: .4 }", "contrast "),
        ("h1 { font-size: 12px }", "12.0 px small"),
        ("h1 { width: 500px }", "at 390 px it is 5"),
        ("@media (prefers-color-scheme: dark) { h1 { color: #444 } }", "dark: contrast "),
    ],
)
def test_a_page_that_cannot_be_read_is_noticed(
    chromium: Browser, style: str, told: str
) -> None:
    page = chromium.new_page()
    css = (SCRIPTS / "page.css").read_text(encoding="utf-8")
    page.set_content(f"<!doctype html><style>{css}{style}</style><h1>Hello</h1><p>You</p>")
    found = complaints(page)
    page.close()
    assert found
    assert all(told in complaint for complaint in found), found


def test_a_stream_can_end_for_good_in_two_ways(chromium: Browser) -> None:
    closed = "(name) => document.getElementById(name).textContent === '2 CLOSED'"
    with running(END_FOR_GOOD, "--interval", "0.01") as program:
        with opened(chromium, program.url) as page:
            page.wait_for_function(closed, arg="done-event-state")
            page.get_by_text("error, readyState 0").wait_for()
            # `retry: 500` is obeyed: on its own, Chromium would wait three seconds.
            page.wait_for_function(closed, arg="no-content-state", timeout=2_500)
            updates = [f"Update {number}" for number in range(5)]
            assert page.inner_text("#done-event").split("\n") == [
                "open",
                *updates,
                "done: that was all",
            ]
            assert page.inner_text("#no-content").split("\n") == [
                "open",
                *updates,
                "error, readyState 0",
                "error, readyState 2",
            ]
        assert program.output.count("GET /done-event") == 1
        assert program.output.count("GET /no-content") == 2


def test_a_client_that_has_all_gets_no_content() -> None:
    with running(END_FOR_GOOD, "--interval", "0.01") as program:
        answer = Server(program.url).request("GET", "/no-content", None, {"Last-Event-ID": "4"})
    assert answer.status == 204
    assert answer.body == b""


@pytest.mark.parametrize(
    ("status", "content_type"), [(200, "text/html"), (500, "text/event-stream")]
)
def test_eventsource_gives_up_at_another_type_or_status(
    chromium: Browser, status: int, content_type: str
) -> None:
    app = Flask(__name__)

    @app.get("/stream")
    def stream() -> Response:
        return Response(UPDATES, status, content_type=content_type)

    @app.get("/")
    def page() -> str:
        return "<script>const source = new EventSource('/stream')</script>"

    with serving(app) as url, opened(chromium, url) as page_there:
        page_there.wait_for_function("source.readyState === 2")


@pytest.mark.parametrize(
    "body",
    ["data: Update 0\ndata: Update 1\n", "Data: Update 0\n\n", "Update 0\n\n"],
    ids=["no blank line", "capital letter", "no field name"],
)
def test_a_wrong_event_never_comes_and_nobody_complains(chromium: Browser, body: str) -> None:
    app = Flask(__name__)

    @app.get("/stream")
    def stream() -> Response:
        return Response(body, content_type="text/event-stream")

    @app.get("/")
    def page() -> str:
        return """<link rel="icon" href="data:,"><script>
            let opened = 0, events = 0;
            const source = new EventSource('/stream');
            source.onopen = () => opened++;
            source.onmessage = () => events++;
        </script>"""

    with serving(app) as url, opened(chromium, url) as page_there:
        complaints = []
        page_there.on("console", lambda message: complaints.append(message.text))
        # The end of the stream comes as an error, after all that it held.
        page_there.wait_for_function("opened === 1 && source.readyState === 0")
        assert page_there.evaluate("events") == 0
        assert complaints == []


def test_a_browser_opens_six_streams_to_one_server(chromium: Browser) -> None:
    with running(FLASK_SERVER, *HELD) as program, opened(chromium, program.url) as page:
        page.wait_for_function("events === 1")
        page.click("#stop")
        page.evaluate(
            """() => {
                globalThis.sources = Array.from({length: 7}, () => new EventSource('/mcp-sse'));
                globalThis.open = () => sources.filter((one) => one.readyState === 1).length;
            }"""
        )
        page.wait_for_function("open() === 6")
        page.evaluate("() => void fetch('/').then(() => { globalThis.fetched = true; })")
        # One leaves, and only then is there a connection for the others.
        assert page.evaluate("[sources[6].readyState, globalThis.fetched]") == [0, None]
        page.evaluate("sources[0].close(); sources[1].close()")
        page.wait_for_function("sources[6].readyState === 1 && globalThis.fetched")
