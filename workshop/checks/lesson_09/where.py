"""Where does it come from? Host, Origin and Content-Type."""

from __future__ import annotations

from workshop.checks.answers import wrong_status, wrong_stream
from workshop.checks.lesson_09.opening import Lab, User, suite
from workshop.checks.mcp_session import JSON_HEADERS, Session, as_json, request
from workshop.raw_client import Answer


def refused_on_get(user: User, headers: dict[str, str], status: int, hint: str) -> None:
    """Expect this status for a stream with these headers."""
    with user.open("", headers) as stream:
        if stream.status != status:
            raise wrong_stream(hint, stream, f"HTTP status {status}")


def refused_on_post(
    user: User, session: Session, headers: dict[str, str], status: int, hint: str
) -> None:
    """Expect this status for a message with these headers."""
    body = as_json(request(1, "ping")).encode()
    answer: Answer = user.request("POST", session.endpoint, body, headers)
    if answer.status != status:
        crashed = answer.status >= 500
        raise wrong_status("crashed" if crashed else hint, answer, f"HTTP status {status}")


@suite.check(
    "rebinding",
    "A request under a foreign Host is refused with 421",
    todo=5,
    after=("allowed",),
    read="Where does it come from?",
    rule="MCP security best practices: DNS rebinding. CVE-2025-66416 was the SDK without it",
    why="A page whose name is made to point to 127.0.0.1 has the same origin as this server.",
    hints={
        "get-let-in": "GET was not refused, or not with 421, under a name that is not this "
        "server's.",
        "post-let-in": "GET is guarded, but POST is not.",
        "part-of-a-name": "This Host only begins or ends like the server's own. Compare all of "
        "it, the port too.",
    },
)
def rebinding(lab: Lab) -> None:
    alice, _ = lab.users("rebinding")
    port = lab.program.port
    foreign = {"Host": f"rebound.example:{port}"}
    refused_on_get(alice, foreign, 421, "get-let-in")
    with Session.open(alice, initialize=False) as session:
        refused_on_post(alice, session, JSON_HEADERS | foreign, 421, "post-let-in")
    for host in (f"127.0.0.1.evil.example:{port}", f"evil.localhost:{port}", "127.0.0.1:1"):
        refused_on_get(alice, {"Host": host}, 421, "part-of-a-name")


@suite.check(
    "foreign-page",
    "A request from a foreign page's Origin is refused with 403",
    todo=5,
    after=("allowed",),
    read="Where does it come from?",
    rule="HTTP+SSE 2024-11-05: MUST validate Origin on all connections; 403: MCP 2025-11-25",
    why="Any page that a user opens could talk to this server through the browser.",
    hints={
        "get-let-in": "GET was not refused, or not with 403, for a page from elsewhere.",
        "post-let-in": "GET is guarded, but POST is not.",
        "part-of-an-origin": "This Origin only begins like the server's own. Compare all of "
        "it.",
    },
)
def foreign_page(lab: Lab) -> None:
    alice, _ = lab.users("foreign-page")
    port = lab.program.port
    foreign = {"Origin": "https://evil.example"}
    refused_on_get(alice, foreign, 403, "get-let-in")
    with Session.open(alice, initialize=False) as session:
        refused_on_post(alice, session, JSON_HEADERS | foreign, 403, "post-let-in")
    for host in (f"127.0.0.1:{port}.evil.example", f"127.0.0.1:{port}1", "localhost"):
        refused_on_get(alice, {"Origin": f"http://{host}"}, 403, "part-of-an-origin")


@suite.check(
    "cross-site-post",
    "A POST that is not application/json is refused with 415",
    todo=6,
    after=("allowed",),
    read="Where does it come from?",
    rule="Fetch standard: text/plain is CORS-safelisted, application/json is not; 415: this "
    "course",
    why="What a page may send without asking, it can send to every server that it reaches.",
    hints={
        "not-415": "A message with another Content-Type, or with none, was not refused, or not "
        "with 415.",
        "part-of-a-type": "This type only begins like application/json, or has it in a "
        "parameter. Compare all of it, up to the semicolon.",
        "parameter": "This type is JSON too, with a parameter. Compare what comes before the "
        "semicolon.",
        "crashed": "This POST has no Content-Type, and the server crashed. `headers[…]` "
        "raises KeyError for a name that is not there; `.get` does not.",
    },
)
def cross_site_post(lab: Lab) -> None:
    alice, _ = lab.users("cross-site-post")
    with Session.open(alice, initialize=False) as session:
        plain = {"Content-Type": "text/plain"}
        refused_on_post(alice, session, plain, 415, "not-415")
        refused_on_post(alice, session, {}, 415, "not-415")
        for kind in ("application/json-seq", "text/plain; x=application/json"):
            refused_on_post(alice, session, {"Content-Type": kind}, 415, "part-of-a-type")
        kind = {"Content-Type": "application/json; charset=utf-8"}
        refused_on_post(alice, session, kind, 202, "parameter")
