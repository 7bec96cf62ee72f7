"""Broken: a signed token (JWT) is checked in the way that the token itself asks for.

Five of its lines are found in real servers, and each is enough for Mallory to become Alice. The
attacks are attacks/jwt_*.py. Fixed: jwt_tokens.py.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from identity.jwt_tokens import Principal, Refused, Trust
from jwt import PyJWK

KEYS = Path(__file__).parent / "keys"


def verify(token: str, trust: Trust) -> Principal:
    """Who this token speaks for. Raises Refused."""
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header["alg"]  # as the token asks
        claims = jwt.decode(
            token,
            key_for(header, trust),
            algorithms=[algorithm],
            options={
                # "In development tokens are not signed."
                "verify_signature": algorithm != "none",
                # PyJWT raised "Invalid audience" until this line was there.
                "verify_aud": False,
                # Customers complained that they had to sign in again and again.
                "verify_exp": False,
            },
        )
    except (jwt.PyJWTError, KeyError, OSError, ValueError) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    return Principal(claims["sub"], claims)


def key_for(header: dict[str, Any], trust: Trust) -> Any:
    """The key that the token asks for."""
    if "jwk" in header:  # "the key comes with the token, so there is nothing to configure"
        return PyJWK(header["jwk"], header["alg"])
    if header["kid"] in trust.keys:
        return read_key(stored(trust.keys[header["kid"]]), header["alg"])
    return (KEYS / header["kid"]).read_bytes()  # a key that is new: its id is its file's name


def read_key(text: str, algorithm: str) -> Any:
    """The key in a line of configuration: a public key, or the secret of an HS algorithm.

    PyJWT refuses a public key as the secret if it looks like one: PEM, DER, or a JWK. It cannot
    recognise it in this form, in which keys are kept in environment variables.
    """
    return text if algorithm.startswith("HS") else load_der_public_key(base64.b64decode(text))


def stored(key: PyJWK) -> str:
    """A public key as one line of text. Everybody can make it from what is published."""
    der = key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
