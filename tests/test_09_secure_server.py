"""Lesson 09's secure server: HTTPS, its clients, and what else comes to its door."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agents.mcp import MCPServerSse

from tests.conftest import ROOT
from tests.parts import missing, require
from workshop.running import HOST, Program, environment, running

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
