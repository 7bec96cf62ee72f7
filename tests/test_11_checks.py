"""Lesson 11's checks: other ways that are right, odd answers, no nginx; and the program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.parts import require
from workshop.checks import suite_of
from workshop.checks.engine import Report, check_program, check_target
from workshop.checks.gallery import Mistake, load_gallery
from workshop.checks.lesson_11 import nginx_file, opening, proxy, texts
from workshop.course import ROOT, Course
from workshop.publishing.starters import solution_text, starter_text
from workshop.report_table import report_table
from workshop.screens import console, show_report

SOLUTION = ROOT / "solutions/11_docker/exercise.py"
SOURCE = SOLUTION.read_text(encoding="utf-8")
SOLVED, STARTER = solution_text(SOURCE), starter_text(SOURCE, "exercise.py")
FRONT = ("nginx", "at-once", "breaks-off", "no-websocket", "silence", "host")
IN_FRONT = [
    mistake
    for mistake in load_gallery(SOLUTION.with_name("exercise.toml")).mistakes
    if mistake.check in FRONT and mistake.hint != "no-text"
]


def checked(tmp_path: Path, text: str) -> Report:
    """The report of a file, as a learner gets it."""
    program = tmp_path / "exercise.py"
    program.write_text(text, encoding="utf-8")
    return check_program(suite_of("11_docker"), program)


class Given(texts.Texts):
    """Texts that come from no process."""

    def __init__(self, given: dict[str, str]) -> None:
        self._found = {**given}
        self._proxy = None
        self._starting = threading.Lock()
        self.printed = ""


def checked_texts(text: str, **other: str) -> Report:
    """The report of what the functions in `text` return, or of the `other` texts.

    Without a process, for it is our own file, and faster.
    """
    module: dict[str, Any] = {"__name__": "exercise", "__file__": str(SOLUTION)}
    exec(compile(text, "exercise.py", "exec", dont_inherit=True), module)
    given = Given({name: module[name]() for name in texts.NAMES} | other)
    try:
        return check_target(suite_of("11_docker"), "exercise.py", given)
    finally:
        given.close()


def failures(report: Report) -> list[tuple[str, str]]:
    return [(one.id, one.failure.hint) for one in report.results if one.failure is not None]


def solved_with(old: str, new: str) -> str:
    assert SOLVED.count(old) == 1
    return SOLVED.replace(old, new)


USER = r"""RUN useradd --uid 1000 app \
    && mkdir /workspace \
    && chown app /workspace
USER 1000
"""
CMD = 'CMD ["python", "terminal_server.py", "--host", "0.0.0.0"]\n'
RUN = r"""docker run --rm --name terminal_server \
  -p 127.0.0.1:8081:8081 \
  -v "$PWD/workspace:/workspace" \
  terminal_server_sse
"""
LIMITS = """    mem_limit: 256m
    pids_limit: 64
    cpus: 1
"""
LOCATION = """        location / {
            proxy_pass http://server:8081;
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            USER,
            "RUN adduser --disabled-password --gecos '' -u 1000 app; install -d -o app -m 700 "
            "$WORKSPACE\nUSER 1000:1000\n",
            id="adduser-install",
        ),
        pytest.param(
            USER,
            "RUN <<EOF\nuseradd app\nmkdir -p /workspace\nchown -R app:app /workspace\nEOF\n"
            "USER app:app\n",
            id="heredoc",
        ),
        pytest.param(
            USER, "RUN mkdir -m 700 /workspace && chmod 777 /workspace\nUSER 1000\n", id="chmod"
        ),
        pytest.param(CMD, "CMD exec python terminal_server.py --host=0.0.0.0\n", id="exec"),
        pytest.param(
            CMD,
            'ENTRYPOINT ["python", "terminal_server.py"]\nCMD ["--host", "::"]\n',
            id="entrypoint",
        ),
        pytest.param(
            CMD,
            'CMD ["sh", "-c", "exec python terminal_server.py --host 0.0.0.0"]\n',
            id="sh-exec",
        ),
        pytest.param(
            CMD,
            'STOPSIGNAL SIGINT\nHEALTHCHECK CMD ["python", "health.py"]\n'
            'CMD ["uvicorn", "terminal_server:app", "--host", "0.0.0.0", "--port", "8081"]\n',
            id="uvicorn",
        ),
        pytest.param(
            RUN,
            "podman run -it --init --publish=127.0.0.1:8081:8081/tcp -eA=b \\\n"
            "  --mount type=bind,src=./workspace,dst=/workspace/ terminal_server_sse:latest\n",
            id="podman-mount",
        ),
        pytest.param(
            RUN,
            'docker run -d --rm=true -p "[::1]:8081:8081" -v "$(pwd)"/workspace:/workspace:rw '
            "--cap-drop ALL --read-only --tmpfs /tmp -m 256m terminal_server_sse\n",
            id="one-line",
        ),
        pytest.param(
            LIMITS,
            "    deploy:\n      resources:\n        limits:\n          memory: 256M\n"
            "          pids: 64\n          cpus: '1'\n",
            id="deploy",
        ),
        pytest.param(
            "    tmpfs: [/tmp]\n",
            "    tmpfs:\n      - /tmp:size=64m\n    init: true\n",
            id="tmpfs",
        ),
        pytest.param(
            '      - "127.0.0.1:8080:8080"\n',
            "      - {target: 8080, published: 8080, host_ip: 127.0.0.1}\n",
            id="long-ports",
        ),
        pytest.param(
            LOCATION,
            "        location /healthz { return 204; }\n"
            "        location ~ ^/(sse|messages) {\n            proxy_pass http://server:8081;\n",
            id="pattern",
        ),
        pytest.param(
            "events {}\n\nhttp {\n",
            "user nginx;\nworker_processes auto;\nerror_log /var/log/nginx/error.log;\n"
            "events { worker_connections 4096; }\nhttp {\n    include mime.types;\n"
            "    access_log /var/log/nginx/access.log;\n    gzip on;\n"
            "    upstream servers { server server:8081; keepalive 8; }\n"
            "    server { listen 80; return 301 https://$host$request_uri; }\n",
            id="whole-file",
        ),
        pytest.param(
            "        listen 8080;\n",
            "        listen 8080;\n        listen 8443 ssl;\n"
            "        ssl_certificate /etc/nginx/server.pem;\n"
            "        ssl_certificate_key /etc/nginx/server.key;\n"
            "        proxy_read_timeout 5s;\n        proxy_buffering on;\n",
            id="tls-and-defaults-around",
        ),
        pytest.param("proxy_read_timeout 1h;", "proxy_read_timeout 1h30m;", id="two-units"),
    ],
)
def test_another_way_passes(old: str, new: str) -> None:
    report = checked_texts(solved_with(old, new))
    assert report.ok, report.as_json()


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        # Each of these is odd, and none of them may be reported as a bug in the course.
        (
            "def compose() -> str:\n",
            "def compose() -> str:\n    import os; os._exit(3)\n",
            "crashed",
        ),
        (
            "def compose() -> str:\n",
            "def compose() -> str:\n    raise SystemExit(3)\n",
            "crashed",
        ),
        ('return r"""services:\n', 'return r"""[services\n', "not-yaml"),
        ('return r"""services:\n', 'return "services" or r"""services:\n', "no-service"),
        ("\n  nginx:\n", "\n  1: {}\n  nginx:\n", "passes"),
        ("    read_only: true\n", "    1: 2\n    read_only: true\n", "unknown-key"),
        ("    cap_drop: [ALL]\n", "    cap_drop: {ALL: 1}\n", "capabilities"),
        ("    mem_limit: 256m\n", "    deploy: [1]\n    mem_limit: 256m\n", "passes"),
    ],
)
def test_an_odd_file_is_said_in_words(old: str, new: str, found: str, tmp_path: Path) -> None:
    report = checked(tmp_path, solved_with(old, new))
    assert [hint for _, hint in failures(report)] == ([] if found == "passes" else [found])


CHECKS = {"run_command": "run-line"}
ODD_TEXTS = [
    "",
    "\0",
    "é漢🙂",
    "FROM",
    "{",
    "}",
    '"',
    "'",
    "\\",
    "a: b: c",
    "docker run",
    "CMD [",
    "\t",
]


@pytest.mark.parametrize("name", texts.NAMES)
def test_any_text_gets_a_failure_of_its_file(name: str) -> None:
    for text in ODD_TEXTS:
        report = checked_texts(SOLVED, **{name: text})
        assert [one.id for one in report.failures()] == [CHECKS.get(name, name)], text


def test_what_a_function_prints_is_no_text(tmp_path: Path) -> None:
    loud = solved_with("def nginx() -> str:\n", "def nginx() -> str:\n    print('events {}')\n")
    assert checked(tmp_path, loud).ok


def test_one_that_hangs_leaves_the_others_to_be_checked(tmp_path: Path) -> None:
    text = solved_with(
        "def compose() -> str:\n", "def compose() -> str:\n    while True: pass\n"
    )
    report = checked(tmp_path, text)
    assert failures(report) == [("compose", "hangs")]
    failed = report.failures()[0].failure
    assert failed is not None and b"while True: pass" in failed.received
    assert report.results[-1].state == "passed"  # nginx.conf comes after it


def test_nginx_really_runs_the_file(tmp_path: Path) -> None:
    require("nginx")
    report = checked(tmp_path, STARTER)
    shown = {one.id: one.failure for one in report.results if one.failure is not None}
    # The upstream has sent an event, and holds its stream open.
    assert (shown["at-once"].sent, shown["at-once"].received) == (b"GET /sse", b"")
    assert shown["host"].label == "Server got"
    assert shown["host"].received == b"Host: tea.example"
    assert "nginx.conf" not in report.untried


def test_the_proxy_of_the_checks_streams_and_cuts_as_it_is_told() -> None:
    """What the checks' own nginx shows comes from the learner's file and nothing else."""
    require("nginx")
    start, end = SOLVED.index("events {}"), SOLVED.index('"""', SOLVED.index("events {}"))
    text = SOLVED[start:end].replace("proxy_read_timeout 1h;", "proxy_read_timeout 1s;")
    running = proxy.Proxy(nginx_file.read(text))
    try:
        client = HTTPConnection("127.0.0.1", running.port, timeout=10)
        client.request("GET", "/sse")
        response = client.getresponse()
        assert response.read1() == proxy.FIRST
        with pytest.raises(IncompleteRead):  # the upstream would be silent for longer
            response.read()
        client.close()
    finally:
        running.close()


@pytest.mark.parametrize("mistake", IN_FRONT, ids=lambda mistake: mistake.id)
def test_without_nginx_the_file_is_read(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "NGINX", None)
    report = checked_texts(mistake.apply(SOURCE))
    assert failures(report) == [(mistake.check, mistake.hint)]


def test_without_nginx_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "NGINX", None)
    monkeypatch.setattr(opening, "NGINX_PROGRAM", None)
    report = checked_texts(SOLVED)
    assert report.ok
    assert "nginx.conf was read, not run: there is no nginx." in report.untried
    assert "not built and run: WORKSHOP_ENGINE is 0." in report.untried
    screen = console()
    course = Course.load()
    with screen.capture() as capture:
        show_report(screen, course, course.lesson("11"), report)
    assert "there is no nginx." in " ".join(capture.get().split())
    assert "there is no nginx." in report_table(course, course.lesson("11"), report)
    assert "there is no nginx." in json.loads(report.as_json())["untried"]


# ---- The exercise as a program ----


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A folder with what the image is made of."""
    folder = tmp_path / "server"
    folder.mkdir()
    for name in ("terminal_server.py", "serving.py", "exercise.py", "requirements.txt"):
        (folder / name).write_text("")
    return folder


def run_exercise(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SOLUTION), *map(str, arguments)], capture_output=True, text=True
    )


def test_it_writes_what_a_build_needs(server: Path, tmp_path: Path) -> None:
    folder = tmp_path / "to" / "deploy"
    run_exercise(folder, "--server", server)
    run = run_exercise(folder, "--server", server)  # again, over what is there
    assert run.returncode == 0, run.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("Dockerfile", "run.sh", "compose.yaml", "nginx.conf", "workspace"),
        *("terminal_server.py", "serving.py", "requirements.txt"),
    }
    assert "docker build -t terminal_server_sse ." in run.stdout
    subprocess.run(["sh", "-n", folder / "run.sh"], check=True)


def test_without_a_folder_it_shows_the_files() -> None:
    run = run_exercise()
    assert run.returncode == 0
    for name in ("Dockerfile", "run.sh", "compose.yaml", "nginx.conf"):
        assert f"==> {name} <==\n" in run.stdout


def test_what_it_cannot_do_is_one_line(server: Path, tmp_path: Path) -> None:
    there = tmp_path / "a-file"
    there.write_text("")
    run = run_exercise(there, "--server", server)
    assert run.returncode == 1 and run.stderr.startswith(f"Cannot write to {there}: ")
    assert run.stderr.count("\n") == 1
    run = run_exercise(tmp_path / "deploy", "--server", tmp_path)
    assert run.returncode == 1 and "Name its folder: --server" in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("Dockerfile", ["hadolint"]),
        ("compose.yaml", ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]),
    ],
)
def test_other_linters_find_nothing_in_the_solution(
    file: str, command: list[str], server: Path, tmp_path: Path
) -> None:
    program = tmp_path / "exercise.py"
    program.write_text(SOLVED, encoding="utf-8")
    write = [sys.executable, program, tmp_path / "deploy", "--server", server]
    subprocess.run(write, check=True, capture_output=True)
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    tool = shutil.which(command[0], path=beside)
    assert tool is not None
    run = subprocess.run(
        [tool, *command[1:], tmp_path / "deploy" / file], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
