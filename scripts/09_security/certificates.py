"""A certificate for this machine, and the authority that vouches for it.

Nobody else trusts that authority, so each client has to be told: it is the file `ca.pem`.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """Files in PEM. Only `key` is a secret."""

    authority: Path
    chain: Path
    key: Path


def certificate(folder: Path, *names: str) -> Certificate:
    """The certificate in this folder: made on the first run, for localhost and `names`."""
    files = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if all(file.is_file() for file in (files.authority, files.chain, files.key)):
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        # The authority's own key is thrown away: nobody can make a second certificate with it.
        authority.cert_pem.write_to_path(files.authority)
        issued = authority.issue_cert("127.0.0.1", "::1", "localhost", *names)
        files.chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        # Made with these rights, not given them afterwards: there is no moment in between.
        with os.fdopen(
            os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as f:
            f.write(issued.private_key_pem.bytes())
    except OSError as error:
        sys.exit(f"Cannot make a certificate in {folder}: {error.strerror}")
    return files
