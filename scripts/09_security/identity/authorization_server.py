"""An authorization server: it asks its user, and signs tokens for the programs let in.

    uv run scripts/09_security/identity/authorization_server.py

OAuth 2.1 with the MCP SDK's own routes: metadata, registration of programs, authorization
codes with PKCE. Left out is the sign-in: whoever opens its page may say that they are Alice.
So it listens on this machine only. In the environment:

    OAUTH_RESOURCES   the servers that it issues tokens for, with commas between them
    OAUTH_USERS       who may say yes: alice,bob
    TOKEN_SECONDS     how long a token is valid: 300
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import uvicorn
from consent import HEADERS, question, refusal
from jwt_tokens import Issuer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    RegistrationError,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from serving import begin, url_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

SCOPE = "diary"
ASKING_SECONDS = 300.0  # for the user to answer
CODE_SECONDS = 60.0
MAX_WAITING = 1_000  # requests, codes or clients: anybody can send more
OVER = "This question was answered, or nobody answered it in time. Start the program again."
THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")

T = TypeVar("T")


class Once(Generic[T]):
    """Values that are kept for a while under ids that nobody can guess, and taken once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.kept: dict[str, tuple[T, float]] = {}

    def put(self, key: str, value: T) -> None:
        while len(self.kept) >= MAX_WAITING:
            del self.kept[next(iter(self.kept))]  # the oldest
        self.kept[key] = (value, time.monotonic() + self.seconds)

    def get(self, key: str) -> T | None:
        value, end = self.kept.get(key, (None, 0.0))
        return value if end > time.monotonic() else None

    def take(self, key: str) -> T | None:
        value = self.get(key)
        self.kept.pop(key, None)
        return value


@dataclass(frozen=True)
class Settings:
    resources: tuple[str, ...] = ("http://127.0.0.1:8069", "http://127.0.0.1:8089")
    users: tuple[str, ...] = ("alice", "bob")
    token_seconds: int = 300

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Exits if one of the variables makes no sense."""
        seconds = environment.get("TOKEN_SECONDS") or str(cls.token_seconds)
        if not (seconds.isascii() and seconds.isdigit() and 0 < int(seconds) < 10**6):
            sys.exit(f"TOKEN_SECONDS is a number of seconds such as 300, not {seconds!r}")
        return cls(
            resources=listed(environment, "OAUTH_RESOURCES") or cls.resources,
            users=listed(environment, "OAUTH_USERS") or cls.users,
            token_seconds=int(seconds),
        )


def listed(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    entries = environment.get(variable, "").split(",")
    return tuple(entry.strip() for entry in entries if entry.strip())


Asked = tuple[OAuthClientInformationFull, AuthorizationParams]


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """What the SDK's routes ask: who is registered, who agreed, and what a code is worth."""

    def __init__(self, issuer: Issuer, settings: Settings) -> None:
        self.issuer = issuer
        self.settings = settings
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.asked: Once[Asked] = Once(ASKING_SECONDS)
        self.codes: Once[AuthorizationCode] = Once(CODE_SECONDS)

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        for uri in client_info.redirect_uris or []:
            # Codes go there. Without TLS only to this machine, and never to `javascript:`.
            if uri.scheme != "https" and (uri.scheme, uri.host) not in [
                ("http", name) for name in THIS_MACHINE
            ]:
                raise RegistrationError(
                    "invalid_redirect_uri", "Use https, or http on this machine"
                )
        if len(self.clients) >= MAX_WAITING:
            raise RegistrationError("invalid_client_metadata", "There are too many programs")
        self.clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        """Where the browser goes first: to the page that asks the user."""
        if params.resource not in self.settings.resources:
            raise AuthorizeError("invalid_target", "resource must name a server known here")
        request = secrets.token_urlsafe(32)
        self.asked.put(request, (client, params))
        return f"{self.issuer.url}/consent?request={request}"

    def agreed(self, asked: Asked, user: str) -> str:
        """Where the browser goes once the user has said yes: back, with a code."""
        client, params = asked
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [SCOPE],
            expires_at=time.time() + CODE_SECONDS,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject=user,
        )
        self.codes.put(code.code, code)
        return self.back(params, code=code.code)

    def back(self, params: AuthorizationParams, **result: str) -> str:
        # `iss` says which authorization server answers: a client of several must not take
        # the code of one to another (RFC 9207).
        return construct_redirect_uri(
            str(params.redirect_uri), **result, state=params.state, iss=self.issuer.url
        )

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        # Taken, not looked up: a code is used up even if its PKCE verifier turns out wrong.
        return self.codes.take(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        """The token, for the one server that the user was asked about."""
        assert authorization_code.subject and authorization_code.resource
        scope = " ".join(authorization_code.scopes)
        token = self.issuer.token(
            authorization_code.subject,
            authorization_code.resource,
            seconds=self.settings.token_seconds,
            client_id=client.client_id,
            scope=scope,
        )
        return OAuthToken(
            access_token=token, expires_in=self.settings.token_seconds, scope=scope
        )

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return None  # none are given out: when a token is too old, the user is asked again

    async def exchange_refresh_token(
        self,
        client: OAuthClientInformationFull,
        refresh_token: RefreshToken,
        scopes: list[str],
    ) -> OAuthToken:
        raise TokenError("unsupported_grant_type")


def create_app(url: str, settings: Settings) -> Starlette:
    """The server that is reached at `url`, which is its name in tokens, too."""
    issuer = Issuer(url, kid=secrets.token_hex(4))
    provider = Provider(issuer, settings)

    async def keys(request: Request) -> JSONResponse:
        return JSONResponse(issuer.jwks())

    async def ask(request: Request) -> Response:
        asked = provider.asked.get(request.query_params.get("request", ""))
        if asked is None:
            return refusal(404, OVER)
        client, params = asked
        return question(
            client.client_name or "nothing",
            params.resource or "",
            " ".join(params.scopes or [SCOPE]),
            str(params.redirect_uri),
            settings.users,
        )

    async def answered(request: Request) -> Response:
        # Another site's page can make a browser send this form. It cannot choose its Origin.
        if request.headers.get("origin") != url:
            return refusal(403, "This form was not sent from this page.")
        form = await request.form()
        asked = provider.asked.take(request.query_params.get("request", ""))
        if asked is None:
            return refusal(404, OVER)
        user = str(form.get("user"))
        if form.get("answer") == "yes" and user in settings.users:
            to = provider.agreed(asked, user)
        else:
            to = provider.back(asked[1], error="access_denied")
        return RedirectResponse(to, 303, HEADERS)

    return Starlette(
        routes=[
            *create_auth_routes(
                provider,
                exactly(url),
                client_registration_options=ClientRegistrationOptions(
                    enabled=True, valid_scopes=[SCOPE], default_scopes=[SCOPE]
                ),
            ),
            Route("/jwks.json", keys),
            Route("/consent", ask, methods=["GET"]),
            Route("/consent", answered, methods=["POST"]),
        ]
    )


def exactly(url: str) -> AnyHttpUrl:
    """The URL as it is. `AnyHttpUrl(url)` would add a slash, and then it is another issuer."""
    config = ConfigDict(url_preserve_empty_path=True)
    return TypeAdapter(AnyHttpUrl, config=config).validate_python(url)


def main() -> None:
    settings = Settings.from_environment()
    host, port = begin(
        "uv run scripts/09_security/identity/oauth_server.py",
        port=8079,
        path="/.well-known/oauth-authorization-server",
        what="sign-in",
    )
    app = create_app(url_of(host, port), settings)
    # Without an access log: the ids of open questions are in the URLs.
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=1, access_log=False)


if __name__ == "__main__":
    main()
