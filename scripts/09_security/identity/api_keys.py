"""API keys: shown once, kept only as hashes, each with a name, and revoked one by one.

    uv run scripts/09_security/identity/api_keys.py new alice
    uv run scripts/09_security/identity/api_keys.py list
    uv run scripts/09_security/identity/api_keys.py check
    uv run scripts/09_security/identity/api_keys.py revoke alice

`check` reads a key from standard input: on a command line others could see it. The hashes
are in api_keys.json, or in the file that API_KEYS names.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

PREFIX = "tea_"  # so that programs that look for leaked keys can recognise one
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


class BadKeys(Exception):
    """The file of keys cannot be used, or a name cannot. The text says why."""


@dataclass(frozen=True)
class Kept:
    """What is kept of a key. Nobody can make the key from it."""

    name: str
    sha256: str
    end: str  # its last characters, so that its owner knows which one it is


def fingerprint(key: str) -> str:
    # A fast hash is right here, and wrong for passwords. A password is one of a few billion
    # that people think of: a fast hash lets a thief of the file try them all. This key is one
    # of 2**256, and nobody can try those. A slow hash would only cost the server time on each
    # request.
    return hashlib.sha256(key.encode()).hexdigest()


class ApiKeys:
    """The keys in a file, by name."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.kept = read(file)

    def new(self, name: str) -> str:
        """Make a key. It is returned this once, and kept nowhere."""
        if not NAME.fullmatch(name):
            raise BadKeys(f"{name!r} is not a name: use letters a to z, digits and hyphens")
        if name in self.kept:
            raise BadKeys(f"{name} has a key already. Revoke it first, or choose another name")
        key = PREFIX + secrets.token_urlsafe(32)
        self.kept[name] = Kept(name, fingerprint(key), key[-4:])
        self.save()
        return key

    def revoke(self, name: str) -> None:
        if self.kept.pop(name, None) is None:
            raise BadKeys(f"there is no key named {name!r}")
        self.save()

    def name_of(self, key: str) -> str | None:
        """Whose key this is, or None."""
        given = fingerprint(key)
        found = None
        for kept in self.kept.values():
            # The time this takes says nothing about how much of a key was right: whole hashes
            # are compared, and always all of them.
            if hmac.compare_digest(kept.sha256, given):
                found = kept.name
        return found

    def save(self) -> None:
        text = json.dumps([asdict(kept) for kept in self.kept.values()], indent=2)
        # Written beside it and moved: a reader finds the old file or the new one, never half.
        half = self.file.with_name(self.file.name + ".new")
        try:
            half.touch(mode=0o600)
            half.write_text(text + "\n", encoding="utf-8")
            half.replace(self.file)
        except OSError as error:
            raise BadKeys(f"cannot write {self.file}: {error.strerror}") from error


def read(file: Path) -> dict[str, Kept]:
    """What a file keeps, by name. Raises BadKeys."""
    try:
        entries = [Kept(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
        for entry in entries:
            if not (NAME.fullmatch(entry.name) and re.fullmatch("[0-9a-f]{64}", entry.sha256)):
                raise ValueError("an entry has no name or no hash")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadKeys(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise BadKeys(f"{file} is not a file of keys: {error}") from error
    return {entry.name: entry for entry in entries}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make, list, check and revoke API keys.")
    parser.add_argument("command", choices=["new", "list", "check", "revoke"])
    parser.add_argument("name", nargs="?")
    chosen = parser.parse_args()
    if (chosen.command in ("new", "revoke")) != (chosen.name is not None):
        parser.error("new and revoke take a name, list and check do not")
    try:
        keys = ApiKeys(Path(os.environ.get("API_KEYS") or "api_keys.json"))
        match chosen.command:
            case "new":
                print(f"{keys.new(chosen.name)}\nIt is not shown again.")
            case "revoke":
                keys.revoke(chosen.name)
                print(f"{chosen.name} has no key any more.")
            case "list":
                for kept in keys.kept.values():
                    print(f"{kept.name:20}  {PREFIX}…{kept.end}")
            case "check":
                name = keys.name_of(sys.stdin.readline().strip())
                sys.exit("Nobody's key.") if name is None else print(f"This is {name}'s key.")
    except BadKeys as problem:
        sys.exit(f"api_keys: {problem}")


if __name__ == "__main__":
    main()
