"""A container engine for the tests: the machine's own, else a stand-in made for the run.

Whoever tests with it begins with the fixture `docker`:

    from tests.engine import Docker
    from tests.engine import docker as docker

    def test_it(docker: Docker) -> None:
        docker("run", "--rm", "python:3.12-slim", "true")
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests import stand_in_engine
from tests.parts import INSTALL, missing
from workshop.course import ROOT
from workshop.running import HOST, free_port
from workshop.tools import docker_answers

FOLDER = ROOT / "scripts/11_docker"
IMAGE = "terminal_server_sse"
LISTENING = "Uvicorn running on http://0.0.0.0:8081"
PATIENCE = 90.0  # seconds for one command or one start, beside four other tests


@dataclass(frozen=True)
class Container:
    """A container that runs, and the port of 127.0.0.1 that leads to its port 8081."""

    docker: Docker
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def logs(self) -> str:
        run = self.docker("logs", self.name)
        return run.stdout + run.stderr

    def inspect(self, what: str) -> str:
        """One value, such as `.State.ExitCode`."""
        return self.docker("inspect", "--format", f"{{{{{what}}}}}", self.name).stdout.strip()

    def execute(
        self, *command: str, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        options = ["--user", user] if user else []
        return self.docker("exec", *options, self.name, *command, check=check)

    def stop(self) -> float:
        """`docker stop`; returns the seconds it took.

        Ten seconds of grace are the default. An old Podman must be told so.
        """
        began = time.monotonic()
        self.docker("stop", "-t", "10", self.name)
        return time.monotonic() - began

    def healthy(self) -> bool:
        """Whether the image's HEALTHCHECK passes now."""
        folder = self.docker.stand_in
        if folder is not None:
            # Its timers would need systemd.
            environment = stand_in_engine.environment(folder)
            command = ["podman", "healthcheck", "run", self.name]
            return subprocess.run(command, env=environment, capture_output=True).returncode == 0
        deadline = time.monotonic() + PATIENCE
        while (state := self.inspect(".State.Health.Status")) == "starting":
            assert time.monotonic() < deadline
            time.sleep(0.2)  # asks an engine that does not tell by itself
        return state == "healthy"

    def wait_until_it_answers(self) -> None:
        """Until its server answers through the published port."""
        again = ("--retry", "60", "--retry-all-errors", "--retry-delay", "1", "--max-time", "2")
        probe = ["curl", "--silent", *again, "--output", os.devnull, f"{self.url}/"]
        assert subprocess.run(probe).returncode == 0, self.logs()

    def wait_for_log(self, text: str) -> None:
        """Until it has logged the text. Raises AssertionError with its log if it ends first."""
        follow = ["docker", "logs", "--follow", self.name]
        with subprocess.Popen(
            follow,
            env=self.docker.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            timer = threading.Timer(PATIENCE, process.kill)
            timer.start()
            assert process.stdout is not None
            logged = ""
            for line in process.stdout:
                logged += line
                if text in line:
                    break
            timer.cancel()
            process.kill()
        assert text in logged, logged


@dataclass(frozen=True)
class Docker:
    """The command `docker`, with an engine behind it."""

    host: str | None  # for DOCKER_HOST; None: as it is

    def __call__(
        self, *arguments: str, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker` with these arguments. With `check`, it must succeed."""
        return self.command("docker", *arguments, check=check, cwd=cwd)

    def command(
        self, *command: str, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run any command that talks to the engine."""
        run = subprocess.run(
            command,
            env=self.environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert not check or run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
        return run

    @property
    def environment(self) -> dict[str, str]:
        # Podman has no BuildKit.
        own = {} if self.host is None else {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"}
        return {**os.environ, **own}

    @property
    def stand_in(self) -> Path | None:
        """The folder of the stand-in; None if the engine is a real one."""
        host = self.environment.get("DOCKER_HOST", "")
        folder = Path(host.removeprefix("unix://")).parent
        return folder if (folder / "containers.conf").is_file() else None

    @contextmanager
    def container(
        self,
        *options: str,
        image: str = IMAGE,
        command: tuple[str, ...] = (),
        wait: bool = True,
    ) -> Iterator[Container]:
        """`docker run --detach` with a published port. Yields it once it listens."""
        port = free_port()
        name = f"test-{uuid4().hex[:12]}"
        run = ("run", "--detach", "--name", name, "--publish", f"{HOST}:{port}:8081")
        try:
            self(*run, *options, image, *command)
            container = Container(self, name, port)
            if wait:
                container.wait_for_log(LISTENING)
            yield container
        finally:
            self("rm", "--force", name, check=False)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """An engine that has `terminal_server_sse`, built as the lesson says."""
    if shutil.which("docker") is None:
        missing("docker", INSTALL["docker"])
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    if docker_answers():
        docker = Docker(None)
        with locked(shared / "image.lock"):
            build(docker)
        yield docker
        return
    lacking = stand_in_engine.missing_programs()
    if lacking:
        missing(f"a container engine, or {', '.join(lacking)}", INSTALL["podman"])
    with shared_engine(shared) as docker:
        yield docker


@contextmanager
def shared_engine(shared: Path) -> Iterator[Docker]:
    """The stand-in: the first process of the test run starts it, the last one ends it."""
    # Podman's socket is in it, whose path must be short.
    folder = Path("/tmp") / f"engine-{shared.stat().st_ino}"
    with (shared / "engine.users").open("w") as users:
        with locked(shared / "engine.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                if not (folder / "podman.sock").exists():
                    stand_in_engine.start(folder)
                docker = Docker(f"unix://{folder}/podman.sock")
                build(docker)
            except stand_in_engine.EngineError as error:
                stand_in_engine.stop(folder)
                missing(f"a container engine ({error})", INSTALL["docker"])
        try:
            yield docker
        finally:
            with locked(shared / "engine.lock"):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another process still uses it
                else:
                    stand_in_engine.stop(folder)


def build(docker: Docker) -> None:
    """`docker build`, which downloads packages, as `uv sync` does; or skip."""
    base = stand_in_engine.PYTHON_IMAGE
    if docker("image", "inspect", base, check=False).returncode:
        pulled = docker("pull", base, check=False)
        if pulled.returncode:
            missing(f"the image {base} ({pulled.stderr.strip()})", f"docker pull {base}")
    docker("build", "-t", IMAGE, ".", cwd=FOLDER)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Meanwhile, no other process of this test run has it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
