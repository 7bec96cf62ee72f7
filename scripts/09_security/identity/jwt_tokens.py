"""Fixed: a signed token (JWT) is believed only for what its issuer wrote, and for whom.

    uv run scripts/09_security/identity/jwt_tokens.py

Broken beside it: jwt_broken.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt import PyJWK, PyJWKSet

# The one algorithm that the issuer signs with. It is decided here, and never by a token.
ALGORITHM = "ES256"
LEEWAY = 5.0  # seconds that two machines' clocks may differ by
REQUIRED = ["iss", "aud", "sub", "iat", "exp"]


class Refused(ValueError):
    """The token proves nothing. The text says why, and shows no part of a signature."""


class UnknownKey(Refused):
    """It names a key that is not here. Its issuer may have a new one."""


@dataclass(frozen=True)
class Principal:
    """Who a token speaks for, and what else its issuer says."""

    name: str
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class Trust:
    """Whom a server believes, and its own name.

    An `audience` of None leaves that comparison to the caller: see token_verifier.py.
    """

    issuer: str
    audience: str | None
    keys: Mapping[str, PyJWK]  # public, by their ids


class Issuer:
    """Signs tokens. Everybody may have its public key: it only checks, and cannot sign."""

    def __init__(self, url: str, kid: str = "2026-11") -> None:
        self.url = url
        self.kid = kid
        self._private_key = ec.generate_private_key(ec.SECP256R1())

    def token(self, name: str, audience: str, *, seconds: float = 300, **claims: Any) -> str:
        """A token that says: this is `name`, and I say so to `audience`, for `seconds`."""
        now = int(time.time())
        said = {"iss": self.url, "aud": audience, "sub": name, "iat": now, "exp": now + seconds}
        return jwt.encode(said | claims, self._private_key, ALGORITHM, {"kid": self.kid})

    def jwks(self) -> dict[str, Any]:
        """The public key, as issuers publish it (RFC 7517)."""
        key = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(
            self._private_key.public_key(), as_dict=True
        )
        return {"keys": [{**key, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}]}


def keys_in(jwks: dict[str, Any]) -> dict[str, PyJWK]:
    """The keys of a published set, by their ids. Raises Refused if there is none."""
    try:
        return {key.key_id: key for key in PyJWKSet.from_dict(jwks).keys if key.key_id}
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise Refused(f"not a set of keys: {error}") from error


def verify(token: str, trust: Trust) -> Principal:
    """Who this token speaks for. Raises Refused."""
    try:
        # What stands in the header is not proven yet. Of all its fields only `kid` is used,
        # and only to choose among keys that are here: `jwk`, `jku` and `x5u` bring their own.
        key = trust.keys.get(jwt.get_unverified_header(token).get("kid", ""))
        if key is None:
            raise UnknownKey("no key of that id")
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=trust.issuer,
            audience=trust.audience,
            leeway=LEEWAY,
            options={"require": REQUIRED, "verify_aud": trust.audience is not None},
        )
    except jwt.PyJWTError as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    return Principal(claims["sub"], claims)


def main() -> None:
    issuer = Issuer("http://127.0.0.1:8079")
    tea = Trust(issuer.url, "http://127.0.0.1:8069", keys_in(issuer.jwks()))
    token = issuer.token("alice", "http://127.0.0.1:8069")
    print(f"The token:      {token[:40]}… ({len(token)} characters)")
    print(f"Its header:     {jwt.get_unverified_header(token)}")
    print("What it says, to anybody:")
    for name, value in jwt.decode(token, options={"verify_signature": False}).items():
        print(f"  {name:13} {value}")
    print(f"Proven:         {verify(token, tea).name}")
    for what, refused in {
        "For another:": issuer.token("alice", "http://127.0.0.1:8089"),
        "Too old:": issuer.token("alice", "http://127.0.0.1:8069", seconds=-60),
        "No signature:": token.rpartition(".")[0] + ".",
        "Another signer:": Issuer(issuer.url).token("alice", "http://127.0.0.1:8069"),
    }.items():
        try:
            verify(refused, tea)
        except Refused as reason:
            print(f"{what:16}{reason}")


if __name__ == "__main__":
    main()
