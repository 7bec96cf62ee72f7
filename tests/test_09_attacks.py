"""Lesson 09: each attack on a server succeeds against the open one, and only there.

That it fails against the secure server says little by itself: the attack may have a bug. So
each cure is taken out of a copy of the secure server, and the attack must succeed again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.folder_modules import Edit, edited_copy, modules_in
from tests.parts import CHROMIUM_FLAGS, INSTALL, require
from workshop.course import ROOT

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/09_security"

# For each attack, what the evidence says against the open and against the secure server.
EVIDENCE = {
    "anonymous": ("called a tool without a token", "GET /sse: 401, POST /message: 401"),
    "timing": ("not measurable", "not measurable"),
    "guessed_id": ("on Alice's stream", "ids cannot be counted"),
    "logged_id": ("on Alice's stream", "not in the log; and with the id: 404"),
    "stolen_stream": ("on Mallory's stream", "Mallory got another session"),
    "crossed_replies": ("on Mallory's stream", "each reply came to the client that asked"),
    "secrets_in_logs": ("her token, her session, her password", "POST /message?session_id=… "),
    "rebinding": ("a stream, POST called a tool", "GET /sse: 421, POST /message: 421"),
    "rebinding_page": ("arrived: read Welcome.", "GET /sse: 421"),
    "foreign_origin": (
        "GET (readable), preflight: 200, POST (readable)",
        "GET /sse: 403, preflight: 403, POST /message: 403",
    ),
    "cross_site_post": (
        "as a page: on Alice's stream",
        "as a page: 403, without Origin: 401, with a credential: 415",
    ),
    "field_injection": ("LF, CR, CRLF, NUL", "LF, CR, CRLF, NUL: GET /sse: 400"),
    "path_escape": ("by .., prefix, symlink", "10 of 10 names refused, welcome.txt was read"),
    "second_command": (";  &&  ||  |  line end  $(…)", "9 of 9 names refused"),
}

LAB = [f"attacks.{name}" for name in ("finding", "target", "lab")]
names = ["event_stream", "attacks", *LAB, *(f"attacks.{name}" for name in EVIDENCE)]
modules = modules_in(FOLDER, names)
started = modules["attacks.lab"].started

Customers = Callable[[str], Any]  # attacks.target.Server for an attack, by its name


async def result_of(attack: str, server: Any) -> Any:
    """What came of it: an attacks.finding.Finding."""
    if attack == "rebinding_page":
        require("chromium")
    finding = await modules[f"attacks.{attack}"].attack(server)
    assert len(finding.evidence) <= 70, finding.evidence
    assert "\n" not in finding.evidence
    return finding


@pytest.fixture(scope="module")
def servers(warm: None) -> Iterator[dict[str, Customers]]:
    with ExitStack() as stack:
        yield {
            target: stack.enter_context(started(FOLDER / f"{target}_server.py", list(EVIDENCE)))
            for target in ("open", "secure")
        }


@pytest.mark.parametrize("attack", EVIDENCE)
async def test_it_succeeds_against_the_open_server(
    attack: str, servers: dict[str, Customers]
) -> None:
    finding = await result_of(attack, servers["open"](attack))
    claimed = getattr(modules[f"attacks.{attack}"], "CLAIMED", True)
    assert finding.succeeded is claimed, finding
    assert EVIDENCE[attack][0] in finding.evidence


@pytest.mark.parametrize("attack", EVIDENCE)
async def test_it_fails_against_the_secure_server(
    attack: str, servers: dict[str, Customers]
) -> None:
    finding = await result_of(attack, servers["secure"](attack))
    assert not finding.succeeded, finding
    assert EVIDENCE[attack][1] in finding.evidence


async def test_without_a_browser_the_page_is_not_tried(
    servers: dict[str, Customers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(modules["attacks.target"].NotTried, match=INSTALL["chromium"]):
        await modules["attacks.rebinding_page"].attack(servers["open"]("rebinding_page"))


@pytest.mark.parametrize("attack", ["path_escape", "second_command", "secrets_in_logs"])
async def test_what_needs_the_lab_is_not_tried_elsewhere(
    attack: str, servers: dict[str, Customers]
) -> None:
    target = modules["attacks.target"]
    with pytest.raises(target.NotTried):
        server = servers["open"](attack)
        await modules[f"attacks.{attack}"].attack(
            target.Server(server.url, server.alice, server.mallory)
        )


def test_the_program_says_it_as_json() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "attack.py", "path_escape", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    (found,) = json.loads(done.stdout)
    assert (found["attack"], found["case"]) == ("path_escape", "CVE-2025-53110")
    results = {which: finding["result"] for which, finding in found["findings"].items()}
    assert results == {"open": "succeeds", "secure": "fails"}


def test_what_cannot_be_attacked_is_said_in_a_line(servers: dict[str, Customers]) -> None:
    secure = servers["secure"]("anonymous")
    nowhere = f"http://127.0.0.1:{modules['attacks.lab'].free_port()}"
    for url, why in {
        nowhere: "is no server that Alice can use: All connection attempts failed",
        secure.url: "is no server that Alice can use: GET /sse: 401",
        f"{secure.url}/mcp": "is no server that Alice can use: GET /sse: 401",
    }.items():
        done = subprocess.run(
            [sys.executable, FOLDER / "attack.py", "--url", url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{url} {why}\n")


def test_a_server_by_its_url(servers: dict[str, Customers]) -> None:
    secure = servers["secure"]("crossed_replies")
    tokens = (secure.alice, secure.mallory)
    done = subprocess.run(
        [
            *(sys.executable, FOLDER / "attack.py", "crossed_replies", "cross_site_post"),
            *("--url", f"{secure.url}/sse", "--tokens", *tokens, "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    results = [found["findings"]["here"]["result"] for found in json.loads(done.stdout)]
    assert (done.returncode, results) == (0, ["fails", "fails"])


async def test_origin_alone_does_not_stop_rebinding(tmp_path: Path) -> None:
    """Within its own site, a browser says Origin with a POST, and not with a GET."""
    host_check = ("door.py", "if len(hosts) != 1 or", "if False and")
    with secure_server_with((host_check,), tmp_path, "rebinding_page") as server:
        finding = await result_of("rebinding_page", server)
    assert finding.evidence == "a page of rebound.example, POST /message: 403"


@pytest.mark.parametrize("own", [True, False], ids=["another address", "127.0.0.1"])
async def test_chromium_keeps_pages_from_another_address_away(
    own: bool, servers: dict[str, Customers], tmp_path: Path
) -> None:
    """The open server lets any page read its answers: here only the browser refuses."""
    browser = require("chromium")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # sends nothing, and chooses an address to send from
            address = probe.getsockname()[0] if own else "127.0.0.1"
        except OSError:
            pytest.skip("this machine has no address but 127.0.0.1")
    server = servers["open"]("foreign_origin")
    url = f"{server.url}/sse?token={server.alice}"
    page = f"""<script>
        fetch("{url}").then((answer) => answer.status, String)
            .then((body) => fetch("/said", {{ method: "POST", body }}));
        </script>"""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.startswith("post"):
                length = int(head.partition("content-length:")[2].split()[0])
                said.set_result((await reader.readexactly(length)).decode())
            lines = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}"
            writer.write(f"{lines}\r\nConnection: close\r\n\r\n{page}".encode())
        writer.close()

    async with await asyncio.start_server(answer, address, 0) as site:
        port = site.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(browser, *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path}"),
            f"http://{address}:{port}/",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            got = await asyncio.wait_for(said, 60)
        finally:
            process.terminate()
            await process.wait()
    assert got == ("TypeError: Failed to fetch" if own else "200")


@contextmanager
def secure_server_with(edits: Sequence[Edit], where: Path, attack: str) -> Iterator[Any]:
    """A copy of the secure server in which something is changed, for this attack."""
    folder = edited_copy(FOLDER, edits, where)
    with started(folder / "secure_server.py", [attack]) as customers:
        yield customers(attack)


@dataclass(frozen=True)
class Without:
    """The secure server without a cure, and the attack that succeeds then."""

    cure: str
    attack: str
    evidence: str
    edits: Sequence[Edit]


SHELL = (
    ("notes.py", "    path = note(folder, name)\n    counting", "    counting"),
    ("notes.py", "create_subprocess_exec(", "create_subprocess_shell("),
    ("notes.py", '*("wc", "-l", "--", str(path)),', 'f"wc -l {folder}/{name}",'),
    ("notes.py", "return printed.split()[0].decode()", "return printed.decode()"),
)
NAME_AS_OPTION = (
    SHELL[0],
    ("notes.py", '*("wc", "-l", "--", str(path)),', '*("wc", "-l", name), cwd=folder,'),
    ("notes.py", "stderr=asyncio.subprocess.DEVNULL", "stderr=asyncio.subprocess.STDOUT"),
    SHELL[3],
)
OWNER = ("secure_server.py", "if session is None or session.principal != principal:")
REPLY = """        reply = await answer(message, session.client)
        if reply is not None:
"""
# With 20 µs for each right character, the attack on time must see something: it is not blind.
SLOW = """def slow_compare(token: bytes, given: bytes) -> bool:
    for ours, theirs in zip(token, given):
        if ours != theirs:
            return False
        end = time.perf_counter() + 20e-6
        while time.perf_counter() < end:
            pass
    return len(token) == len(given)


def digest(token: str) -> bytes:
    return token.encode()
"""
DIGEST = """def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
"""
RESOLVED = "path = (folder / name).resolve()"
CURES = [
    Without(
        "a token for every request",
        "anonymous",
        "GET /sse opened a stream for nobody",
        (
            (
                "principals.py",
                "if principal is None:",
                'principal = principal or "x"\n' + 12 * " " + "if not principal:",
            ),
        ),
    ),
    Without(
        "a comparison that takes as long for a wrong token",
        "timing",
        "right letters cost +",
        (
            ("principals.py", DIGEST, SLOW),
            ("principals.py", "hashlib.sha256(token.strip()).digest()", "token.strip()"),
            ("principals.py", "hmac.compare_digest(", "slow_compare("),
        ),
    ),
    Without(
        "ids that cannot be guessed, and the owner",
        "guessed_id",
        "on Alice's stream",
        (
            ("secure_server.py", "secrets.token_urlsafe(32)", "str(len(sessions) + 1)"),
            (*OWNER, "if session is None:"),
        ),
    ),
    Without(
        "the owner of a session",
        "logged_id",
        "anyone who has the id can use it",
        ((*OWNER, "if session is None:"),),
    ),
    Without(
        "a new session for each stream",
        "stolen_stream",
        "on Mallory's stream",
        (
            (
                "secure_server.py",
                'session = Session(scope["principal"], self.transport.sessions)',
                'wanted = scope["query_string"].decode().rpartition("session_id=")[2]\n'
                "        session = self.transport.sessions.get(wanted) or Session(\n"
                '            scope["principal"], self.transport.sessions)',
            ),
        ),
    ),
    Without(
        "the session that comes with a request",
        "crossed_replies",
        "on Mallory's stream",
        (
            (
                "secure_server.py",
                REPLY,
                '        ASKED_BY[message.get("id")] = session\n'
                + REPLY
                + '            session = ASKED_BY[message["id"]]\n',
            ),
            ("secure_server.py", "SEND_SECONDS = ", "ASKED_BY = {}\nSEND_SECONDS = "),
        ),
    ),
    Without(
        "a filter for the access log",
        "secrets_in_logs",
        "her token, her session",
        (("secure_server.py", ".addFilter(hide_secrets)", ".addFilter(lambda record: True)"),),
    ),
    Without(
        "an error that does not quote the name",
        "secrets_in_logs",
        "in the log: her password",
        (
            (
                "notes.py",
                "except (OSError, ValueError, RuntimeError):",
                "except ZeroDivisionError:",
            ),
        ),
    ),
    *(
        Without(
            f"Host at {method}",
            "rebinding",
            evidence,
            (
                (
                    "door.py",
                    "if len(hosts) != 1 or",
                    f'if scope["method"] != "{method}" and',
                ),
            ),
        )
        for method, evidence in (
            ("GET", "GET gave it a stream, POST /message: 421"),
            ("POST", "POST called a tool, GET /sse: 421"),
        )
    ),
    Without(
        "Host and Origin",
        "rebinding_page",
        "read Welcome.",
        (("door.py", 'self.check(scope) if scope["type"] == "http" else None', "None"),),
    ),
    Without(
        # Host and Origin agree: both name the attacker's site.
        "names known beforehand",
        "rebinding_page",
        "read Welcome.",
        (
            (
                "door.py",
                "if len(hosts) != 1 or",
                "own |= {hosts[0].decode()}\n        if not hosts or",
            ),
        ),
    ),
    Without(
        "Origin at GET",
        "foreign_origin",
        "GET (not readable), preflight: 403, POST /message: 403",
        (("door.py", "if origins:", 'if origins and scope["method"] != "GET":'),),
    ),
    Without(
        "Origin at POST",
        "foreign_origin",
        "POST (not readable), GET /sse: 403, preflight: 403",
        (("door.py", "if origins:", 'if origins and scope["method"] != "POST":'),),
    ),
    Without(
        "the type application/json",
        "cross_site_post",
        "with a credential: on Alice's stream",
        (("door.py", "if kind.lower() != JSON_TYPE:", "if False:"),),
    ),
    Without(
        "one line for an id",
        "field_injection",
        "LF, CR, CRLF",
        (("events.py", 'if LINE_END.search(event_id) or "\\0"', 'if "\\0"'),),
    ),
    Without(
        "CR as a line end",
        "field_injection",
        "an endpoint of Mallory's by CR",
        (("events.py", 're.compile("\\r\\n|\\r|\\n")', 're.compile("\\n")'),),
    ),
    Without(
        "no NUL in an id",
        "field_injection",
        "NUL",
        (("events.py", ' or "\\0" in event_id', ""),),
    ),
    Without(
        "paths compared as paths",
        "path_escape",
        "by prefix",
        (
            (
                "notes.py",
                "path.is_relative_to(folder.resolve())",
                "str(path).startswith(str(folder.resolve()))",
            ),
        ),
    ),
    Without(
        "links followed before the comparison",
        "path_escape",
        "by symlink",
        (
            ("notes.py", RESOLVED, "path = Path(os.path.normpath(folder / name))"),
            ("notes.py", "import sys", "import os\nimport sys"),
        ),
    ),
    Without(
        "a folder that no name leads out of",
        "path_escape",
        "by .., inner .., prefix, symlink, absolute",
        (("notes.py", "path.is_relative_to(folder.resolve()) and ", ""),),
    ),
    Without("no shell", "second_command", ";  &&  ||  |  line end  $(…)", SHELL),
    Without("a path in place of a name", "second_command", "by option", NAME_AS_OPTION),
]


@pytest.mark.parametrize(
    "without", CURES, ids=lambda without: f"{without.attack}: {without.cure}"
)
async def test_it_succeeds_again_without_the_cure(without: Without, tmp_path: Path) -> None:
    with secure_server_with(without.edits, tmp_path, without.attack) as server:
        finding = await result_of(without.attack, server)
    assert finding.succeeded, finding
    assert without.evidence in finding.evidence
