"""Steals: anybody's name, with a token that says how to check it.

A token names its algorithm. `none` means that it is not signed. HS256 means that one secret
both signs and checks. A verifier that believes this uses the issuer's public key as the secret,
and everybody has the public key.
"""

from types import ModuleType

import jwt
from identity import jwt_broken, jwt_tokens

from attacks.finding import Finding
from attacks.tokens import ISSUER, TRUST, alice, tried

AGAINST = "identity"
CASE = ""
OPEN, SECURE = jwt_broken, jwt_tokens


async def attack(verifier: ModuleType) -> Finding:
    public_key = jwt_broken.stored(TRUST.keys[ISSUER.kid])
    findings = {
        algorithm: tried(verifier, jwt.encode(alice(), key, algorithm, {"kid": ISSUER.kid}), "")
        for algorithm, key in (("none", ""), ("HS256", public_key))
    }
    taken = [algorithm for algorithm, finding in findings.items() if finding.succeeded]
    if taken:
        return Finding(True, f"alg {' and '.join(taken)}: Mallory is alice")
    return findings["HS256"]
