"""What the SDK's OAuth routes ask: who is registered, who agreed, and what a code is worth."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from typing import Generic, TypeVar

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
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

SCOPE = "diary"
ASKING_SECONDS = 300.0  # for the user to answer
CODE_SECONDS = 60.0
MAX_WAITING = 1_000  # requests, codes or clients: anybody can send more
THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")

T = TypeVar("T")


class Once(Generic[T]):
    """Values that are kept for a while under ids that nobody can guess, and used once."""

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


Asked = tuple[OAuthClientInformationFull, AuthorizationParams]


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """The memory of an authorization server. It issues tokens for these resources."""

    def __init__(self, issuer: Issuer, resources: Collection[str], token_seconds: int) -> None:
        self.issuer = issuer
        self.resources = resources
        self.token_seconds = token_seconds
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
            if uri.username or uri.password:
                # The user is shown where the code goes: "https://bank.example@evil.example".
                raise RegistrationError("invalid_redirect_uri", "Name no user in it")
        if len(self.clients) >= MAX_WAITING:
            raise RegistrationError("invalid_client_metadata", "There are too many programs")
        self.clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        """Where the browser goes first: to the page that asks the user."""
        if params.resource not in self.resources:
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
        # `iss` says which authorization server answers: a client that uses several must not
        # send the code of one to another (RFC 9207).
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
            seconds=self.token_seconds,
            client_id=client.client_id,
            scope=scope,
        )
        return OAuthToken(access_token=token, expires_in=self.token_seconds, scope=scope)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return None  # none are issued: when a token has expired, the user is asked again

    async def exchange_refresh_token(
        self,
        client: OAuthClientInformationFull,
        refresh_token: RefreshToken,
        scopes: list[str],
    ) -> OAuthToken:
        raise TokenError("unsupported_grant_type")

    async def load_access_token(self, token: str) -> AccessToken | None:
        raise NotImplementedError  # nobody asks: a token's signature says enough

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        raise NotImplementedError  # nobody asks: there is no route for it
