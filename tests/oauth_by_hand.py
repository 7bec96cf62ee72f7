"""OAuth by hand: each request of a client, for tests that get some of it wrong."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx2

from workshop.course import ROOT
from workshop.running import free_port, running

IDENTITY = ROOT / "scripts/09_security/identity"
SCOPE = "diary"


@dataclass
class Lab:
    """An authorization server, and two servers that believe it. Their URLs, by what they do."""

    issuer: str
    diary: str
    broken: str


@contextmanager
def laboratory() -> Iterator[Lab]:
    """Start the three of them on free ports."""
    ports = [free_port() for _ in range(3)]
    urls = Lab(*(f"http://127.0.0.1:{port}" for port in ports))
    authorization = {"OAUTH_RESOURCES": f"{urls.diary},{urls.broken}"}
    believing = {"OAUTH_ISSUER": urls.issuer}
    with (
        running(IDENTITY / "authorization_server.py", port=ports[0], env=authorization),
        running(IDENTITY / "oauth_server.py", port=ports[1], env=believing),
        running(IDENTITY / "resource_broken.py", port=ports[2], env=believing),
    ):
        yield urls


@dataclass
class ByHand:
    """One client of the authorization server at `issuer`, and its user's browser."""

    http: httpx2.AsyncClient
    issuer: str
    redirect_uri: str = "http://127.0.0.1:9/callback"  # nothing needs to listen there
    client_id: str = ""
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    async def register(self) -> httpx2.Response:
        """Tell the authorization server about this client (RFC 7591)."""
        answer = await self.http.post(
            f"{self.issuer}/register",
            json={
                "client_name": "By hand",
                "redirect_uris": [self.redirect_uri],
                "grant_types": ["authorization_code"],
                "token_endpoint_auth_method": "none",
            },
        )
        self.client_id = answer.json().get("client_id", "")
        return answer

    async def authorize(self, resource: str, **changes: str) -> httpx2.Response:
        """Ask to be let in, with only the hash of the verifier (PKCE, RFC 7636)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return await self.http.get(
            f"{self.issuer}/authorize",
            params={
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": self.redirect_uri,
                "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
                "code_challenge_method": "S256",
                "scope": SCOPE,
                "resource": resource,
                **changes,
            },
        )

    async def answer(
        self, question: str, user: str, answer: str = "yes", origin: str | None = None
    ) -> httpx2.Response:
        """The user presses a button of the page at `question`."""
        return await self.http.post(
            question,
            data={"user": user, "answer": answer},
            headers={"Origin": self.issuer if origin is None else origin},
        )

    async def code(self, resource: str, user: str) -> str:
        """A code: what the browser brings back once the user has said yes."""
        question = (await self.authorize(resource)).headers["location"]
        return query_of(await self.answer(question, user))["code"]

    async def exchange(self, code: str, **changes: str) -> httpx2.Response:
        """Exchange a code for a token, with the verifier itself."""
        return await self.http.post(
            f"{self.issuer}/token",
            data={
                "grant_type": "authorization_code",
                "code": code,
                "client_id": self.client_id,
                "redirect_uri": self.redirect_uri,
                "code_verifier": self.verifier,
                **changes,
            },
        )

    async def token(self, resource: str, user: str) -> str:
        """A token for one server: all of the above."""
        if not self.client_id:
            await self.register()
        answer = await self.exchange(await self.code(resource, user))
        answer.raise_for_status()
        return answer.json()["access_token"]


def query_of(redirect: httpx2.Response) -> dict[str, str]:
    """What a redirect hands over in its URL."""
    query = parse_qs(urlsplit(redirect.headers["location"]).query)
    return {name: values[0] for name, values in query.items()}
