"""Tools that are not Python packages: where they are, and whether `docker` has an engine."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

# Where to find tools that do not put themselves on the PATH, or not on everybody's.
PLACES = {
    "chromium": (
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "nginx": ("/usr/sbin/nginx", "/usr/local/sbin/nginx"),
}

PATIENCE = 5.0  # seconds; an engine that runs answers at once


def find(*programs: str) -> str | None:
    """The path of one of these programs: on the PATH, or else in its PLACES."""
    found = [shutil.which(program) for program in programs]
    places = [place for program in programs for place in PLACES.get(program, ())]
    found += [place for place in places if Path(place).is_file()]
    return next((place for place in found if place), None)


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
