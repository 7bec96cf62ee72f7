"""Who sends a request: the principal, known by a bearer token or by a ticket."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

TICKET_SECONDS = 30.0
MAX_TICKETS = 10  # of one principal that nobody has used yet


class Principals:
    """The tokens, and the principal that each one belongs to."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        # compare_digest takes as long for a wrong token as for a right one only if both have
        # the same length, as digests always do. And nobody can read the tokens in them.
        self.digests = {name: digest(token) for name, token in tokens.items()}

    def of(self, authorization: bytes) -> str | None:
        """The principal that this Authorization header proves, or None."""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        given = hashlib.sha256(token.strip()).digest()
        found = None
        for name, digest_of_token in self.digests.items():
            # No early return: the time must not show how far down the list a token is, either.
            if hmac.compare_digest(digest_of_token, given):
                found = name
        return found


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Tickets:
    """For a page: its EventSource cannot send a header, and a token must not be in a URL.

    A ticket is put in the URL instead. It opens one stream, once, and soon: anyone who reads it
    in a log is too late.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[str, float]] = {}  # principal and end, oldest first

    def new(self, principal: str) -> str:
        now = time.monotonic()
        self.waiting = {
            ticket: (owner, end) for ticket, (owner, end) in self.waiting.items() if end > now
        }
        own = [ticket for ticket, (owner, _) in self.waiting.items() if owner == principal]
        if len(own) >= MAX_TICKETS:
            # The principal's own oldest one: nobody can push out somebody else's ticket.
            del self.waiting[own[0]]
        ticket = secrets.token_urlsafe(32)
        self.waiting[ticket] = (principal, now + TICKET_SECONDS)
        return ticket

    def use(self, ticket: str) -> str | None:
        """The principal whose ticket this is, or None. The ticket is now used up."""
        principal, end = self.waiting.pop(ticket, (None, 0.0))
        return principal if end > time.monotonic() else None


class Authenticate:
    """Let in only requests of a known principal, and note whose each is: scope["principal"]."""

    def __init__(self, app: ASGIApp, principals: Principals, tickets: Tickets) -> None:
        self.app = app
        self.principals = principals
        self.tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_public(scope):
            principal = self.principal_of(scope)
            if principal is None:
                await unauthorized(scope)(scope, receive, send)
                return
            scope["principal"] = principal
        await self.app(scope, receive, send)

    def principal_of(self, scope: Scope) -> str | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if given:
            return self.principals.of(given[0]) if len(given) == 1 else None
        if scope["method"] != "GET" or path_of(scope) != "/sse":
            return None
        try:
            query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=10)
        except ValueError:  # too many: nobody has proved yet that they may make us work
            return None
        tickets = query.get("ticket", [])
        return self.tickets.use(tickets[0]) if len(tickets) == 1 else None


def is_public(scope: Scope) -> bool:
    """Whether anybody may ask for this. The page is not secret, and needs a token to act."""
    path = path_of(scope)
    return path == "/health" or (
        scope["method"] == "GET" and (path == "/" or path.startswith("/page/"))
    )


def path_of(scope: Scope) -> str:
    """The path without the prefix that a proxy has taken off, and uvicorn has put back."""
    return scope["path"].removeprefix(scope.get("root_path", ""))


def unauthorized(scope: Scope) -> Response:
    """401. RFC 6750, section 3: it says which credentials are needed, and what was wrong."""
    challenge = 'Bearer realm="mcp"'
    if any(name == b"authorization" for name, _ in scope["headers"]):
        challenge += ', error="invalid_token"'
    return PlainTextResponse(
        "Send Authorization: Bearer and your token\n", 401, {"WWW-Authenticate": challenge}
    )
