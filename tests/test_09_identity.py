"""Lesson 09: API keys, signed tokens, and OAuth in front of a server of the MCP SDK's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.folder_modules import modules_in
from tests.oauth_by_hand import ByHand, Lab, laboratory, query_of
from workshop.checks.mcp_session import handshake, request
from workshop.course import ROOT
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/09_security"
IDENTITY = FOLDER / "identity"
ATTACKS = [
    "jwt_wrong_algorithm",
    "jwt_wrong_audience",
    "jwt_expired",
    "jwt_wrong_key",
    "jwt_lying_kid",
]
MODULES = modules_in(
    FOLDER,
    [
        "event_stream",
        "attacks",
        *(f"attacks.{name}" for name in ("finding", "target", "lab", "tokens")),
        *(f"attacks.{name}" for name in (*ATTACKS, "token_for_another")),
        "identity",
        *(f"identity.{name}" for name in ("jwt_tokens", "jwt_broken", "api_keys")),
    ],
)
tokens = MODULES["identity.jwt_tokens"]
broken = MODULES["identity.jwt_broken"]
another = MODULES["attacks.token_for_another"]
TEA = "https://tea.example"


# --- Signed tokens ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
async def test_each_attack_on_tokens_succeeds_against_one_verifier_only(name: str) -> None:
    attack = MODULES[f"attacks.{name}"]
    assert (attack.__doc__ or "").startswith("Steals: ")
    assert attack.AGAINST == "identity"
    taken = await attack.attack(attack.OPEN)
    refused = await attack.attack(attack.SECURE)
    assert taken.succeeded
    assert taken.evidence.endswith("Mallory is alice")
    assert not refused.succeeded
    assert len(taken.evidence) <= 70
    assert len(refused.evidence) <= 70


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("jwt_wrong_algorithm", "InvalidAlgorithmError"),
        ("jwt_wrong_audience", "InvalidAudienceError"),
        ("jwt_expired", "ExpiredSignatureError"),
        ("jwt_wrong_key", "InvalidSignatureError"),
        ("jwt_lying_kid", "no key of that id"),
    ],
)
async def test_each_is_refused_for_its_own_reason(name: str, why: str) -> None:
    attack = MODULES[f"attacks.{name}"]
    assert (await attack.attack(tokens)).evidence.startswith(why)


async def test_both_wrong_algorithms_are_taken() -> None:
    finding = await MODULES["attacks.jwt_wrong_algorithm"].attack(broken)
    assert finding.evidence == "alg none and HS256: Mallory is alice"


@pytest.fixture(scope="module")
def issuer() -> Any:
    return tokens.Issuer("https://login.example")


def trust(issuer: Any) -> Any:
    return tokens.Trust(issuer.url, TEA, tokens.keys_in(issuer.jwks()))


def test_a_good_token_proves_a_name_to_both(issuer: Any) -> None:
    token = issuer.token("alice", TEA, client_id="a client")
    for verifier in (tokens, broken):
        principal = verifier.verify(token, trust(issuer))
        assert principal.name == "alice"
        assert principal.claims["client_id"] == "a client"


def test_clocks_may_differ_by_a_few_seconds(issuer: Any) -> None:
    assert tokens.verify(issuer.token("alice", TEA, seconds=-2), trust(issuer))
    with pytest.raises(tokens.Refused, match="expired"):
        tokens.verify(issuer.token("alice", TEA, seconds=-20), trust(issuer))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://mallory.example"},
        {"exp": None},
        {"aud": None},
        {"sub": None},
        {"iat": None},
        {"exp": "tomorrow"},
        {"sub": 7},
        {"nbf": 9_999_999_999},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_or_missing_claim_is_refused(
    issuer: Any, changes: Mapping[str, Any]
) -> None:
    said = jwt.decode(issuer.token("alice", TEA), options={"verify_signature": False})
    said = {name: value for name, value in {**said, **changes}.items() if value is not None}
    token = jwt.encode(said, issuer._private_key, "ES256", {"kid": issuer.kid})
    with pytest.raises(tokens.Refused):
        tokens.verify(token, trust(issuer))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"kid": ""},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
        {"kid": "https://mallory.example/key"},
        {"kid": "another", "jku": "https://mallory.example/jwks.json"},
        {"kid": "another", "x5u": "https://mallory.example/cert"},
    ],
    ids=str,
)
def test_a_kid_that_lies_is_refused_though_the_signature_is_right(
    issuer: Any, header: Mapping[str, str]
) -> None:
    said = jwt.decode(issuer.token("alice", TEA), options={"verify_signature": False})
    token = jwt.encode(said, issuer._private_key, "ES256", dict(header))
    with pytest.raises(tokens.Refused, match="no key of that id"):
        tokens.verify(token, trust(issuer))


def test_a_kid_that_names_another_known_key_is_refused(issuer: Any) -> None:
    other = tokens.Issuer(issuer.url, kid="other")
    both = {**tokens.keys_in(issuer.jwks()), **tokens.keys_in(other.jwks())}
    said = jwt.decode(issuer.token("alice", TEA), options={"verify_signature": False})
    token = jwt.encode(said, issuer._private_key, "ES256", {"kid": "other"})
    with pytest.raises(tokens.Refused, match="Signature verification failed"):
        tokens.verify(token, tokens.Trust(issuer.url, TEA, both))


DEEP = base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".e30.AA"


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "x" * 10_000, "\n", "é.é.é", "{}", DEEP]
)
def test_rubbish_is_refused_in_one_line(issuer: Any, token: str) -> None:
    with pytest.raises(tokens.Refused) as refused:
        tokens.verify(token, trust(issuer))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("jwks", [{}, {"keys": []}, {"keys": [{"kty": "x"}]}, {"keys": 3}, []])
def test_what_is_not_a_set_of_keys_is_refused(jwks: Any) -> None:
    with pytest.raises(tokens.Refused):
        tokens.keys_in(jwks)


def test_pyjwt_refuses_what_looks_like_a_public_key_as_a_secret(issuer: Any) -> None:
    key = tokens.keys_in(issuer.jwks())[issuer.kid].key
    for encoding in (Encoding.PEM, Encoding.DER):
        secret = key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(jwt.InvalidKeyError, match="asymmetric key"):
            jwt.decode(signed_by_hand(secret), secret, algorithms=["HS256"])
    # The same key as one line of base64: it cannot tell.
    line = base64.b64encode(secret)
    assert jwt.decode(signed_by_hand(line), line, algorithms=["HS256"]) == {"sub": "alice"}


def test_pyjwt_takes_no_unsigned_token_unless_it_is_told_not_to_look(issuer: Any) -> None:
    token = jwt.encode({"sub": "alice"}, "", "none")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, "", algorithms=["none"])
    assert jwt.decode(token, options={"verify_signature": False}) == {"sub": "alice"}


def signed_by_hand(secret: bytes) -> str:
    """HS256, without PyJWT: it would refuse some secrets."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "alice"})
    ]
    signature = hmac.digest(secret, b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def test_the_demonstration_shows_four_refusals() -> None:
    shown = run("jwt_tokens.py")
    assert "Proven:         alice" in shown.stdout
    assert shown.stdout.count("Error: ") == 4


# --- API keys ---------------------------------------------------------------------------


def run(
    program: str, *arguments: str, env: Mapping[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(IDENTITY / program), *arguments],
        input=given,
        capture_output=True,
        text=True,
        env=environment(env),
        timeout=60,
    )


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    env = {"API_KEYS": str(file)}
    key, note = run("api_keys.py", "new", "alice", env=env).stdout.splitlines()
    assert key.startswith("tea_")
    assert len(key) == 47
    assert note == "It is not shown again."
    kept = file.read_text(encoding="utf-8")
    assert key not in kept
    assert hashlib.sha256(key.encode()).hexdigest() in kept
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert run("api_keys.py", "list", env=env).stdout.split() == ["alice", f"tea_…{key[-4:]}"]
    assert run("api_keys.py", "check", env=env, given=key).stdout == "This is alice's key.\n"
    assert run("api_keys.py", "revoke", "alice", env=env).returncode == 0
    refused = run("api_keys.py", "check", env=env, given=key)
    assert (refused.returncode, refused.stderr) == (1, "Nobody's key.\n")


def test_keys_are_told_apart(tmp_path: Path) -> None:
    keys = MODULES["identity.api_keys"].ApiKeys(tmp_path / "keys.json")
    alice, bob = keys.new("alice"), keys.new("bob")
    again = MODULES["identity.api_keys"].ApiKeys(tmp_path / "keys.json")
    assert (again.name_of(alice), again.name_of(bob)) == ("alice", "bob")
    for wrong in ("", alice[:-1], alice + "x", alice.lower(), alice[:20] + bob[20:], "é"):
        assert again.name_of(wrong) is None
    again.revoke("alice")
    assert (again.name_of(alice), again.name_of(bob)) == (None, "bob")


@pytest.mark.parametrize(
    ("arguments", "content", "says"),
    [
        (["new", "../alice"], None, "is not a name"),
        (["revoke", "bob"], None, "there is no key named 'bob'"),
        (["list"], "{", "is not a file of keys"),
        (["list"], "[3]", "is not a file of keys"),
        (["list"], "3", "is not a file of keys"),
        (["list"], '[{"name": "a", "sha256": "é", "end": ""}]', "is not a file of keys"),
        (["new"], None, "take a name"),
        (["list", "alice"], None, "take a name"),
    ],
)
def test_bad_input_for_api_keys_gets_one_line(
    tmp_path: Path, arguments: list[str], content: str | None, says: str
) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    refused = run("api_keys.py", *arguments, env={"API_KEYS": str(file)})
    assert refused.returncode != 0
    assert says in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


# --- OAuth ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(warm: None) -> Iterator[Lab]:
    with laboratory() as urls:
        yield urls


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=20) as client:
        yield client


@pytest.fixture
async def hand(http: httpx2.AsyncClient, lab: Lab) -> ByHand:
    client = ByHand(http, lab.issuer)
    assert (await client.register()).status_code == 201
    return client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def opened(http: httpx2.AsyncClient, url: str, token: str) -> AsyncIterator[str]:
    """An open stream. Yields the URL to post to."""
    async with http.stream("GET", f"{url}/sse", headers=bearer(token)) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield url + line.removeprefix("data: ")
                return


async def status_of(http: httpx2.AsyncClient, url: str, token: str) -> int:
    async with http.stream("GET", f"{url}/sse", headers=bearer(token)) as answer:
        return answer.status_code


HELLO = request(1, "initialize", handshake())


def test_the_client_gets_from_a_401_to_the_answer_of_a_tool(lab: Lab) -> None:
    client = run("oauth_client.py", f"{lab.diary}/sse", "--approve", "alice")
    assert client.stderr == ""
    lines = client.stdout.splitlines()
    steps = [
        (line.split()[0], *line.split()[1:2], urlsplit("//" + line.split()[2]).path)
        for line in lines
        if line[:3].isdigit()
    ]
    assert steps[:10] == [
        ("401", "GET", "/sse"),
        ("200", "GET", "/.well-known/oauth-protected-resource"),
        ("200", "GET", "/.well-known/oauth-authorization-server"),
        ("201", "POST", "/register"),
        ("302", "GET", "/authorize"),
        ("200", "GET", "/consent"),
        ("303", "POST", "/consent"),
        ("200", "GET", "/callback"),
        ("200", "POST", "/token"),
        ("200", "GET", "/sse"),
    ]
    assert set(steps[10:]) == {("202", "POST", "/messages/")}
    metadata = f"{lab.diary}/.well-known/oauth-protected-resource"
    assert f'  resource_metadata="{metadata}"' in lines
    assert lines[-1] == "The diary of alice: tea with Bob at five."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{diary}/sse", "--approve", "mallory"], "access_denied"),
        (["{diary}/nothing", "--approve", "alice"], "404"),
        (["http://127.0.0.1:9/sse", "--approve", "alice"], "connection attempts failed"),
        (["nonsense", "--approve", "alice"], "URL"),
    ],
)
def test_what_goes_wrong_for_the_client_is_one_line(
    lab: Lab, arguments: list[str], says: str
) -> None:
    filled = [argument.format(diary=lab.diary) for argument in arguments]
    refused = run("oauth_client.py", *filled)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert says in line


async def test_without_a_token_both_doors_say_where_to_get_one(
    lab: Lab, http: httpx2.AsyncClient
) -> None:
    for answer in [
        await http.get(f"{lab.diary}/sse"),
        await http.post(f"{lab.diary}/messages/?session_id={'0' * 32}", json=HELLO),
        await http.get(f"{lab.diary}/sse", headers=bearer("nonsense")),
        await http.get(f"{lab.diary}/sse", headers={"Authorization": "Basic YTpi"}),
    ]:
        assert answer.status_code == 401
        challenge = answer.headers["WWW-Authenticate"]
        metadata = f"{lab.diary}/.well-known/oauth-protected-resource"
        assert challenge.startswith("Bearer ")
        assert f'resource_metadata="{metadata}"' in challenge
    resource = (await http.get(metadata)).json()
    assert resource["resource"] == lab.diary
    assert resource["authorization_servers"] == [lab.issuer]
    found = (await http.get(f"{lab.issuer}/.well-known/oauth-authorization-server")).json()
    assert found["issuer"] == lab.issuer
    assert found["code_challenge_methods_supported"] == ["S256"]


async def test_a_wrong_pkce_verifier_gets_nothing_and_uses_the_code_up(
    lab: Lab, hand: ByHand
) -> None:
    code = await hand.code(lab.diary, "alice")
    wrong = await hand.exchange(code, code_verifier="guessed" * 8)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    right = await hand.exchange(code)
    assert (right.status_code, right.json()["error"]) == (400, "invalid_grant")


async def test_a_code_works_once(lab: Lab, hand: ByHand) -> None:
    code = await hand.code(lab.diary, "alice")
    assert (await hand.exchange(code)).status_code == 200
    again = await hand.exchange(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


async def test_a_code_works_for_its_own_client_only(
    lab: Lab, hand: ByHand, http: httpx2.AsyncClient
) -> None:
    other = ByHand(http, lab.issuer, verifier=hand.verifier)
    await other.register()
    refused = await other.exchange(await hand.code(lab.diary, "alice"))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_a_code_is_for_the_redirect_uri_it_went_to(lab: Lab, hand: ByHand) -> None:
    code = await hand.code(lab.diary, "alice")
    refused = await hand.exchange(code, redirect_uri="http://127.0.0.1:9/other")
    assert refused.status_code == 400


async def test_codes_go_only_where_the_client_said_when_it_registered(
    lab: Lab, hand: ByHand
) -> None:
    refused = await hand.authorize(lab.diary, redirect_uri="https://mallory.example/")
    assert refused.status_code == 400  # and not a redirect
    assert "not registered" in refused.json()["error_description"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://mallory.example/",
        "javascript:alert(1)",
        "http://127.0.0.1.mallory.example/",
        "https://bank.example@mallory.example/",
        "https://:bank.example@mallory.example/",
    ],
)
async def test_a_client_must_not_register_a_place_in_the_open(
    lab: Lab, http: httpx2.AsyncClient, uri: str
) -> None:
    refused = await ByHand(http, lab.issuer, redirect_uri=uri).register()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri")


async def test_without_pkce_there_is_no_code(lab: Lab, hand: ByHand) -> None:
    plain = await hand.authorize(lab.diary, code_challenge_method="plain")
    assert query_of(plain)["error"] == "invalid_request"


@pytest.mark.parametrize("resource", ["", "https://mallory.example", "{diary}/"])
async def test_tokens_are_issued_for_known_servers_only(
    lab: Lab, hand: ByHand, resource: str
) -> None:
    refused = await hand.authorize(resource.format(diary=lab.diary))
    assert query_of(refused)["error"] == "invalid_target"


async def test_the_user_can_say_no(lab: Lab, hand: ByHand) -> None:
    question = (await hand.authorize(lab.diary, state="s")).headers["location"]
    refused = query_of(await hand.answer(question, "alice", "no"))
    assert refused == {"error": "access_denied", "state": "s", "iss": lab.issuer}


async def test_another_sites_form_does_not_answer_for_the_user(lab: Lab, hand: ByHand) -> None:
    question = (await hand.authorize(lab.diary)).headers["location"]
    forged = await hand.answer(question, "alice", origin="https://mallory.example")
    assert forged.status_code == 403
    assert (await hand.answer(question, "alice")).status_code == 303
    assert (await hand.answer(question, "alice")).status_code == 404


async def test_the_page_shows_a_name_as_text_and_is_shown_in_no_frame(
    lab: Lab, http: httpx2.AsyncClient
) -> None:
    registered = await http.post(
        f"{lab.issuer}/register",
        json={
            "client_name": "<script>alert(1)</script>",
            "redirect_uris": ["http://127.0.0.1:9/callback"],
            "token_endpoint_auth_method": "none",
        },
    )
    client = ByHand(http, lab.issuer, client_id=registered.json()["client_id"])
    page = await http.get((await client.authorize(lab.diary)).headers["location"])
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert lab.diary in page.text
    assert "http://127.0.0.1:9<" in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


async def test_a_token_says_who_for_whom_and_how_long(lab: Lab, hand: ByHand) -> None:
    said = jwt.decode(await hand.token(lab.diary, "bob"), options={"verify_signature": False})
    assert said["sub"] == "bob"
    assert said["aud"] == lab.diary
    assert said["iss"] == lab.issuer
    assert said["client_id"] == hand.client_id
    assert said["exp"] - said["iat"] == 300


async def test_a_token_for_another_server_is_refused_by_one_of_them(
    lab: Lab, hand: ByHand, http: httpx2.AsyncClient
) -> None:
    for_diary = await hand.token(lab.diary, "alice")
    for_broken = await hand.token(lab.broken, "alice")
    assert await status_of(http, lab.diary, for_diary) == 200
    assert await status_of(http, lab.diary, for_broken) == 401
    assert await status_of(http, lab.broken, for_diary) == 200


async def test_the_attack_with_a_token_for_another_server() -> None:
    taken = await another.attack(another.OPEN)
    assert taken.succeeded
    assert taken.evidence == "the shop read: The diary of alice: tea with Bob at five."
    refused = await another.attack(another.SECURE)
    assert not refused.succeeded
    assert refused.evidence == "with the shop's token, GET /sse: 401"


def test_the_broken_server_is_warned() -> None:
    with running(IDENTITY / "resource_broken.py") as program:
        assert "`AuthSettings.validate_token_resource` is not set" in program.output


# --- Sessions, and tokens that only a key can make --------------------------------------


@dataclass
class Signed:
    """A server that believes an issuer whose key the test has."""

    url: str
    issuer: Any
    program: Program

    def token(self, name: str = "alice", **claims: Any) -> str:
        said = {"client_id": "a", "scope": "diary", **claims}
        return self.issuer.token(name, said.pop("aud", self.url), **said)


@pytest.fixture(scope="module")
def signed(warm: None) -> Iterator[Signed]:
    with (
        another.publishing() as issuer,
        running(IDENTITY / "oauth_server.py", env={"OAUTH_ISSUER": issuer.url}) as program,
    ):
        yield Signed(program.url, issuer, program)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"seconds": -60}, 401),
        ({"seconds": -2}, 401),  # the verifier has a leeway, the SDK has none
        ({"aud": "https://shop.example"}, 401),
        ({"iss": "https://mallory.example"}, 401),
        ({"scope": "shopping"}, 403),
        ({"scope": ""}, 403),
    ],
    ids=str,
)
async def test_what_the_server_says_to_a_token(
    signed: Signed, http: httpx2.AsyncClient, changes: dict[str, Any], status: int
) -> None:
    assert await status_of(http, signed.url, signed.token(**changes)) == status


async def test_the_url_in_a_token_may_end_in_a_slash_but_not_be_in_a_list(
    signed: Signed, http: httpx2.AsyncClient
) -> None:
    assert await status_of(http, signed.url, signed.token(aud=signed.url + "/")) == 200
    assert await status_of(http, signed.url, signed.token(aud=signed.url + "/sse")) == 401
    assert await status_of(http, signed.url, signed.token(aud=[signed.url])) == 401


async def test_a_session_belongs_to_client_and_user_not_to_a_token(
    signed: Signed, http: httpx2.AsyncClient
) -> None:
    async with opened(http, signed.url, signed.token()) as endpoint:

        async def posted(**claims: Any) -> int:
            headers = bearer(signed.token(**claims))
            return (await http.post(endpoint, json=HELLO, headers=headers)).status_code

        assert await posted(name="bob") == 404
        assert await posted(client_id="b") == 404
        assert await posted(seconds=-60) == 401
        assert (await http.post(endpoint, json=HELLO)).status_code == 401
        assert await posted(seconds=200) == 202  # a new token of the same user and client


async def test_a_stream_outlives_its_token_but_takes_no_more_messages(
    signed: Signed, http: httpx2.AsyncClient
) -> None:
    token = signed.token(seconds=2)
    async with opened(http, signed.url, token) as endpoint, asyncio.timeout(20):
        while (await http.post(endpoint, json=HELLO, headers=bearer(token))).status_code == 202:
            pass
        # The session is still there.
        renewed = await http.post(endpoint, json=HELLO, headers=bearer(signed.token()))
        assert renewed.status_code == 202


async def test_tokens_with_made_up_keys_do_not_become_requests_for_keys(
    signed: Signed, http: httpx2.AsyncClient
) -> None:
    def fetched() -> int:
        return signed.program.output.count("/jwks.json")

    before, began = fetched(), time.monotonic()
    for number in range(20):
        stranger = tokens.Issuer(signed.issuer.url, kid=f"made-up-{number}")
        token = stranger.token("alice", signed.url)
        assert await status_of(http, signed.url, token) == 401
    assert fetched() - before <= 1 + (time.monotonic() - began)


async def test_a_new_key_of_the_issuer_is_found(warm: None, http: httpx2.AsyncClient) -> None:
    with (
        another.publishing() as issuer,
        running(IDENTITY / "oauth_server.py", env={"OAUTH_ISSUER": issuer.url}) as program,
    ):
        claims = {"client_id": "a", "scope": "diary"}
        old = issuer.token("alice", program.url, **claims)
        assert await status_of(http, program.url, old) == 200
        renewed = tokens.Issuer(issuer.url, kid="new")
        issuer.kid, issuer._private_key = renewed.kid, renewed._private_key
        token = issuer.token("alice", program.url, **claims)
        async with asyncio.timeout(20):
            while await status_of(http, program.url, token) != 200:
                pass  # it asks for keys once a second at most
        assert await status_of(http, program.url, old) == 401


# --- Starting and leaving ---------------------------------------------------------------


async def test_the_server_leaves_with_a_stream_open(http: httpx2.AsyncClient) -> None:
    with (
        another.publishing() as issuer,
        running(IDENTITY / "oauth_server.py", env={"OAUTH_ISSUER": issuer.url}) as program,
    ):
        token = issuer.token("alice", program.url, client_id="a", scope="diary")
        async with opened(http, program.url, token):
            took = await asyncio.to_thread(program.stop, signal.SIGINT)
        assert program.process.returncode == 0
        assert "Traceback" not in program.output
        assert took < 5  # tests/test_all_servers.py promises two seconds


@pytest.mark.parametrize(
    ("program", "env", "says"),
    [
        ("authorization_server.py", {"TOKEN_SECONDS": "soon"}, "TOKEN_SECONDS is a number"),
        ("authorization_server.py", {"TOKEN_SECONDS": "0"}, "TOKEN_SECONDS is a number"),
        ("oauth_server.py", {"OAUTH_ISSUER": "nonsense"}, "OAUTH_ISSUER is an https URL"),
        ("oauth_server.py", {"OAUTH_ISSUER": "http://x.example"}, "OAUTH_ISSUER is an https"),
        ("resource_broken.py", {"OAUTH_ISSUER": "https://"}, "OAUTH_ISSUER is an https URL"),
    ],
)
def test_settings_that_make_no_sense_get_one_line(
    program: str, env: Mapping[str, str], says: str
) -> None:
    refused = run(program, "--port", str(free_port()), env=env)
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert says in line


def test_a_port_in_use_is_named(lab: Lab) -> None:
    port = urlsplit(lab.issuer).port
    for program in ("authorization_server.py", "oauth_server.py", "resource_broken.py"):
        refused = run(program, "--port", str(port))
        assert refused.returncode == 1
        assert f"Port {port} is in use. Choose another: --port" in refused.stderr
