"""Every server of the course answers at once, and every program leaves when it is told to.

The servers are those of the manifest's table of ports, with the solutions in place of the
starters. Each is started by its file; those with an ASGI `app` also as a cloud starts them.
"""

from __future__ import annotations

import ast
import http.client
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.turns import alone
from tests.warm_popen import ignore_interrupts
from workshop.course import ROOT, Course, Lesson
from workshop.running import HOST, Program, ProgramError, environment, free_port

COURSE = Course.load()

pytestmark = pytest.mark.usefixtures("warm")

# Where the event stream is, if not at /sse. None: there is none.
STREAMS: dict[str, str | None] = {
    "01_flask_stream": "/mcp-sse",
    "01_flask_stream/end_for_good.py": "/done-event",
    "03_event_hub": "/events/orders",
    "06_sdk_server/exercise.py": "/mcp/sse",
    "06_sdk_server/mounted_calculator.py": "/calculator/sse",
    "06_sdk_server/prefix_broken.py": "/calculator/sse",
    "06_sdk_server/prefix_twice_broken.py": "/calculator/sse",
    "07_sdk_client/browser/serve.py": None,
    "08_agent/model_server.py": None,
    "09_security/open_server.py": "/sse?token=your-secret-token",
    "09_security/redirect.py": None,
    "09_security/identity/oauth_server.py": None,
    "09_security/identity/authorization_server.py": None,
    "09_security/identity/resource_broken.py": None,
    "10_observability/locals_broken.py": None,
    "10_observability/locals_fixed.py": None,
    "10_observability/trace_collector.py": None,
    "10_observability/traceback_broken.py": None,
    "10_observability/traceback_fixed.py": None,
}
# The token that each of them is given, in the environment, for somebody called "test".
TOKEN = "test" * 8
# What opens the stream of a server that wants to know who asks.
HEADERS = {
    f"09_security/{program}": {"Authorization": f"Bearer {TOKEN}"}
    for program in ("exercise.py", "secure_server.py")
}
# What the program needs to be told; {url} is a server that never says more.
ARGUMENTS = {
    "03_event_hub/faulty_proxy.py": ("--target", "{url}"),
    "10_observability/idle_proxy.py": ("--to", "{address}"),
    "11_docker/cloud/cloud_box.py": ("--profile", "alb", "--target", "{url}"),
    "11_docker/nginx/run_nginx.py": ("--upstream", "{url}"),
}
# What the program itself starts. Without it, it is passed over.
STARTS = {"11_docker/nginx/run_nginx.py": "nginx"}

# Where uvicorn's own end waits for open streams and no lifespan can tell them: the lesson
# shows this option with the command.
GRACE = ("--timeout-graceful-shutdown", "1")
NEEDS_GRACE = (
    "05_sse_server/first_server.py",
    "05_sse_server/guarded_server.py",
    "05_sse_server/messages_server.py",
    "05_sse_server/sessions_server.py",
    "05_sse_server/simplified_broken.py",
    "08_agent/old_server_broken.py",
)

# Lesson 05's stages come before its section on leaving, which shows what they do: the first
# waits for its streams for ever, the others cut them off, with a traceback.
WAITS_FOR_STREAMS = ("first_server.py",)
CUTS_STREAMS_OFF = ("guarded_server.py", "messages_server.py", "sessions_server.py")

# As people write them: nothing turns the signal into an end with status 0.
AS_PEOPLE_WRITE_THEM = ("open_server.py",)

# Apps with a heartbeat of their own, faster with HEARTBEAT_SECONDS in the environment.
HAVE_HEARTBEATS = ("05_sse_server/sse_server.py", "09_security/secure_server.py")

# Programs that are no servers, with what makes them wait: for a server that says nothing
# more, or for more on their standard input.
CLIENTS: dict[str, list[tuple[str, ...]]] = {
    "02_event_format": [
        ("scripts/event_stream.py", "{url}/sse"),
        ("solutions/exercise.py",),
    ],
    "03_event_hub": [
        ("scripts/demo.py", "--port", "{port}"),
        ("scripts/owner_broken.py", "--port", "{port}"),
        ("scripts/owner_fixed.py", "--port", "{port}"),
        ("scripts/sse_client.py", "orders", "--url", "{url}"),
        ("solutions/exercise.py", "{url}/events/orders"),
    ],
    "04_stdio_server": [
        ("scripts/stdio_server.py",),
        ("scripts/stray_print_broken.py",),
        ("scripts/stray_print_fixed.py",),
        ("solutions/exercise.py",),
    ],
    "05_sse_server": [
        ("scripts/sdk_client.py", "{url}/sse"),
        ("scripts/sleeping_reader.py", "{url}/sse"),
        ("scripts/two_clients.py", "{url}/sse"),
    ],
    "06_sdk_server": [
        ("scripts/negotiation.py", "{url}/sse"),
        ("scripts/two_clients.py", "{url}/sse"),
        ("scripts/watch_progress.py", "{url}/sse"),
    ],
    "07_sdk_client": [
        ("scripts/client_sse.py", "{url}/sse"),
        ("scripts/client_sse.py", "{url}/sse", "--once", "add 2 5"),
        ("scripts/elsewhere_broken.py", "{url}/sse"),
        ("scripts/idle_broken.py", "{url}/sse"),
        ("scripts/idle_fixed.py", "{url}/sse"),
        ("scripts/inside_the_client.py", "{url}/sse"),
        ("scripts/many_clients.py", "{url}/sse"),
        ("scripts/post_fails_broken.py", "{url}/sse"),
        ("scripts/post_fails_fixed.py", "{url}/sse"),
        ("scripts/tasks_broken.py", "{url}/sse"),
        ("scripts/tasks_fixed.py", "{url}/sse"),
        ("scripts/tasks_order_broken.py", "{url}/sse"),
        ("solutions/exercise.py", "{url}/sse"),
    ],
    "08_agent": [
        ("scripts/chat.py", "{url}/sse"),
        ("scripts/first_agent.py", "{url}/sse"),
        ("scripts/trace_turn.py", "{url}/sse"),
        ("solutions/exercise.py", "{url}/sse"),
    ],
    "09_security": [
        ("scripts/open_client.py", "{url}/sse", "--token", "x"),
        ("scripts/secure_client.py", "{url}/sse", "--token", "x"),
        ("scripts/sdk_client.py", "{url}/sse"),
        ("scripts/agent/open_agent.py", "{url}/sse"),
        ("scripts/agent/secure_agent.py", "files={url}/sse"),
        ("scripts/identity/oauth_client.py", "{url}/sse"),
    ],
    "10_observability": [
        ("scripts/clients.py", "{url}", "--seconds", "30"),
        ("scripts/load.py", "{url}/sse"),
        ("scripts/traced_call.py", "{url}/sse"),
    ],
    "11_docker": [("scripts/what_it_can_do.py", "{url}/sse")],
}

# Demonstrations of a few lines, in which Ctrl-C may show Python's own traceback. So it may in
# what is broken.
SHORT = (
    "idle_fixed.py",
    "post_fails_fixed.py",
    "sdk_client.py",
    "sleeping_reader.py",
    "tasks_fixed.py",
    "two_clients.py",
)

# What a program without arguments is told on its standard input. It answers with "once".
TOLD = {
    "02_event_format": b"data: once\n\n",
    "04_stdio_server": b'{"jsonrpc": "2.0", "id": "once", "method": "ping"}\n',
}

# With Nagle's algorithm in the way an answer takes 40 ms and more, all but the first.
AT_ONCE = 0.010  # seconds
LEAVES = 2.0  # seconds

SSE = {"Accept": "text/event-stream"}

all_lessons = pytest.mark.parametrize("lesson", COURSE.lessons, ids=lambda lesson: lesson.slug)

TOLD_AT_ONCE = ROOT / "tests" / "servers" / "told_at_once.py"

# How a program is told to leave, and whether it was started with SIGINT ignored, as `&`
# starts it in a script.
WAYS = ((signal.SIGTERM, True), (signal.SIGINT, False), (signal.SIGTERM, False))


@contextmanager
def start(
    *command: str, port: int = 0, cwd: Path | None = None, sigint_ignored: bool = False
) -> Iterator[Program]:
    """`python COMMAND`; with a port, once it listens there."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment({"HEARTBEAT_SECONDS": "0.5", "MCP_TOKENS": f"test:{TOKEN}"}),
        cwd=cwd,
        preexec_fn=ignore_interrupts if sigint_ignored else None,
    )
    assert process.stdin and process.stdout
    program = Program(process, port)
    try:
        if port:
            program.wait_until_listening(seconds=60)
        yield program
    finally:
        program.stop(seconds=0)
        process.stdin.close()
        process.stdout.close()


class Silent(ThreadingHTTPServer):
    """A server that opens every stream, takes every POST and never says anything more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), SilentHandler)
        self.asked = Event()
        self.closing = Event()
        self.url = f"http://{HOST}:{self.server_port}"

    def __enter__(self) -> Silent:
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class SilentHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Silent)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"event: endpoint\ndata: /message\n\n")
        self.server.asked.set()
        self.server.closing.wait()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def opened(
    port: int, path: str, headers: dict[str, str] = SSE, *, host: str | None = None
) -> Iterator[int]:
    """The status of a GET whose answer is left open meanwhile."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers | ({"Host": host} if host else {}))
        # Of its own, it would close the connection.
        with closing(connection.getresponse()) as response:
            yield response.status


def answers_at_once(port: int) -> bool:
    """Whether some requests on a kept connection take no longer than AT_ONCE.

    Nagle's algorithm spares none but the first. Of the others, a busy machine delays some.
    """
    fast = 0
    with closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        for _ in range(40):
            began = time.perf_counter()
            connection.request("GET", "/no-such-page")
            connection.getresponse().read()
            fast += time.perf_counter() - began <= AT_ONCE
            if fast == 4:
                return True
    return False


def told(how: signal.Signals, ignored: bool) -> str:
    return f"{how.name}{' (SIGINT ignored)' if ignored else ''}"


def told_to_leave(
    program: Program, how: signal.Signals, *, may_die: bool, may_trace: bool
) -> list[str]:
    """Send the signal; what is wrong with how the program then ends."""
    before = len(program.output)
    took = program.stop(how, seconds=LEAVES + 1)
    status = program.process.returncode
    printed = program.output[before:]
    wrong: list[str] = []
    traced = "Traceback (most recent call last)" in printed
    if took > LEAVES:
        wrong.append(f"took {took:.1f} s to leave, status {status}")
    elif traced and not may_trace:
        wrong.append(f"left with status {status} and a traceback:\n{printed[-1_000:]}")
    elif status != 0 and not (may_die and (status in (-how, 128 + how) or may_trace)):
        wrong.append(f"left with status {status}: {printed[-300:]}")
    return wrong


def problems(cases: dict[str, Callable[[], list[str]]]) -> str:
    """Look at some at once, since most of the time is waiting; say what is wrong with which.

    What is promised is promised to one that runs alone: so that is how what went wrong is
    looked at again.
    """

    def look(case: Callable[[], list[str]]) -> list[str]:
        try:
            return case()
        except (ProgramError, OSError, http.client.HTTPException) as error:
            return [f"{type(error).__name__}: {error}"]

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(cases, pool.map(look, cases.values()), strict=True))
    failed = [name for name, wrong in found.items() if wrong]
    if not failed:
        return ""
    with alone():
        again = {name: look(cases[name]) for name in failed}
    return "\n".join(f"{name}: {each}" for name, wrong in again.items() for each in wrong)


# --- Servers, started by their file -------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A server program, and where its stream is."""

    path: Path
    stream: str | None
    arguments: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """What to send with a GET of the stream."""
        return SSE | HEADERS.get(f"{self.path.parent.name}/{self.path.name}", {})

    @property
    def untidy(self) -> bool:
        """Whether it may die of the signal, and print a traceback."""
        untidy = (*WAITS_FOR_STREAMS, *CUTS_STREAMS_OFF, *AS_PEOPLE_WRITE_THEM)
        return self.path.stem.endswith("_broken") or self.path.name in untidy


def servers(lesson: Lesson) -> dict[str, Server]:
    found: dict[str, Server] = {}
    for program in lesson.ports:
        name = f"{lesson.slug}/{program}"
        path = lesson.solution if program == "exercise.py" else lesson.scripts / program
        there = name not in STARTS or shutil.which(STARTS[name]) is not None
        if path.is_file() and there:
            found[str(path.relative_to(ROOT))] = Server(
                path,
                STREAMS.get(name, STREAMS.get(lesson.slug, "/sse")),
                ARGUMENTS.get(name, ()),
            )
    return found


def command_of(server: Server, silent: Silent, port: int) -> list[str]:
    address = silent.url.removeprefix("http://")
    given = [word.format(url=silent.url, address=address) for word in server.arguments]
    return [str(server.path), "--port", str(port), *given]


def look_at_server(
    server: Server, silent: Silent, how: signal.Signals, ignored: bool
) -> list[str]:
    port = free_port()
    command = command_of(server, silent, port)
    wrong: list[str] = []
    untidy = server.untidy
    with (
        start(*command, port=port, sigint_ignored=ignored) as program,
        ExitStack() as streams,
    ):
        if not server.arguments and not answers_at_once(port):
            wrong.append(f"an answer takes longer than {AT_ONCE * 1000:.0f} ms")
        if server.stream is not None:
            status = streams.enter_context(opened(port, server.stream, server.headers))
            if status != 200:
                wrong.append(f"GET {server.stream}: {status}")
        if server.path.name in WAITS_FOR_STREAMS:
            streams.close()
        return wrong + told_to_leave(program, how, may_die=untidy, may_trace=untidy)


@all_lessons
def test_every_server_answers_at_once_and_leaves_when_told(lesson: Lesson) -> None:
    found = servers(lesson)
    if not found:
        pytest.skip("It has no server.")
    with Silent() as silent:
        cases = {
            f"{name}, {told(how, ignored)}": partial(
                look_at_server, server, silent, how, ignored
            )
            for name, server in found.items()
            for how, ignored in WAYS
        }
        wrong = problems(cases)
    assert not wrong, wrong


def look_at_first_line(server: Server, silent: Silent) -> list[str]:
    with start(str(TOLD_AT_ONCE), *command_of(server, silent, free_port())) as program:
        try:
            status = program.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            return [f"it did not leave, after it had printed:\n{program.output}"]
        program.stop()  # it has ended: this waits for the rest of what it printed
        if status != 0 or "Traceback" in program.output:
            return [f"left with status {status}. It printed:\n{program.output}"]
        return [] if program.output else ["it printed nothing"]


@all_lessons
def test_ctrl_c_at_the_first_printed_line_ends_a_server_quietly(lesson: Lesson) -> None:
    found = {name: server for name, server in servers(lesson).items() if not server.untidy}
    if not found:
        pytest.skip("It has no server.")
    with Silent() as silent:
        wrong = problems(
            {
                name: partial(look_at_first_line, server, silent)
                for name, server in found.items()
            }
        )
    assert not wrong, wrong


# --- Clients ------------------------------------------------------------------------------


def look_at_client(
    path: Path, arguments: list[str], how: signal.Signals, ignored: bool
) -> list[str]:
    short = how == signal.SIGINT and path.name in SHORT
    may_trace = short or path.stem.endswith("_broken")
    with Silent() as silent:
        port = free_port() if path.name == "demo.py" else silent.server_port
        given = [argument.format(url=silent.url, port=port) for argument in arguments]
        with start(str(path), *given, sigint_ignored=ignored) as program:
            if path.name == "demo.py":
                program.wait_for_output("Three streams are open", seconds=20)
            elif not arguments:
                assert program.process.stdin
                program.process.stdin.write(TOLD[path.parent.name])
                program.process.stdin.flush()
                program.wait_for_output("once", seconds=20)
            elif not silent.asked.wait(20):
                return [f"it never asked the server. It printed:\n{program.output}"]
            return told_to_leave(program, how, may_die=True, may_trace=may_trace)


@all_lessons
def test_every_client_leaves_when_told(lesson: Lesson) -> None:
    cases: dict[str, Callable[[], list[str]]] = {}
    for name, *arguments in CLIENTS.get(lesson.slug, []):
        room, _, file = name.partition("/")
        path = ROOT / room / lesson.slug / file
        for how, ignored in WAYS[:2]:
            shown = " ".join((name, *arguments))
            cases[f"{shown}, {told(how, ignored)}"] = partial(
                look_at_client, path, arguments, how, ignored
            )
    if not cases:
        pytest.skip("It has no client.")
    wrong = problems(cases)
    assert not wrong, wrong


# --- Apps, started as a cloud starts them -------------------------------------------------


def apps(lesson: Lesson) -> dict[str, Server]:
    """The programs with an ASGI `app`, by their path."""
    files = [path for path in lesson.scripts.glob("*.py") if path.name != "exercise.py"]
    files += [lesson.solution] if lesson.solution.is_file() else []
    return {
        str(path.relative_to(ROOT)): Server(
            path,
            STREAMS.get(f"{lesson.slug}/{path.name}", STREAMS.get(lesson.slug, "/sse")),
            GRACE if f"{lesson.slug}/{path.name}" in NEEDS_GRACE else (),
        )
        for path in sorted(files)
        if has_app(path)
    }


def has_app(path: Path) -> bool:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named = any(isinstance(each, ast.Name) and each.id == "app" for each in targets)
            if named and not ast.unparse(node.value).startswith("Flask("):
                return True
    return False


UVICORN = Path(sys.executable).with_name("uvicorn")
RELOADING = ROOT / "tests/servers/uvicorn_reload.py"


@contextmanager
def started_by_uvicorn(
    server: Server, *options: str, uvicorn: Path = UVICORN
) -> Iterator[Program]:
    port = free_port()
    command = [str(uvicorn), f"{server.path.stem}:app"]
    command += ["--host", "0.0.0.0", "--port", str(port), *server.arguments, *options]
    with start(*command, port=port, cwd=server.path.parent) as program:
        yield program


def answers_and_leaves(program: Program, server: Server) -> list[str]:
    """What is wrong with how a started app opens its stream, and with how it leaves."""
    wrong: list[str] = []
    stream = server.stream or "/"
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{program.port}"
        with opened(program.port, stream, server.headers, host=host) as status:
            if status != 200:
                wrong.append(f"Host: {host} gets {status}")
    with opened(program.port, stream, server.headers):
        ends = told_to_leave(program, signal.SIGTERM, may_die=True, may_trace=server.untidy)
    return wrong + ends


def look_at_app(server: Server) -> list[str]:
    port = free_port()
    with (
        start(str(server.path), "--port", str(port), port=port) as by_itself,
        started_by_uvicorn(server) as by_uvicorn,
    ):
        wrong: list[str] = []
        statuses: list[int] = []
        for program in (by_itself, by_uvicorn):
            stream = server.stream or "/"
            with opened(program.port, stream, server.headers, host="evil.example") as status:
                statuses.append(status)
            with opened(program.port, "/no-such-page?session_id=OPENSESAME"):
                pass
        if statuses[0] != statuses[1]:
            wrong.append(f"Host: evil.example gets {statuses[1]}, by `main` {statuses[0]}")
        logs = "/no-such-page" in by_itself.output
        if logs and "OPENSESAME" in by_uvicorn.output and "OPENSESAME" not in by_itself.output:
            wrong.append("its log has session ids, by `main` it has none")
        name = f"{server.path.parent.name}/{server.path.name}"
        if name in HAVE_HEARTBEATS and not hears(by_uvicorn, server, b"heartbeat"):
            wrong.append("its stream has no heartbeats")
        return wrong + answers_and_leaves(by_uvicorn, server)


def hears(program: Program, server: Server, word: bytes) -> bool:
    """Whether a line with the word comes on the stream."""
    with closing(http.client.HTTPConnection(HOST, program.port, timeout=5)) as connection:
        connection.request("GET", server.stream or "/", headers=server.headers)
        with closing(connection.getresponse()) as response:
            try:
                return any(word in line for line in response)
            except TimeoutError:
                return False


@all_lessons
def test_every_app_is_whole_when_uvicorn_starts_it(lesson: Lesson) -> None:
    found = apps(lesson)
    if not found:
        pytest.skip("It has no ASGI app.")
    wrong = problems({name: partial(look_at_app, server) for name, server in found.items()})
    assert not wrong, wrong


@all_lessons
def test_every_app_can_be_started_to_reload(lesson: Lesson) -> None:
    # Nobody changes what is there to be broken.
    found = {name: app for name, app in apps(lesson).items() if "_broken" not in name}
    if not found:
        pytest.skip("It has no ASGI app.")

    def look(server: Server) -> list[str]:
        with started_by_uvicorn(server, uvicorn=RELOADING) as program:
            return answers_and_leaves(program, server)

    wrong = problems({name: partial(look, server) for name, server in found.items()})
    assert not wrong, wrong


def test_an_app_can_be_started_to_reload_by_uvicorn_itself() -> None:
    """For one, its processes are as they are on a learner's machine: none is forked."""
    (server,) = (
        app
        for name, app in apps(COURSE.lesson("05")).items()
        if name.endswith("/sse_server.py")
    )
    with started_by_uvicorn(server, "--reload") as program:
        wrong = answers_and_leaves(program, server)
    assert not wrong, wrong


@all_lessons
def test_the_option_that_uvicorn_needs_is_shown(lesson: Lesson) -> None:
    # Nobody starts what is there to be broken in any other way than the lesson does.
    whole = [name for name in NEEDS_GRACE if "_broken" not in name]
    if any(name.startswith(lesson.slug) for name in whole):
        assert " ".join(GRACE) in lesson.text.read_text("utf-8")
