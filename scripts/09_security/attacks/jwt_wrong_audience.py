"""Steals: what is Alice's here, with a token that she gave to another server.

One issuer serves many servers. Alice uses Mallory's shop, so Mallory holds a token that is
signed, fresh and hers. It says that it is for the shop.
"""

from types import ModuleType

from identity import jwt_broken, jwt_tokens

from attacks.finding import Finding
from attacks.tokens import ISSUER, SHOP, tried

AGAINST = "identity"
CASE = ""
OPEN, SECURE = jwt_broken, jwt_tokens


async def attack(verifier: ModuleType) -> Finding:
    return tried(verifier, ISSUER.token("alice", SHOP), "a token for the shop")
