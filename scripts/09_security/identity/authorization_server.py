"""An authorization server: it asks its user, and signs tokens for the programs allowed.

    uv run scripts/09_security/identity/authorization_server.py

OAuth 2.1 with the MCP SDK's own routes: metadata, registration of programs, authorization codes
with PKCE. The sign-in is left out: anyone who opens its page may say that they are Alice. So it
listens on this machine only. In the environment:

    OAUTH_RESOURCES   the servers that it issues tokens for, with commas between them
    OAUTH_USERS       who may say yes: alice,bob
    TOKEN_SECONDS     how long a token is valid: 300
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import uvicorn
from consent import HEADERS, question, refusal
from jwt_tokens import Issuer
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
from provider import SCOPE, Provider
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from serving import begin, url_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

OVER = "This question was answered, or nobody answered it in time. Start the program again."


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


def create_app(url: str, settings: Settings) -> Starlette:
    """The server that is reached at `url`, which is its name in tokens, too."""
    issuer = Issuer(url, kid=secrets.token_hex(4))
    provider = Provider(issuer, settings.resources, settings.token_seconds)

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
    """The URL as it is. `AnyHttpUrl(url)` would add a slash, which makes it another issuer."""
    config = ConfigDict(url_preserve_empty_path=True)
    return TypeAdapter(AnyHttpUrl, config=config).validate_python(url)


def main() -> None:
    settings = Settings.from_environment()
    host, port = begin(
        "uv run scripts/09_security/identity/oauth_server.py",
        port=8079,
        path="",
        what="sign-in",
    )
    app = create_app(url_of(host, port), settings)
    # Without an access log: the ids of open questions are in the URLs.
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=1, access_log=False)


if __name__ == "__main__":
    main()
