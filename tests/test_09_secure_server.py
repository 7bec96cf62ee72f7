"""Lesson 09's secure server: HTTPS, its clients, and what else comes to its door."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.folder_modules import modules_in
from tests.parts import missing, require
from workshop.checks.engine import check_url
from workshop.checks.lesson_05 import suite
from workshop.checks.mcp_session import handshake, request
from workshop.course import ROOT
from workshop.running import HOST, Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/09_security"
TOKENS = {"alice": "a" * 40, "bob": "b" * 40}
ALICE = {"Authorization": f"Bearer {TOKENS['alice']}"}
ENVIRONMENT = {"MCP_TOKENS": ",".join(f"{name}:{token}" for name, token in TOKENS.items())}
HSTS = "strict-transport-security"


@dataclass(frozen=True)
class Secured:
    """A running secure_server.py, and the authority to trust if it speaks HTTPS."""

    program: Program
    url: str
    ca: Path | None

    @property
    def trust(self) -> ssl.SSLContext | bool:
        return ssl.create_default_context(cafile=self.ca) if self.ca else True

    def client(self, headers: dict[str, str] | None = None) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, verify=self.trust, headers=headers, timeout=10)


@contextmanager
def secured(
    https: bool, folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[Secured]:
    options = ("--https", "--certificates", str(folder)) if https else ()
    with running(
        FOLDER / "secure_server.py",
        *options,
        *arguments,
        env={**ENVIRONMENT, **(env or {})},
        cwd=folder.parent,
        seconds=60,
    ) as program:
        scheme = "https" if https else "http"
        ca = folder / "ca.pem" if https else None
        yield Secured(program, f"{scheme}://{HOST}:{program.port}", ca)


@pytest.fixture(scope="module", params=["http", "https"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured") / "certificates"
    with secured(request.param == "https", folder) as server:
        yield server


def run(*command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=environment(env),
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


# --- Clients that have a token, and trust the certificate ---------------------------------


def sdk_client(server: Secured, *arguments: str, token: str) -> tuple[int, str]:
    program = str(FOLDER / "sdk_client.py")
    return run(sys.executable, program, f"{server.url}/sse", *arguments, env={"TOKEN": token})


def test_the_sdks_client(server: Secured) -> None:
    trust = ("--ca", str(server.ca)) if server.ca else ()
    status, printed = sdk_client(server, *trust, token=TOKENS["alice"])
    assert status == 0
    assert printed.endswith(
        f"Connected to sse-server-by-hand at {server.url}/sse\n"
        "Its tools: echo, wait, read_note, count_lines\n"
        f"The note: {(FOLDER / 'notes/welcome.txt').read_text('utf-8').strip()}\n"
    )
    status, printed = sdk_client(server, *trust, token="c" * 40)
    assert (status, printed) == (
        1,
        f"{server.url}/sse: 401 Unauthorized: is the token right?\n",
    )
    if server.ca:
        status, printed = sdk_client(server, token=TOKENS["alice"])
        assert status == 1 and "Its certificate is not one that you trust" in printed
        status, printed = sdk_client(server, "--ca", "/no/such.pem", token="")
        assert (status, printed) == (
            1,
            "Cannot read /no/such.pem: No such file or directory\n",
        )


def test_curl(server: Secured) -> None:
    trust = ("--cacert", str(server.ca)) if server.ca else ()
    curl = (require("curl"), "-sNi", "-m", "10", *trust, "-H", f"{ALICE_HEADER}")
    with subprocess.Popen(
        [*curl, f"{server.url}/sse"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        came = ""
        for line in process.stdout:
            came += line
            if line.startswith("data: Hello"):
                break
        process.terminate()
    assert came.startswith("HTTP/1.1 200 ")
    assert "event: endpoint\ndata: /message?session_id=" in came
    assert (f"{HSTS}: max-age=31536000" in came) == bool(server.ca)


ALICE_HEADER = f"Authorization: {ALICE['Authorization']}"

# It differs from lesson 07's client in one thing: it sends a token, with the stream and with
# the messages.
NODE_CLIENT = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";

const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const url = new URL(process.argv[1]);
const transport = new SSEClientTransport(url, { requestInit: { headers } });
const client = new Client({ name: "node-client", version: "1.0.0" });
try {
  await client.connect(transport);
  const { tools } = await client.listTools();
  console.log(tools.map((tool) => tool.name).join(", "));
} catch (error) {
  console.log(error.message);
  process.exitCode = 1;
}
await client.close();
"""


def node_client(server: Secured, env: dict[str, str]) -> tuple[int, str]:
    folder = ROOT / "tests/node"
    if not (folder / "node_modules/@modelcontextprotocol/sdk").is_dir():
        missing("The TypeScript SDK", "npm ci --prefix tests/node")
    done = subprocess.run(
        [require("node"), "--input-type=module", "-e", NODE_CLIENT, f"{server.url}/sse"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )
    return done.returncode, done.stdout


def test_the_typescript_sdk(server: Secured) -> None:
    trust = {"NODE_EXTRA_CA_CERTS": str(server.ca)} if server.ca else {}
    with_token = {"TOKEN": TOKENS["alice"], **trust}
    assert node_client(server, with_token) == (0, "echo, wait, read_note, count_lines\n")
    status, printed = node_client(server, {"TOKEN": "c" * 40, **trust})
    assert status == 1 and "401" in printed
    if server.ca:
        status, printed = node_client(server, {"TOKEN": TOKENS["alice"]})
        assert status == 1 and "certificate" in printed


async def test_openai_agents(server: Secured) -> None:
    # Only here: this import takes seconds of processor, and every test process reads this file.
    from agents.mcp import MCPServerSse

    trust = server.trust

    def http_client(
        headers: Any = None, timeout: Any = None, auth: Any = None
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=trust)

    agents_server = MCPServerSse(
        {
            "url": f"{server.url}/sse",
            "headers": ALICE,
            "httpx_client_factory": http_client,
        }
    )
    async with agents_server as connected:
        tools = await connected.list_tools()
        result = await connected.call_tool("echo", {"message": "hello"})
    assert [tool.name for tool in tools] == ["echo", "wait", "read_note", "count_lines"]
    assert result.content[0].model_dump()["text"] == "hello"


# --- HTTPS --------------------------------------------------------------------------------


def test_every_answer_over_tls_says_stay(server: Secured) -> None:
    with server.client() as client:
        statuses: set[int] = set()
        for path, headers in (
            ("/health", {}),
            ("/sse", {}),
            ("/nothing", ALICE),
            ("/message", ALICE),
            ("/sse?client=a%0Ab", ALICE),
            ("/health", {"Host": "evil.example"}),
            ("/health", {"Origin": "http://evil.example"}),
        ):
            answer = client.get(path, headers=headers)
            statuses.add(answer.status_code)
            assert (answer.headers.get(HSTS) == "max-age=31536000") == bool(server.ca), path
        assert statuses == {200, 400, 401, 403, 404, 405, 421}
        own = client.get("/health", headers={"Origin": server.url})
        assert own.status_code == 200
        other = server.url.replace("https", "http") if server.ca else "https" + server.url[4:]
        assert client.get("/health", headers={"Origin": other}).status_code == 403


def test_nobody_on_this_machine_can_say_that_it_is_https(tmp_path: Path) -> None:
    """uvicorn would believe X-Forwarded-Proto, and HSTS would be on every later stream."""
    with secured(False, tmp_path / "none") as server, server.client(ALICE) as client:
        claimed = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        for headers in (claimed, {}):
            with client.stream("GET", "/sse", headers=headers) as stream:
                assert stream.status_code == 200
                assert HSTS not in stream.headers
        origin = {"Origin": "https" + server.url[4:]}
        assert client.get("/health", headers=claimed | origin).status_code == 403
        assert "192.0.2.1" not in server.program.output


def test_it_leaves_while_streams_are_open(server: Secured, tmp_path: Path) -> None:
    with (
        secured(server.ca is not None, tmp_path / "certificates") as mortal,
        mortal.client(ALICE) as client,
        client.stream("GET", "/sse") as one,
        client.stream("GET", "/sse") as two,
    ):
        assert {one.status_code, two.status_code} == {200}
        assert mortal.program.stop() < 2
        assert mortal.program.process.returncode == 0
        assert "Traceback" not in mortal.program.output, mortal.program.output


# --- The certificate ----------------------------------------------------------------------


def test_only_its_owner_reads_the_key(server: Secured) -> None:
    if server.ca is None:
        return
    folder = server.ca.parent
    assert {file.name for file in folder.iterdir()} == {"ca.pem", "server.pem", "server.key"}
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    assert list(folder.parent.iterdir()) == [folder]  # nothing unfinished is left


def fails_to_start(folder: Path, **env: str) -> str:
    status, printed = run(
        *(sys.executable, str(FOLDER / "secure_server.py"), "--port", "0"),
        *("--https", "--certificates", str(folder)),
        env={**ENVIRONMENT, **env},
    )
    assert status == 1
    assert printed.count("\n") == 1, printed
    return printed.replace(str(folder), "FOLDER").strip()


def made(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    tmp_path.mkdir(exist_ok=True)
    with secured(True, folder):
        pass
    return folder


def test_certificates_that_are_of_no_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert fails_to_start(tmp_path / "file/certificates") == (
        "Cannot use a certificate in FOLDER: File exists"
    )
    folder = made(tmp_path)
    remove = "Remove it for a new one"
    assert fails_to_start(folder, ALLOWED_HOSTS="tools.example:8019") == (
        f"The certificate in FOLDER is of no use: it is not for tools.example. {remove}"
    )
    (folder / "ca.pem").rename(tmp_path / "ca.pem")
    assert fails_to_start(folder) == (
        "Cannot use a certificate in FOLDER: No such file or directory"
    )
    shutil.copy(made(tmp_path / "another") / "ca.pem", folder)
    assert fails_to_start(folder) == (
        f"The certificate in FOLDER is of no use: ca.pem did not sign server.pem. {remove}"
    )
    (folder / "server.key").write_text("")
    assert fails_to_start(folder).startswith("Cannot use a certificate in FOLDER: ")


EXPIRED = """
import datetime, sys, pathlib, trustme
folder = pathlib.Path(sys.argv[1])
authority = trustme.CA()
yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
issued = authority.issue_cert("127.0.0.1", not_after=yesterday)
authority.cert_pem.write_to_path(folder / "ca.pem")
issued.private_key_pem.write_to_path(folder / "server.key")
issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
"""


def test_an_expired_certificate(tmp_path: Path) -> None:
    run(sys.executable, "-c", EXPIRED, str(tmp_path))
    assert "is of no use: it ended on 20" in fails_to_start(tmp_path)


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir()  # an empty folder is filled
    names = {"ALLOWED_HOSTS": "tools.example, Tools.example:8443"}
    with secured(True, tmp_path / "certificates", env=names) as server:
        curl = [require("curl"), "-s", "-m", "10", "--cacert", str(server.ca)]
        name = f"tools.example:{server.program.port}"
        status, printed = run(
            *(*curl, "--resolve", f"{name}:{HOST}", f"https://{name}/health"),
            *("-H", "Host: tools.example"),
        )
    assert (status, printed) == (0, '{"status":"ok"}')


# --- From HTTP to HTTPS -------------------------------------------------------------------


@pytest.fixture(scope="module")
def redirect() -> Iterator[Program]:
    names = {"ALLOWED_HOSTS": "tools.example"}
    with running(FOLDER / "redirect.py", "--to-port", "8443", env=names) as program:
        yield program


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("127.0.0.1:8099", "https://127.0.0.1:8443/sse?a=b%0A"),
        ("LOCALHOST", "https://localhost:8443/sse?a=b%0A"),
        ("[::1]:80", "https://[::1]:8443/sse?a=b%0A"),
        ("tools.example", "https://tools.example:8443/sse?a=b%0A"),
        ("evil.example", None),
        ("tools.example@evil.example", None),
        ("tools.example:80@evil.example", None),
        ("", None),
    ],
)
def test_the_redirect_knows_its_names(redirect: Program, host: str, target: str | None) -> None:
    for method in ("GET", "POST"):
        answer = httpx2.request(method, f"{redirect.url}/sse?a=b%0A", headers={"Host": host})
        assert answer.headers.get("location") == target
        assert answer.status_code == (308 if target else 421)


def test_the_redirect_passes_on_no_token(redirect: Program) -> None:
    answer = httpx2.get(f"{redirect.url}/sse", headers=ALICE)
    assert answer.status_code == 403 and "location" not in answer.headers


def test_the_redirect_leads_to_the_server(tmp_path: Path) -> None:
    with (
        secured(True, tmp_path / "certificates") as server,
        running(FOLDER / "redirect.py", "--to-port", str(server.program.port)) as redirect,
        server.client() as client,
    ):
        answer = client.get(f"{redirect.url}/health", follow_redirects=True)
        assert answer.status_code == 200 and answer.url == f"{server.url}/health"
        assert redirect.stop() < 2 and redirect.process.returncode == 0


# --- What else comes to the door ----------------------------------------------------------


def asked(port: int, *lines: str | bytes, host: str | None = None, seconds: float = 5) -> str:
    """What comes back for a request of these lines, until the end or the first event."""
    name = f"{HOST}:{port}" if host is None else host
    given = [line if isinstance(line, bytes) else line.encode() for line in lines]
    given[1:1] = [f"Host: {name}".encode()] if name else []
    with socket.create_connection((HOST, port), timeout=seconds) as connection:
        connection.sendall(b"\r\n".join((*given, b"Connection: close", b"", b"")))
        answer = b""
        while b"Hello" not in answer and (data := connection.recv(65_536)):
            answer += data
    return answer.decode("latin-1")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with secured(False, tmp_path_factory.mktemp("plain") / "none") as server:
        yield server.program


BEARER = f"Authorization: {ALICE['Authorization']}"
STREAM = "GET /sse HTTP/1.1"
JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((STREAM, BEARER), 200),
        ((STREAM, BEARER.replace("Bearer", "bEARER")), 200),
        ((STREAM, BEARER, BEARER), 401),
        ((STREAM, BEARER, "authorization: Bearer x"), 401),
        ((STREAM, "Authorization: Bearer"), 401),
        ((STREAM, "Authorization: Bearer "), 401),
        ((STREAM, "Authorization:"), 401),
        ((STREAM, b"Authorization: Bearer \xc3\xa9\xff"), 401),
        ((STREAM, BEARER.replace("Bearer", "Basic")), 401),
        ((STREAM, BEARER[:-1]), 401),
        ((STREAM, BEARER + "a"), 401),
        ((f"GET /sse?token={TOKENS['alice']} HTTP/1.1",), 401),
        (("HEAD /sse HTTP/1.1", BEARER), 405),
        (("OPTIONS /message HTTP/1.1", BEARER), 405),
        (("OPTIONS /message HTTP/1.1",), 401),
        (("OPTIONS * HTTP/1.1", BEARER), 404),
        (("CONNECT evil.example:80 HTTP/1.1", BEARER), 400),
        (("GET @evil.example/sse HTTP/1.1", BEARER), 400),
        (("GET http://evil.example HTTP/1.1", BEARER), 400),
        ((b"GET /\xff HTTP/1.1", BEARER), 400),
        (("GET /%ff%00 HTTP/1.1", BEARER), 404),
        (("GET /sse/ HTTP/1.1", BEARER), 404),
        (("GET //sse HTTP/1.1", BEARER), 404),
        (("GET /docs HTTP/1.1", BEARER), 404),
        (("GET /openapi.json HTTP/1.1", BEARER), 404),
        ((f"GET /sse?{'ticket=a&' * 5000} HTTP/1.1",), 401),
        ((f"GET /sse?ticket={'a' * 60_000} HTTP/1.1",), 401),
        (("GET /sse?client=a%0Ab HTTP/1.1", BEARER), 400),
        (("GET /sse?client=a%00b HTTP/1.1", BEARER), 400),
        (("POST /message?session_id=%ff HTTP/1.1", BEARER), 415),
        (("POST /sse HTTP/1.1", BEARER), 405),
        (("GET /message HTTP/1.1", BEARER), 405),
        (("GET /ticket HTTP/1.1", BEARER), 405),
        ((STREAM, BEARER, "Origin: null"), 403),
        ((STREAM, BEARER, "Origin: "), 403),
        ((STREAM, BEARER, "Host: 127.0.0.1"), 421),
    ],
)
def test_odd_requests(plain: Program, lines: tuple[str | bytes, ...], status: int) -> None:
    before = len(plain.output)
    answer = asked(plain.port, *lines)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert "Traceback" not in plain.output[before:]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_without_a_host(plain: Program, version: str) -> None:
    answer = asked(plain.port, f"GET /sse HTTP/{version}", BEARER, host="")
    assert answer.startswith("HTTP/1.1 421 ")


def test_a_header_behind_the_body_proves_nothing(plain: Program) -> None:
    # What `asked` says at the end comes too late here: the server would keep the connection
    # for as long as it waits for the next request, as long as `asked` waits for its end.
    head = (JSON, "Connection: close", "Transfer-Encoding: chunked")
    chunks = (*head, "", "2", "{}", "0")
    assert asked(plain.port, "POST /message HTTP/1.1", *chunks, BEARER)[9:12] == "401"
    # Nor does it take away what was proven.
    assert asked(plain.port, "POST /message HTTP/1.1", BEARER, *chunks, BEARER)[9:12] == "404"


def test_a_ticket_opens_one_stream_and_nothing_else(plain: Program) -> None:
    def ticket() -> str:
        return httpx2.post(f"{plain.url}/ticket", headers=ALICE).json()["ticket"]

    def status(line: str, *more: str) -> str:
        return asked(plain.port, f"{line} HTTP/1.1", *more)[9:12]

    mine = ticket()
    assert status(f"GET /sse?ticket={mine}") == "200"
    assert status(f"GET /sse?ticket={mine}") == "401"
    # It is a ticket for a stream: not for messages, nor for another ticket.
    mine = ticket()
    assert status(f"POST /message?ticket={mine}") == "401"
    assert status(f"POST /ticket?ticket={mine}") == "401"
    assert status(f"HEAD /sse?ticket={mine}") == "401"
    assert status(f"GET /sse?ticket={mine}&ticket={mine}") == "401"
    assert status(f"GET /sse?Ticket={mine}") == "401"
    assert status(f"GET /sse?ticket={mine}", "Authorization: Bearer wrong") == "401"
    assert status(f"GET /sse?%74icket={mine}") == "200"
    assert f"{mine[:8]}" not in plain.output


def folder_module(name: str) -> Any:
    return modules_in(FOLDER, [name])[name]


def test_what_is_no_file_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")  # to read one is to wait for somebody who writes
    for name in ("circle", "pipe", "pipe/", ".", "", "a" * 300, "\0", "\ud800"):
        with pytest.raises(ValueError, match="there is no such note"):
            folder_module("notes").read_note(tmp_path, name)


def test_a_ticket_is_too_old_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    principals = folder_module("principals")
    now = 1000.0
    monkeypatch.setattr(principals.time, "monotonic", lambda: now)
    tickets = principals.Tickets()
    one, two = tickets.new("alice"), tickets.new("alice")
    now += 29.9
    assert tickets.use(one) == "alice"
    now += 0.1
    assert tickets.use(two) is None
    # What nobody uses is thrown away, and there are never too many.
    many = [tickets.new("alice") for _ in range(2 * principals.MAX_TICKETS)]
    assert len(tickets.waiting) == principals.MAX_TICKETS
    assert tickets.use(many[0]) is None and tickets.use(many[-1]) == "alice"
    now += 60
    tickets.new("alice")
    assert len(tickets.waiting) == 1


def test_pipelined_requests_are_answered_in_order(plain: Program) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: {HOST}:{plain.port}\r\n"
    with socket.create_connection((HOST, plain.port), timeout=5) as connection:
        connection.sendall(f"{head}\r\n{head}\r\n{head}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.count(b"HTTP/1.1 200 ") == 3


# --- What is in the environment -----------------------------------------------------------


def test_the_token_that_a_server_makes_up_can_be_an_options_value() -> None:
    """One that begins with a dash can't, and 1 of 64 of `token_urlsafe` do."""
    settings = folder_module("settings")
    made = {settings.token_for_this_run()["me"] for _ in range(500)}
    assert len(made) == 500 and not any(token.startswith("-") for token in made)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"MCP_TOKENS": "alice"}, "MCP_TOKENS is NAME:TOKEN, with commas between several"),
        ({"MCP_TOKENS": f":{'a' * 40}"}, "MCP_TOKENS is NAME:TOKEN, with commas"),
        ({"MCP_TOKENS": "alice:short"}, "the token of 'alice' has fewer than 32 characters"),
        ({"MCP_TOKENS": f"alice:{'é' * 40}"}, "the token of 'alice' "),
        ({"MCP_TOKENS": f"a:{'x' * 40},a:{'y' * 40}"}, "the name or the token of 'a' twice"),
        ({"MCP_TOKENS": f"a:{'x' * 40},b:{'x' * 40}"}, "the name or the token of 'b' twice"),
        ({"RATE_OPENS": "often"}, "RATE_OPENS is a rate such as 60/minute, not 'often'"),
        ({"MAX_STREAMS": "0"}, "MAX_STREAMS is a number of 1 or more, not '0'"),
        ({"MAX_STREAMS": "nan"}, "MAX_STREAMS is a number of 1 or more, not 'nan'"),
        ({"ALLOWED_ORIGINS": "*"}, "'*' is not an origin"),
        ({"ALLOWED_ORIGINS": "null"}, "'null' is not an origin"),
    ],
)
def test_settings_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], said: str
) -> None:
    settings = folder_module("settings")
    with pytest.raises(SystemExit, match=re.escape(said)) as left:
        settings.Settings.from_environment(setting)
    # What is printed may be kept in a log: no token is in it.
    assert not re.search("[xy]{40}|short\\b", str(left.value).replace("fewer", ""))


def test_settings_do_not_show_tokens() -> None:
    settings = folder_module("settings")
    made = settings.Settings.from_environment(ENVIRONMENT)
    assert TOKENS["alice"] not in repr(made)


# --- Started in other ways ----------------------------------------------------------------


@contextmanager
def by_uvicorn(tmp_path: Path, *options: str) -> Iterator[Program]:
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "secure_server:app", "--port", str(port)),
            *("--app-dir", str(FOLDER), "--http", "connection:Connection", *options),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(ENVIRONMENT),
    )
    program = Program(process, port)
    try:
        program.wait_until_listening(seconds=60)
        yield program
    finally:
        program.stop()
        assert process.stdout
        process.stdout.close()


def test_from_another_folder_behind_a_prefix(tmp_path: Path) -> None:
    with by_uvicorn(tmp_path, "--root-path", "/tools") as program:
        assert httpx2.get(f"{program.url}/health").status_code == 200
        assert httpx2.get(f"{program.url}/").status_code == 200
        ticket = httpx2.post(f"{program.url}/ticket", headers=ALICE).json()["ticket"]
        answer = asked(program.port, f"GET /sse?ticket={ticket} HTTP/1.1")
        assert "data: /tools/message?session_id=" in answer
        assert asked(program.port, STREAM)[9:12] == "401"
        # The first proxy on this machine is believed: but never what is in Host.
        assert asked(program.port, STREAM, BEARER, host="evil.example")[9:12] == "421"
        assert program.stop() < 2


def test_behind_a_proxy_that_ends_tls(tmp_path: Path) -> None:
    """The page's origin is https, what reaches us is http: the origin has to be named."""
    host = {"ALLOWED_HOSTS": "tools.example"}
    origin = {**ALICE, "Host": "tools.example", "Origin": "https://tools.example"}
    with secured(False, tmp_path / "none", env=host) as server:
        assert server.client(origin).get("/health").status_code == 403
    host["ALLOWED_ORIGINS"] = "https://tools.example"
    with secured(False, tmp_path / "none", env=host) as server:
        assert server.client(origin).get("/health").status_code == 200


def wait_until_it_listens(host: str, port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((host, port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.01)
        else:
            return


def test_over_ipv6(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("This machine has no ::1.")
    port = free_port()
    command = [sys.executable, str(FOLDER / "secure_server.py"), "--host", "::1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(ENVIRONMENT),
    )
    program = Program(process, port)
    try:
        program.wait_for_output("startup complete", seconds=60)
        wait_until_it_listens("::1", port)  # a moment later
        assert f"Serving MCP on http://[::1]:{port}/sse." in program.output
        url = f"http://[::1]:{port}/health"
        assert httpx2.get(url).status_code == 200
        assert httpx2.get(url, headers={"Host": f"127.0.0.1:{port}"}).status_code == 200
        assert httpx2.get(url, headers={"Host": "[::2]"}).status_code == 421
    finally:
        assert program.stop() < 2
        assert process.stdout
        process.stdout.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_without_httptools_no_server_starts(tmp_path: Path) -> None:
    """h11 would call none of the methods that limit a head."""
    status, printed = run_any(
        "import sys; sys.modules['httptools'] = None; sys.argv = ['x', '--port', '0']\n"
        f"sys.path.insert(0, {str(FOLDER)!r}); import secure_server"
    )
    assert status == 1 and "httptools" in printed.splitlines()[-1]


def run_any(code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


# --- Nothing is left ----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_thousand_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    limits = {"RATE_OPENS": "10000/second", "MAX_STREAMS": "50"}
    with secured(False, tmp_path / "none", env=limits) as server:
        port, pid = server.program.port, server.program.process.pid

        def files() -> int:
            return len(list(Path(f"/proc/{pid}/fd").iterdir()))

        asked(port, STREAM, BEARER)
        before = files()
        for number in range(1000):
            # Some leave before the answer, some in its middle, some after the first event.
            connection = socket.create_connection((HOST, port), timeout=10)
            head = f"{STREAM}\r\nHost: {HOST}:{port}\r\n{BEARER}\r\n\r\n"
            connection.sendall(head.encode())
            if number % 3 == 1:
                connection.recv(20)
            elif number % 3 == 2:
                came = b""
                while b"Hello" not in came:
                    came += connection.recv(4096) or pytest.fail(repr(came))
            connection.close()
        deadline = time.monotonic() + 10
        while files() > before and time.monotonic() < deadline:
            time.sleep(0.02)  # between two looks
        assert files() <= before
        # Of the limit on open streams nothing is taken: all can be had again.
        with ExitStack() as streams:
            for _ in range(50):
                connection = streams.enter_context(
                    socket.create_connection((HOST, port), timeout=10)
                )
                head = f"{STREAM}\r\nHost: {HOST}:{port}\r\n{BEARER}\r\n\r\n"
                connection.sendall(head.encode())
                assert connection.recv(12) == b"HTTP/1.1 200"
            assert asked(port, STREAM, BEARER)[9:12] == "429"
        assert server.program.stop() < 2
        assert "Traceback" not in server.program.output


def test_it_leaves_while_a_tls_client_takes_nothing(tmp_path: Path) -> None:
    with secured(True, tmp_path / "certificates") as server:
        port = server.program.port
        assert isinstance(server.trust, ssl.SSLContext)
        raw = socket.create_connection((HOST, port), timeout=10)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with server.trust.wrap_socket(raw, server_hostname=HOST) as stream:
            head = f"{STREAM}\r\nHost: {HOST}:{port}\r\n{BEARER}\r\n\r\n"
            stream.sendall(head.encode())
            came = b""
            while b"Hello" not in came:
                came += stream.recv(4096)
            endpoint = came.partition(b"data: ")[2].partition(b"\n")[0].decode()
            with server.client(ALICE) as client:
                client.post(endpoint, json=request(0, "initialize", handshake()))
                call = {"name": "echo", "arguments": {"message": "x" * 2_000_000}}
                for number in range(1, 4):
                    client.post(endpoint, json=request(number, "tools/call", call))
            assert server.program.stop() < 2
            assert server.program.process.returncode == 0


# --- The protocol, and what the checks cost -----------------------------------------------


def test_it_passes_the_protocols_checks(tmp_path: Path) -> None:
    limits = {"RATE_OPENS": "1000/second", "RATE_MESSAGES": "1000/second", "MAX_STREAMS": "99"}
    with secured(False, tmp_path / "none", env=limits) as server:
        report = check_url(suite, f"{server.url}/sse", ALICE)
    assert report.ok, report.as_json()
    assert report.ids("waiting") == [] and len(report.results) >= 20


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.quiet
def test_the_checks_cost_little() -> None:
    """In a short run. What takes processor time from it may spoil a run: then again."""
    printed = ""
    for _ in range(4):
        status, said = run(
            *(sys.executable, str(FOLDER / "benchmark.py"), "--rounds", "5"),
            *("--seconds", "0.2", "--assert"),
        )
        assert all(len(line) <= 80 for line in said.splitlines())
        if status == 0:
            return
        printed += said
    pytest.fail(f"Not as fast as promised:\n{printed}")
