"""A certificate for this machine, and the authority that vouches for it.

Nobody else trusts that authority, so each client has to be given its file, `ca.pem`.
"""

import os
import shutil
import ssl
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature

OWN_NAMES = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Certificate:
    """Files in PEM. Only `key` is a secret."""

    authority: Path
    chain: Path
    key: Path


def certificate(folder: Path, *names: str) -> Certificate:
    """The certificate in this folder: made on the first run, for this machine and `names`.

    Exits if it cannot be made or used.
    """
    try:
        if not folder.exists() or not any(folder.iterdir()):
            make(folder, *OWN_NAMES, *names)
        files = files_in(folder)
        check(files, *names)
    except OSError as error:  # SSLError is a subclass
        sys.exit(f"Cannot use a certificate in {folder}: {error.strerror or error}")
    except ValueError as error:
        # It may be somebody's own certificate, so nothing is overwritten.
        sys.exit(f"The certificate in {folder} is of no use: {error}. Remove it for a new one")
    return files


def files_in(folder: Path) -> Certificate:
    return Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")


def make(folder: Path, *names: str) -> None:
    """Make the files beside the folder, then move them there: all of them, or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        files = files_in(unfinished)
        authority = trustme.CA()
        # The authority's own key is thrown away: nobody can make a second certificate with it.
        authority.cert_pem.write_to_path(files.authority)
        issued = authority.issue_cert(*names)
        files.chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        # Created with these permissions, not given them later: there is no moment in between.
        descriptor = os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(issued.private_key_pem.bytes())
        unfinished.chmod(0o755)  # other users may read ca.pem
        if folder.exists():
            folder.rmdir()  # it is empty
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check(files: Certificate, *names: str) -> None:
    """Raises OSError or ValueError for what no client would accept."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.chain, files.key)
    issued = x509.load_pem_x509_certificate(files.chain.read_bytes())
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    try:
        issued.verify_directly_issued_by(authority)
    except (ValueError, InvalidSignature):
        raise ValueError("ca.pem did not sign server.pem") from None
    if issued.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"it ended on {issued.not_valid_after_utc:%Y-%m-%d}")
    certified = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(name.value).lower() for name in certified}
    for name in names:
        if name not in known:
            raise ValueError(f"it is not for {name}")
