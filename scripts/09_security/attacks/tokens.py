"""What the attacks on tokens share: an issuer, a server that trusts it, and one try."""

import time
from types import ModuleType
from typing import Any

from identity.jwt_tokens import Issuer, Refused, Trust, keys_in

from attacks.finding import Finding

ISSUER = Issuer("https://login.example")
TEA = "https://tea.example"  # the server that is attacked
SHOP = "https://shop.example"  # another one, which trusts the same issuer
TRUST = Trust(ISSUER.url, TEA, keys_in(ISSUER.jwks()))


def alice() -> dict[str, Any]:
    """What a token of Alice's says. Mallory can write it, but not sign it."""
    now = int(time.time())
    return {"iss": ISSUER.url, "aud": TEA, "sub": "alice", "iat": now, "exp": now + 300}


def tried(verifier: ModuleType, token: str, what: str) -> Finding:
    """Whether a verifier accepts a token, and for whom."""
    try:
        principal = verifier.verify(token, TRUST)
    except Refused as refused:
        return Finding(False, str(refused)[:70])
    return Finding(True, f"{what}: Mallory is {principal.name}"[:70])
