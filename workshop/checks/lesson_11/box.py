"""The learner's Dockerfile, built and run for real where a container engine answers."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4

from workshop.course import ROOT
from workshop.patience import stretched
from workshop.running import HOST, free_port
from workshop.tools import docker_answers

SERVER = ROOT / "scripts" / "11_docker"
IMAGE = "terminal_server_sse_checked"  # not the learner's own
# Seconds. The first build may have to download Python and the server's packages.
BUILD, STARTS, GRACE = 600, 60, 10
ANNOUNCED = """\
Building and running your Dockerfile. The first time, this takes minutes, because Python and
the server's packages are downloaded. (To have it only read: WORKSHOP_ENGINE=0)"""

_one_at_a_time = threading.Lock()
_containers: set[str] = set()  # those that run now


@dataclass(frozen=True)
class Tried:
    """The result. `built` is what a failed build said; then the rest is empty."""

    built: str = ""
    user: str = ""  # its number
    writes: bool = False  # in /workspace
    log: str = ""
    answer: bytes = b""  # the start of the event stream, as a client outside gets it
    status: int = 0  # of the exit after `docker stop`
    seconds: float = 0  # how long that took


def engine() -> bool:
    """Whether to build Dockerfiles: an engine answers, and WORKSHOP_ENGINE is not 0."""
    return os.environ.get("WORKSHOP_ENGINE") != "0" and docker_answers()


def tried(dockerfile: str) -> Tried:
    """Build and run it, once for each text. Call it only where there is an `engine`."""
    with _one_at_a_time:
        return _tried(dockerfile)


@atexit.register
def _remove_containers() -> None:
    """After Ctrl-C: the checks' threads do not come to their end then."""
    for name in tuple(_containers):
        _docker("rm", "-f", name)


@cache
def _tried(dockerfile: str) -> Tried:
    print(ANNOUNCED, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for path in [*SERVER.glob("*.py"), SERVER / "requirements.txt"]:
            if path.is_file() and path.name != "exercise.py":
                shutil.copyfile(path, Path(folder) / path.name)
        (Path(folder) / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        built = _docker("build", "-q", "-t", IMAGE, folder, seconds=BUILD)
    if built.returncode:
        return Tried(built=_end(built.stdout + built.stderr) or "no image")
    image = built.stdout.split()[-1]  # by its id: the name may be another check's by now
    name, port = f"workshop-check-{uuid4().hex[:8]}", free_port()
    _containers.add(name)
    try:
        published = ("-p", f"{HOST}:{port}:8081")
        started = _docker("run", "-d", "--name", name, *published, image)
        if started.returncode:
            return Tried(built=_end(started.stderr))
        return _look(name, port)
    finally:
        _docker("rm", "-f", name)
        _containers.discard(name)


def _look(name: str, port: int) -> Tried:
    """What the running container shows; it is stopped while a client has a stream open."""
    answer, client = _open_stream(name, port)
    user = _docker("exec", name, "id", "-u").stdout.strip()
    touched = _docker("exec", name, "touch", "/workspace/of_the_checks").returncode == 0
    log = _docker("logs", name)
    began = time.monotonic()
    _docker("stop", "-t", str(GRACE), name, seconds=GRACE + 20)
    seconds = time.monotonic() - began
    client.close()
    status = _docker("inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip()
    return Tried(
        user=user,
        writes=touched,
        log=_end(log.stdout + log.stderr),
        answer=answer,
        status=int(status) if re.fullmatch(r"-?\d+", status) else -1,
        seconds=seconds,
    )


def _open_stream(name: str, port: int) -> tuple[bytes, HTTPConnection]:
    """The first bytes of the event stream, as soon as the server answers; b"" if never."""
    deadline = time.monotonic() + stretched(STARTS)
    last = False
    while True:
        client = HTTPConnection(HOST, port, timeout=stretched(5))
        with suppress(OSError, HTTPException):
            client.request("GET", "/sse")
            response = client.getresponse()
            return response.read1(4096), client
        client.close()
        if last or time.monotonic() > deadline:
            return b"", client
        # A server that says it is up but can't be reached listens on 127.0.0.1 in there.
        log = _docker("logs", name)
        running = _docker("inspect", "-f", "{{.State.Running}}", name).stdout.strip()
        last = "running on http" in log.stdout + log.stderr or running == "false"
        time.sleep(0.1)  # between two questions: an engine tells us nothing by itself


def _docker(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=stretched(seconds),
            start_new_session=True,  # Ctrl-C is for us: this may be what tidies up
        )
    except subprocess.TimeoutExpired:
        said = f"docker {arguments[0]} did not end within {stretched(seconds):g} seconds."
        return subprocess.CompletedProcess(command, 124, "", said)


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])
