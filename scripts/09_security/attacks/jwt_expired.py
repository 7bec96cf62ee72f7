"""Steals: Alice's access, with a token from an old log or an old backup.

A signature is valid for ever. Only the time in the token makes an old one worthless.
"""

from types import ModuleType

from identity import jwt_broken, jwt_tokens

from attacks.finding import Finding
from attacks.tokens import ISSUER, TEA, tried

AGAINST = "identity"
CASE = ""
OPEN, SECURE = jwt_broken, jwt_tokens


async def attack(verifier: ModuleType) -> Finding:
    return tried(verifier, ISSUER.token("alice", TEA, seconds=-3600), "an hour too old")
