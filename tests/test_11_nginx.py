"""Lesson 11: nginx in front of streams. Its files are valid, and do what they say."""

from __future__ import annotations

import contextlib
import difflib
import http.client
import importlib
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import require
from workshop.checks.mcp_session import as_json, request
from workshop.course import ROOT
from workshop.running import HOST, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

LESSON = ROOT / "scripts/11_docker"
NGINX = LESSON / "nginx"
RIGHT = NGINX / "nginx.conf"
PREFIX = NGINX / "prefix.conf"
WRONG = sorted((NGINX / "wrong").glob("*.conf"))
ALL = [RIGHT, PREFIX, *WRONG]
READ_TIMEOUT = NGINX / "wrong/read_timeout.conf"
BUFFERING = ("proxy_buffering off;", "proxy_buffering on;")

# Another nginx may have a file more or less open.
ABOUT = {"few_files.conf": 3}

each_file = pytest.mark.parametrize("file", ALL, ids=lambda file: file.stem)


@pytest.fixture
def run_nginx(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lesson's module that starts nginx."""
    require("nginx")
    monkeypatch.syspath_prepend(NGINX)
    return importlib.import_module("run_nginx")


def changed(*edits: tuple[str, str], file: Path = RIGHT) -> str:
    """The text of a file, with some of it replaced."""
    conf = file.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in conf
        conf = conf.replace(old, new)
    return conf


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """plain_stream.py, with many events; host:port."""
    require("nginx")
    with running(
        NGINX / "plain_stream.py", "--events", "10000", "--interval", "0.01"
    ) as program:
        yield f"{HOST}:{program.port}"


@contextlib.contextmanager
def terminal_server(
    tmp_path: Path, *, root_path: str = "", trusted: str = HOST
) -> Iterator[str]:
    """The lesson's server; yields host:port."""
    env = {"WORKSPACE": str(tmp_path / "workspace"), "FORWARDED_ALLOW_IPS": trusted}
    (tmp_path / "workspace").mkdir(exist_ok=True)
    if not root_path:
        with running(LESSON / "terminal_server.py", env=env) as program:
            yield f"{HOST}:{program.port}"
        return
    starter = tmp_path / "start.py"
    starter.write_text(
        f"import sys, uvicorn\nsys.path.insert(0, {str(LESSON)!r})\n"
        "uvicorn.main(['terminal_server:app', '--root-path', "
        f"{root_path!r}, *sys.argv[1:]])\n",
        encoding="utf-8",
    )
    with running(starter, env=env) as program:
        yield f"{HOST}:{program.port}"


class Client:
    """One request, whose answer is read as it comes."""

    def __init__(self, port: int, path: str, *, ca: Path | None = None, **headers: str) -> None:
        if ca is None:
            self.connection = http.client.HTTPConnection(HOST, port, timeout=15)
        else:
            trust = ssl.create_default_context(cafile=ca)
            self.connection = http.client.HTTPSConnection(HOST, port, timeout=15, context=trust)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()

    def event(self) -> str:
        """The next event. Raises http.client.IncompleteRead if the stream is cut first."""
        lines: list[bytes] = []
        while (line := self.answer.readline()).strip():
            lines.append(line)
        return b"".join(lines).decode().strip()

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@pytest.fixture
def get() -> Iterator[Any]:
    """Opens a `Client`, which is closed at the end."""
    with contextlib.ExitStack() as clients:

        def get(port: int, path: str, **more: Any) -> Client:
            return clients.enter_context(contextlib.closing(Client(port, path, **more)))

        yield get


# --- The files ----------------------------------------------------------------------------


def statements(conf: str) -> list[str]:
    """The lines that are not comments, without what explains them."""
    lines = (line.partition(" # ")[0].strip() for line in conf.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@each_file
def test_nginx_takes_each_file(file: Path, run_nginx: Any, tmp_path: Path) -> None:
    conf = file.read_text(encoding="utf-8")
    command = run_nginx.prepare(conf, tmp_path, f"{HOST}:1", free_port(), free_port())
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr
    assert "[warn]" not in tried.stderr


@each_file
def test_each_file_can_be_read_without_nginx(file: Path) -> None:
    import crossplane

    read = crossplane.parse(str(file))
    assert read["status"] == "ok", read["errors"]


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_a_wrong_file_differs_only_where_it_says_so(file: Path) -> None:
    right = PREFIX if file.stem == "prefix_kept" else RIGHT
    wrong = file.read_text(encoding="utf-8")
    marked = {
        line.partition("#")[0].strip() for line in wrong.splitlines() if "# wrong" in line
    }
    assert marked
    difference = [
        line
        for line in difflib.ndiff(statements(right.read_text("utf-8")), statements(wrong))
        if line[0] in "+-"
    ]
    added = {line[2:] for line in difference if line[0] == "+"}
    removed = [line for line in difference if line[0] == "-"]
    assert added == marked - {""}
    assert len(removed) == max(1, len(added)) or file.stem in ("upgrade", "gzip")
    assert len(removed) <= 2


def test_the_file_for_a_prefix_differs_only_in_its_location() -> None:
    here, there = (statements(file.read_text("utf-8")) for file in (RIGHT, PREFIX))
    assert [line for line in here if line not in there] == [
        "location / {",
        "proxy_pass http://terminal;",
    ]
    assert [line for line in there if line not in here] == [
        "location /terminal/ {",
        "proxy_pass http://terminal/;",
    ]


# --- The lab ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> str:
    """What the lab prints about all files."""
    require("nginx")
    lab = subprocess.run(
        [sys.executable, str(NGINX / "proxy_lab.py")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    assert lab.returncode == 0, lab.stderr
    return lab.stdout


def rows(table: str) -> list[tuple[str, str, str, str]]:
    """File, what was measured, with it, and with the right one."""
    found: list[tuple[str, str, str, str]] = []
    for line in table.splitlines()[1:]:
        cells = [cell.strip() for cell in (line[:24], line[24:49], line[49:65], line[65:])]
        if cells[0].endswith(".conf"):
            found.append((cells[0], cells[1], cells[2], cells[3]))
    return found


@pytest.mark.long
def test_what_the_lab_measures_is_what_the_files_say(table: str) -> None:
    claims = sorted(
        (file.name, line.removeprefix("# Measured: "))
        for file in ALL
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("# Measured: ")
    )
    measured: list[tuple[str, str]] = []
    for file, what, wrong, right in rows(table):
        if file in ABOUT:
            said = dict(claims)[file]
            number = re.search(r"about (\d+)", said)
            assert number is not None
            assert abs(int(wrong.split(",")[0]) - int(number[1])) <= ABOUT[file]
            wrong = number[0]
        measured.append((file, f"{what}: {wrong} (right: {right})."))
    assert sorted(measured) == claims
    assert {file.name for file in WRONG} <= {file for file, _ in measured}


@pytest.mark.long
def test_the_table_fits_a_terminal(table: str) -> None:
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.long
def test_what_is_held_back_comes_when_the_stream_ends(table: str) -> None:
    """The producer waits for a second before it goes on."""
    lines = table.splitlines()
    held = [lines[at + 1] for at, line in enumerate(lines) if " 0 of 10" in line]
    assert len(held) == 3
    for line in held:
        first, right = (float(found) for found in re.findall(r"([\d.]+) s", line))
        assert first > 1 > right


def test_a_name_that_no_file_has() -> None:
    lab = subprocess.run(
        [sys.executable, str(NGINX / "proxy_lab.py"), "nothing"], capture_output=True, text=True
    )
    assert lab.returncode == 1
    assert "wrong/gzip.conf" in lab.stderr


# After what it has changed, it runs a program.
CHANGED = """
import os, runpy, shutil, signal, subprocess, sys, time
{change}
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
WITHOUT_NGINX = CHANGED.format(change="shutil.which = lambda *_, **__: None")


def test_without_nginx_it_says_how_to_install_it() -> None:
    for program in ("proxy_lab.py", "run_nginx.py"):
        command = [sys.executable, "-c", WITHOUT_NGINX, str(NGINX / program)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 1
        assert "apt-get install nginx-light" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_its_servers_are_quiet_while_another_one_begins() -> None:
    """If each of them set up the log, one could write before its level is set again."""
    require("nginx")
    changed = CHANGED.format(change="import logging.config; logging.config.dictConfig = None")
    command = [sys.executable, "-c", changed, str(NGINX / "proxy_lab.py"), "host.conf"]
    lab = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (lab.returncode, lab.stderr) == (0, "")
    assert "INFO" not in lab.stdout


# The signal comes when an nginx is running, and nobody has been told of it yet.
STOPPED = """
class Popen(subprocess.Popen):
    def __init__(self, command, **named):
        super().__init__(command, **named)
        folder = command[command.index("-p") + 1]
        while self.poll() is None and not os.path.exists(folder + "/nginx.pid"):
            time.sleep(0.01)
        signal.raise_signal(signal.{name})

subprocess.Popen = Popen
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a program that a script starts with `&`
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_however_the_lab_is_stopped_it_leaves_no_nginx(name: str) -> None:
    require("nginx")
    stopped = CHANGED.format(change=STOPPED.format(name=name))
    with subprocess.Popen(
        [sys.executable, "-c", stopped, str(NGINX / "proxy_lab.py"), "connection.conf"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    ) as lab:
        try:
            printed, _ = lab.communicate(timeout=60)
        finally:
            lab.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(lab.pid, signal.SIGKILL)  # with all that it has started
    assert (lab.returncode, printed) == (130, b"")


def test_nginx_is_found_where_debian_puts_it(tmp_path: Path) -> None:
    """The PATH of ordinary users has no /usr/sbin."""
    if not Path(require("nginx")).is_relative_to("/usr/sbin"):
        pytest.skip("Here, nginx is somewhere else.")
    lab = subprocess.run(
        [sys.executable, str(NGINX / "proxy_lab.py"), "host.conf"],
        capture_output=True,
        text=True,
        env=environment({"PATH": str(tmp_path)}),
    )
    assert lab.returncode == 0, lab.stderr


def test_a_port_that_is_taken() -> None:
    require("nginx")
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, str(NGINX / "run_nginx.py"), "--port", str(port)],
            capture_output=True,
            text=True,
        )
    assert ended.returncode == 1
    assert f"Port {port} is in use. Choose another: --port {port + 1}" in ended.stderr


# --- What else the files and the text say -------------------------------------------------


@pytest.mark.parametrize(
    ("edits", "headers"),
    [
        ([("proxy_http_version 1.1", "proxy_http_version 1.0")], {}),
        (
            [("gzip off;", "gzip on; gzip_types text/event-stream;")],
            {"Accept-Encoding": "gzip"},
        ),
    ],
    ids=["http 1.0", "gzip"],
)
def test_one_fault_alone_does_no_harm(
    run_nginx: Any, get: Any, plain: str, edits: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """The stream never ends, and its first event is there."""
    with run_nginx.running_nginx(changed(*edits), plain) as nginx:
        client = get(nginx.port, "/idle", **headers)
        assert client.answer.read1(1)


@pytest.mark.parametrize("edits", [[], [BUFFERING]], ids=["right", "buffering"])
def test_http_2_streams_and_hides_the_fault(
    run_nginx: Any, plain: str, edits: list[Any]
) -> None:
    curl = require("curl")
    conf = changed(*edits, ("listen 8443 ssl;", "listen 8443 ssl http2;"))
    with (
        run_nginx.running_nginx(conf, plain) as nginx,
        subprocess.Popen(
            [curl, "-siN", "--http2", "--cacert", nginx.ca, f"{nginx.tls_url}/idle"],
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"HTTP/2 200")
        while process.stdout.readline() != b"data: 1\n":
            assert process.poll() is None
        process.terminate()


def test_a_reload_cuts_no_stream(run_nginx: Any, plain: str, get: Any) -> None:
    with run_nginx.running_nginx(changed(), plain) as nginx:
        client = get(nginx.port, "/sse")
        assert client.event() == "data: 1"
        conf: Path = nginx.folder / "nginx.conf"
        new = conf.read_text(encoding="utf-8").replace("gzip off;", "add_header X-Is new;")
        conf.write_text(new, encoding="utf-8")
        nginx.process.send_signal(signal.SIGHUP)
        number = 1
        while get(nginx.port, "/sse").answer.getheader("X-Is") != "new":
            number += 1
            assert client.event() == f"data: {number}"
        for _ in range(20):
            number += 1
            assert client.event() == f"data: {number}"


def test_quit_waits_for_streams_and_stop_does_not(run_nginx: Any, plain: str, get: Any) -> None:
    with run_nginx.running_nginx(changed(), plain) as nginx:
        client = get(nginx.port, "/sse")
        nginx.process.send_signal(signal.SIGQUIT)
        with contextlib.suppress(ConnectionRefusedError):
            while client.event():
                socket.create_connection((HOST, nginx.port)).close()
        for _ in range(20):
            assert client.event().startswith("data: ")
        assert nginx.process.poll() is None
        client.close()
        assert nginx.process.wait(5) == 0
    with run_nginx.running_nginx(changed(), plain) as nginx:
        client = get(nginx.port, "/sse")
        assert client.event() == "data: 1"
        nginx.process.send_signal(signal.SIGTERM)
        assert nginx.process.wait(5) == 0


def test_a_heartbeat_keeps_a_stream_open(run_nginx: Any, plain: str, get: Any) -> None:
    conf = changed(("proxy_read_timeout 3s", "proxy_read_timeout 1s"), file=READ_TIMEOUT)
    with run_nginx.running_nginx(conf, plain) as nginx:
        client = get(nginx.port, "/sse")
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert client.event().startswith("data: ")


def test_five_hundred_idle_streams(run_nginx: Any, plain: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2_000, limits[1]), limits[1]))
    with (
        run_nginx.running_nginx(changed(), plain) as nginx,
        contextlib.ExitStack() as streams,
    ):
        streams.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        opened: list[socket.socket] = []
        for _ in range(500):
            stream = socket.create_connection((HOST, nginx.port), timeout=15)
            opened.append(streams.enter_context(stream))
            stream.sendall(b"GET /idle HTTP/1.1\r\nHost: test\r\n\r\n")
        for stream in opened:
            received = b""
            while b"data: 1\n\n" not in received:
                piece = stream.recv(4096)
                assert piece, received
                received += piece


# --- The terminal server behind it --------------------------------------------------------

CALL = """
import asyncio, ssl, sys

import httpx2
from mcp import Client
from mcp.client.sse import sse_client

ca, *urls = sys.argv[1:]
trust = ssl.create_default_context(cafile=ca)


def factory(headers=None, timeout=None, auth=None):
    return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=trust)


async def main():
    for url in urls:
        transport = sse_client(url, httpx_client_factory=factory)
        async with Client(transport, mode="legacy") as client:
            result = await client.call_tool("add", {"a": 2, "b": 5})
            print(float(result.content[0].text))


asyncio.run(main())
"""


def sums(ca: Path, *urls: str) -> list[str]:
    """What `add` of 2 and 5 answers to the SDK's client at each URL."""
    client = subprocess.run(
        [sys.executable, "-c", CALL, str(ca), *urls],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert client.returncode == 0, client.stderr
    return client.stdout.split()


@pytest.mark.long
def test_the_sdk_client_over_plain_http_and_tls(
    run_nginx: Any, get: Any, tmp_path: Path
) -> None:
    curl = require("curl")
    with terminal_server(tmp_path) as address:
        with run_nginx.running_nginx(changed(), address) as nginx:
            urls = f"{nginx.url}/sse", f"{nginx.tls_url}/sse"
            assert sums(nginx.ca, *urls) == ["7.0", "7.0"]

            log = (nginx.folder / "log.txt").read_text(encoding="utf-8")
            assert "POST /messages/ 202" in log
            assert "session_id" not in log

            with subprocess.Popen(
                [curl, "-sN", "--cacert", nginx.ca, f"{nginx.tls_url}/sse"],
                stdout=subprocess.PIPE,
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"event: endpoint\r\n"
                process.terminate()

            redirect = get(nginx.tls_port, "/sse/", ca=nginx.ca).answer
            assert redirect.getheader("Location") == f"{nginx.tls_url}/sse"
            # Where http:// leads on that port.
            assert get(nginx.tls_port, "/sse").answer.status == 400

        # The SDK's streams say themselves that they must not be held back.
        with run_nginx.running_nginx(changed(BUFFERING), address) as nginx:
            client = get(nginx.tls_port, "/sse", ca=nginx.ca)
            assert client.event().startswith("event: endpoint")

        # door.py lets in names without a port. But then redirects have none, either.
        host = NGINX / "wrong/host.conf"
        with run_nginx.running_nginx(changed(file=host), address) as nginx:
            assert get(nginx.port, "/sse").answer.status == 200
            redirect = get(nginx.port, "/sse/").answer
            assert redirect.getheader("Location") == f"http://{HOST}/sse"


@pytest.mark.long
def test_below_a_prefix_by_a_proxy_that_is_not_trusted(
    run_nginx: Any, get: Any, tmp_path: Path
) -> None:
    with (
        terminal_server(tmp_path, root_path="/terminal", trusted="10.0.0.1") as address,
        run_nginx.running_nginx(changed(file=PREFIX), address) as nginx,
    ):
        stream = get(nginx.port, "/terminal/sse")
        endpoint = stream.event().partition("data: ")[2]
        assert endpoint.startswith("/terminal/messages/?session_id=")
        with contextlib.closing(http.client.HTTPConnection(HOST, nginx.port)) as posting:
            ping = as_json(request(1, "ping"))
            posting.request("POST", endpoint, ping, {"Content-Type": "application/json"})
            assert posting.getresponse().status == 202
        assert '"id":1' in stream.event()

        # FORWARDED_ALLOW_IPS does not name nginx: X-Forwarded-Proto is not believed.
        redirect = get(nginx.tls_port, "/terminal/sse/", ca=nginx.ca).answer
        assert redirect.getheader("Location") == f"http://{HOST}:{nginx.tls_port}/terminal/sse"


def test_the_certificate_of_the_text(run_nginx: Any, tmp_path: Path) -> None:
    """`python -m trustme` makes the files that nginx.conf names, and nginx takes them."""
    command = run_nginx.prepare(changed(), tmp_path, f"{HOST}:1", free_port(), free_port())
    shutil.rmtree(tmp_path / "cert")
    (tmp_path / "cert").mkdir()
    subprocess.run(
        [sys.executable, "-m", "trustme", "-q", "-i", "127.0.0.1", "localhost"],
        cwd=tmp_path / "cert",
        check=True,
    )
    made = sorted((tmp_path / "cert").iterdir())
    assert [file.name for file in made] == ["client.pem", "server.key", "server.pem"]
    # The container's nginx is another user than you.
    assert all(file.stat().st_mode & 0o004 for file in made)
    assert subprocess.run([*command, "-t"], capture_output=True).returncode == 0
