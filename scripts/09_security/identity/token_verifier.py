"""Tells the MCP SDK who a token speaks for, with the keys that its issuer publishes."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2
from jwt_tokens import Refused, Trust, UnknownKey, keys_in, verify
from mcp.server.auth.provider import AccessToken

logger = logging.getLogger(__name__)

KEYS_PATH = "/jwks.json"
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
PAUSE = 1.0  # seconds between two requests for the keys, whatever tokens come


def issuer_in(environment: Mapping[str, str] = os.environ) -> str:
    """The authorization server that OAUTH_ISSUER names. Exits if it cannot be one."""
    issuer = environment.get("OAUTH_ISSUER") or "http://127.0.0.1:8079"
    url = urlsplit(issuer)
    # Its keys come from there. Without TLS, anyone on the way could send other keys.
    if not url.hostname or (url.scheme != "https" and url.hostname not in THIS_MACHINE):
        sys.exit(f"OAUTH_ISSUER is an https URL, or http on this machine, not {issuer!r}")
    return issuer.rstrip("/")


class JwtVerifier:
    """A `TokenVerifier` for the SDK. It checks everything except whom a token is for.

    That it only reports, in `AccessToken.resource`. With `validate_token_resource` the SDK
    compares it with the server's own URL.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.trust = Trust(issuer, None, {})
        self.lock = asyncio.Lock()
        self.next_fetch = 0.0

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            try:
                principal = verify(token, self.trust)
            except UnknownKey:
                await self.fetch_keys()
                principal = verify(token, self.trust)
        except Refused as reason:
            logger.info("Refused a token: %s", reason)
            return None
        claims = principal.claims
        return AccessToken(
            token=token,
            client_id=str(claims.get("client_id", "")),
            scopes=str(claims.get("scope", "")).split(),
            expires_at=int(claims["exp"]),
            resource=claims["aud"] if isinstance(claims["aud"], str) else None,
            # A session belongs to client, issuer and subject together. Without these two, all
            # users of the same client could send messages in each other's sessions.
            subject=principal.name,
            claims={"iss": claims["iss"]},
        )

    async def fetch_keys(self) -> None:
        """Ask the issuer for its keys. Raises Refused."""
        async with self.lock:
            # Anybody can send tokens that name new keys. They must not all cause requests.
            if time.monotonic() < self.next_fetch:
                return
            self.next_fetch = time.monotonic() + PAUSE
            try:
                async with httpx2.AsyncClient(timeout=2.0) as client:
                    answer = await client.get(self.issuer + KEYS_PATH)
                    answer.raise_for_status()
                keys = keys_in(answer.json())
            except (httpx2.HTTPError, ValueError) as error:
                logger.warning("Cannot get the keys of %s: %s", self.issuer, error)
                raise Refused("its issuer does not answer") from error
            self.trust = Trust(self.issuer, None, keys)
