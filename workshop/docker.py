"""Whether the command `docker` has an engine behind it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

PATIENCE = 5.0  # seconds; an engine that runs answers at once


@cache
def docker_answers() -> bool:
    """Whether an engine answers `docker`. Asked once in each process.

    The command alone says nothing: it is installed on many a machine whose engine is
    not running.
    """
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=PATIENCE).returncode == 0
    except subprocess.TimeoutExpired:
        return False
