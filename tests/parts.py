"""Real parts that some tests need: found, or the test is skipped with the way to get them.

`.ci/run` installs all of them and sets WORKSHOP_ALL_PARTS=1, which turns such a
skip into a failure.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

INSTALL = {
    "chromium": "apt-get install --no-install-recommends chromium",
    "curl": "apt-get install curl",
    # Without a running engine of Docker's, tests/engine.py makes one of Podman.
    "docker": "apt-get install docker.io",
    "docker-compose": "apt-get install docker-compose",
    "nginx": "apt-get install nginx-light",
    "node": "apt-get install nodejs npm",
    "npm": "apt-get install nodejs npm",
    "podman": "apt-get install podman runc netavark aardvark-dns iptables catatonit",
    "prometheus": "apt-get install --no-install-recommends prometheus",
    "redis-server": "apt-get install redis-server",
    "tmux": "apt-get install tmux",
}

# For the environment of a program that must find no language model.
NO_MODEL = {name: "" for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")}

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing(what: str, install: str) -> NoReturn:
    """Skip the test, or fail it where every part was promised."""
    reason = f"{what} is missing. Install it: {install}"
    if os.environ.get("WORKSHOP_ALL_PARTS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require(program: str) -> str:
    """The path of a program that INSTALL names; skips or fails when it is not there."""
    found = shutil.which(program)
    if found is None:
        missing(program, INSTALL[program])
    return found
