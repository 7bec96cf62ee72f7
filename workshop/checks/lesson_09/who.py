"""Who is it? A token on every request, compared in constant time."""

from __future__ import annotations

import ast

from workshop.checks.answers import wrong_status
from workshop.checks.lesson_09.opening import Lab, suite
from workshop.checks.mcp_session import JSON_HEADERS, Session, as_json, request
from workshop.failed import Failed

UNAUTHORIZED = "HTTP status 401, with a header WWW-Authenticate: Bearer"


@suite.check(
    "who",
    "Without one of the tokens nobody gets in: 401, on GET and on POST",
    todo=1,
    after=("allowed",),
    read="Who is it?",
    rule="RFC 6750, section 3; MCP 2024-11-05: servers SHOULD authenticate all connections",
    why="Anyone who reaches the port could call your tools: each program on this machine, and "
    "each page in its browser.",
    hints={
        "get-let-in": "A stream was opened without a valid token.",
        "post-let-in": "GET is guarded, but a message without a valid token was accepted.",
        "part-of-a-token": "This is only a part of a token, or a token and more. Compare all "
        "of it.",
        "no-challenge": "The answer to a request without a token lacks the header "
        "WWW-Authenticate: Bearer. RFC 6750 requires it: it says what to send.",
        "crashed": "A token may have any bytes, and compare_digest raises TypeError for a "
        "string that is not ASCII. Give it bytes: `.encode()` both.",
        "other-name": "The token is valid, but `principal_of` returned another name than the "
        "one it belongs to.",
        "health": "GET /health asked for a token. A program that monitors a server has none: "
        "only `principal_of` should ask for it.",
    },
)
def who(lab: Lab) -> None:
    alice, mallory = lab.users("who")
    nobody = lab.nobody()
    body = as_json(request(1, "ping")).encode()
    with Session.open(alice, initialize=False) as session:
        wrong = {
            None: "let-in",
            "": "let-in",
            "Bearer wrong": "let-in",
            "Bearer ": "part-of-a-token",
            f"Bearer {alice.token[:-1]}": "part-of-a-token",
            f"Bearer {alice.token}x": "part-of-a-token",
            f"Bearer {alice.token[:-1]}é": "let-in",
        }
        for given, hint in wrong.items():
            headers = {} if given is None else {"Authorization": given}
            for method, path in (("GET", ""), ("POST", session.endpoint)):
                if method == "GET":
                    with nobody.open(path, headers) as stream:
                        status, shown = stream.status, stream.request
                        challenge = stream.headers.get("WWW-Authenticate", "")
                else:
                    answer = nobody.request("POST", path, body, headers | JSON_HEADERS)
                    status, shown = answer.status, answer.request
                    challenge = answer.headers.get("WWW-Authenticate", "")
                received = f"HTTP status {status}\nWWW-Authenticate: {challenge or '(none)'}"
                at = len("HTTP status ")
                if status >= 500:
                    hint = "crashed"
                elif status != 401:
                    hint = f"{method.lower()}-let-in" if hint == "let-in" else hint
                elif not challenge.lower().startswith("bearer"):
                    hint, at = "no-challenge", received.index("\n") + 1
                else:
                    continue
                raise Failed(hint, sent=shown, received=received, at=at, wanted=UNAUTHORIZED)
    for user in (alice, mallory):
        with user.open("") as stream:
            greeting = stream.event(lambda event: event.type == "connected")
            if greeting is None or f"You are {user.name}." not in greeting.data:
                place = stream.raw.find(b"You are ")
                raise Failed(
                    "other-name",
                    sent=stream.request,
                    received=stream.raw,
                    at=place + len("You are ") if place >= 0 else 0,
                    wanted=f"You are {user.name}.",
                )
    answer = nobody.request("GET", "/health")
    if answer.status != 200:
        raise wrong_status("health", answer, "HTTP status 200")


@suite.check(
    "constant-time",
    "Tokens are compared in constant time",
    todo=1,
    after=("who",),
    read="Who is it?",
    rule="Python, secrets.compare_digest: it is there to reduce the risk of timing attacks",
    why="`==` stops at the first byte that differs. An attacker who could measure that would "
    "find the token byte by byte.",
    hints={
        "equals": "Nothing in the file calls compare_digest, so the time that a comparison "
        "takes says how much of a token is right. This check only reads the file.",
    },
)
def constant_time(lab: Lab) -> None:
    tree = ast.parse(lab.program.path.read_text(encoding="utf-8-sig"))
    calls = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    if any(call.rpartition(".")[2] == "compare_digest" for call in calls):
        return
    raise Failed(
        "equals",
        received="No call of compare_digest",
        label="Read",
        wanted="secrets.compare_digest(given.encode(), token.encode())",
    )
