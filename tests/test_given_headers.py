"""`workshop check --url … --header …`: a token reaches the server, and no report shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from typer.testing import CliRunner, Result

from tests.sdk_parts import program, serving
from workshop import cli
from workshop.checks.engine import check_url
from workshop.checks.lesson_05 import suite
from workshop.given_headers import hidden, read_headers, without_secrets
from workshop.raw_client import Server

TOKEN = "opensesame-4711"
GIVEN = {"Authorization": f"Bearer {TOKEN}"}
# As any server of the SDK that was not told which hosts and origins to allow.
UNGUARDED = ["host", "origin"]


class TokenGuard:
    """Lets nobody in without the token. It quotes what it refuses, as careless servers do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.refused: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self.headers.append(scope["headers"])
        given = headers.get(b"authorization", b"").decode()
        if given == GIVEN["Authorization"] and b"x-broken" not in headers:
            await self.app(scope, receive, send)
            return
        self.refused.append(scope["method"])
        answer = PlainTextResponse(f"Not with {given!r}", status_code=401)
        await answer(scope, receive, send)


@pytest.fixture
def guard() -> TokenGuard:
    return TokenGuard(program("calculator").server.sse_app(host="0.0.0.0"))


@pytest.fixture
def url(guard: TokenGuard) -> Iterator[str]:
    with serving(guard) as base:
        yield f"{base}/sse"


def check(url: str, *words: str) -> Result:
    return CliRunner().invoke(cli.app, ["check", "05", "--url", url, *words])


def test_with_the_token_the_protocols_checks_get_in(guard: TokenGuard, url: str) -> None:
    report = check_url(suite, url, GIVEN)
    assert report.ids("failed") == UNGUARDED, report.as_json()
    assert report.ids("waiting") == []
    assert guard.refused == []


def test_without_it_they_do_not(url: str) -> None:
    report = check_url(suite, url)
    assert report.ids("passed") == []


def test_the_command_sends_each_header_that_it_is_given(guard: TokenGuard, url: str) -> None:
    words = ("--header", f"authorization: Bearer {TOKEN}", "--header", "X-Trace: 7", "--list")
    assert "Authorization" not in (said := check(url, *words).output)
    assert not re.search(r"\b401\b", said)  # a port may have these digits
    assert guard.refused == []
    assert all((b"x-trace", b"7") in headers for headers in guard.headers)


@pytest.mark.parametrize("how", [["--all"], ["--json"], ["--list"]])
def test_no_report_shows_the_token(url: str, how: list[str]) -> None:
    token = ["--header", f"Authorization: Bearer {TOKEN}"]
    result = check(url, *token, "--header", "X-Broken: 1", *how)
    assert result.exit_code == 1
    assert TOKEN not in result.output
    if how != ["--list"]:
        assert "Authorization: Bearer …" in result.output
        assert "X-Broken: …" in result.output
    assert TOKEN not in check(url, *token, *how).output


def test_a_header_that_a_request_sets_itself_is_not_replaced(
    guard: TokenGuard, url: str
) -> None:
    server = Server(url, headers={**GIVEN, "content-type": "text/plain"})
    server.post_json("", {})
    assert [value for name, value in guard.headers[-1] if name == b"content-type"] == [
        b"application/json"
    ]


def test_a_token_goes_to_no_other_origin(guard: TokenGuard, url: str) -> None:
    # What an `endpoint` event names may be anybody's server.
    answer = Server("http://127.0.0.1:1/sse", headers=GIVEN).request("GET", url, seconds=10)
    assert answer.status == 401
    assert "Authorization" not in answer.request
    assert b"authorization" not in dict(guard.headers[-1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Authorization", "--header: header 1 has no colon."),
        (f"Bearer {TOKEN}", "--header: header 1 has no colon."),
        (f"A B: {TOKEN}", "--header: the name of header 1 is not one that HTTP allows."),
        (f": {TOKEN}", "--header: the name of header 1 is not one that HTTP allows."),
        (f"X: {TOKEN}\r\nHost: evil", "--header: the value of X must be one line of"),
        (f"X: {TOKEN}\n", "--header: the value of X must be one line of"),
        (f"X: {TOKEN}é", "--header: the value of X must be one line of"),
        ("X: ", "--header: the value of X must be one line of"),
    ],
)
def test_what_is_not_a_header_is_said_without_quoting_it(line: str, said: str) -> None:
    result = check("http://127.0.0.1:1/sse", "--header", line)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")
    assert TOKEN not in result.output


def test_a_header_without_a_url_is_refused() -> None:
    result = CliRunner().invoke(cli.app, ["check", "05", "--header", f"X: {TOKEN}"])
    assert result.exit_code == 2
    assert "use it with --url" in result.stderr


def test_only_the_scheme_of_a_login_is_shown() -> None:
    read = read_headers(["Authorization: Bearer a b", "Cookie: a=1; b=2", "X-Key:secret"])
    assert read == {"Authorization": "Bearer a b", "Cookie": "a=1; b=2", "X-Key": "secret"}
    assert [hidden(name, value) for name, value in read.items()] == ["Bearer …", "…", "…"]


def test_places_in_what_came_back_keep_their_index() -> None:
    came = f"x {TOKEN} y".encode()
    cleaned = without_secrets(came, GIVEN)
    assert cleaned == b"x " + b"*" * len(TOKEN) + b" y"
