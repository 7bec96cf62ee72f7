"""Lesson 11: the image, its container and the compose file, on a real engine.

Building the image downloads packages, once for all tests: nothing else needs a network.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.engine import FOLDER, IMAGE, LISTENING, PATIENCE, Container, Docker
from tests.engine import docker as docker
from tests.parts import require
from tests.sdk_parts import session
from tests.turns import takes_less_than
from workshop.checks.mcp_session import request
from workshop.course import ROOT
from workshop.running import HOST, free_port

CLIENT = ROOT / "scripts/07_sdk_client/client_sse.py"
APP = 1000  # the uid of the image's user


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """./workspace, as the first user of a Linux machine makes it."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, APP, APP)
    return folder


def client(url: str, request: str) -> subprocess.CompletedProcess[str]:
    """Lesson 07's client with one request."""
    command = [sys.executable, str(CLIENT), f"{url}/sse", "--once", request]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def call(url: str, tool: str, arguments: Mapping[str, object]) -> str:
    """Call a tool by hand, for a tenth of what an SDK's client costs. Returns the text."""
    with session(f"{url}/sse", seconds=PATIENCE) as opened:
        message = request(1, "tools/call", {"name": tool, "arguments": arguments})
        opened.post(message, seconds=PATIENCE)
        reply = opened.reply(1, seconds=PATIENCE)
        assert reply is not None
        return "".join(one["text"] for one in json.loads(reply.data)["result"]["content"])


@contextmanager
def streams(url: str, count: int = 3) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Open event streams; yields when each has brought its first event."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            command = ["curl", "-sN", "--max-time", "60", f"{url}/sse"]
            stream = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(stream.kill)
            assert stream.stdout is not None
            assert stream.stdout.readline() == b"event: endpoint\r\n"
            opened.append(stream)
        yield opened


def test_the_pins_are_the_versions_that_the_tests_run_with() -> None:
    pins = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", pins, re.M))
    assert {"mcp", "uvicorn", "starlette", "pydantic"} <= set(pinned)
    installed = {}
    for name in pinned:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = pinned[name]  # for another platform
    assert installed == pinned, (
        "Make them again, in scripts/11_docker: uv pip compile --universal --python-version "
        "3.12 --generate-hashes --no-header --no-annotate requirements.in -o requirements.txt"
    )
    assert len(re.findall(r"^\S+==.* \\\n    --hash=sha256:", pins, re.M)) == len(pinned)


def test_the_dockerfile_and_the_compose_file_are_valid() -> None:
    tools = Path(sys.executable).parent
    lint = subprocess.run(
        [tools / "hadolint", "--no-color", FOLDER / "Dockerfile"],
        capture_output=True,
        text=True,
    )
    assert (lint.returncode, lint.stdout) == (0, "")
    schema = [tools / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*schema, FOLDER / "compose.yaml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.long
def test_the_image(docker: Docker, tmp_path: Path) -> None:
    def inside(command: str) -> str:
        return docker("run", "--rm", IMAGE, "sh", "-c", command).stdout

    # Only what .dockerignore lets in, and none of it can be changed.
    allowed = re.findall(r"^!(.*)", (FOLDER / ".dockerignore").read_text("utf-8"), re.M)
    assert inside("ls /app").split() == sorted(allowed)
    assert inside("id -u; id -un") == "1000\napp\n"
    assert "Permission denied" in inside("touch /app/door.py /usr/bin/env 2>&1; true")
    assert inside("touch /workspace/x && echo yes") == "yes\n"
    # No compiler, no curl, and pip's cache is not carried around.
    assert inside("command -v gcc curl; ls -A ~root ~app 2>/dev/null | grep cache; true") == ""
    config = json.loads(docker("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert config["Cmd"] == ["python", "terminal_server.py", "--host", "0.0.0.0"]
    assert config["User"] == "1000"
    assert "8081/tcp" in config["ExposedPorts"]

    # Layer by layer: what was installed is the only large one that the Dockerfile adds.
    history = docker("history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE)
    sizes = [line.split("\t") for line in history.stdout.splitlines()]
    large = [made for size, made in sizes if size.endswith("MB")]
    assert "pip install" in large[0]
    assert len(large) == 2  # and the base

    # After a change to a program, the packages' layer comes from the cache.
    context = tmp_path / "context"
    shutil.copytree(FOLDER, context, ignore=shutil.ignore_patterns("workspace"))
    with (context / "health.py").open("a", encoding="utf-8") as file:
        file.write("# Changed.\n")
    docker("build", "-t", f"{IMAGE}:changed", ".", cwd=context)

    def layers(image: str) -> list[str]:
        return json.loads(docker("image", "inspect", image).stdout)[0]["RootFS"]["Layers"]

    kept = [a for a, b in zip(layers(IMAGE), layers(f"{IMAGE}:changed"), strict=True) if a == b]
    assert len(kept) >= 3
    assert layers(IMAGE) != layers(f"{IMAGE}:changed")

    # A package that is not, to the byte, the one that was pinned is not installed.
    pins = context / "requirements.txt"
    pins.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", "idna==3.20 \\\n" + HASH))
    refused = docker("build", "-t", f"{IMAGE}:wrong", ".", cwd=context, check=False)
    assert refused.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stdout + refused.stderr


HASH = f"    --hash=sha256:{'0' * 64}\n"


@pytest.mark.long
def test_the_command_of_the_lesson(docker: Docker, workspace: Path) -> None:
    """docker run --rm -p 8081:8081 -v "$PWD/workspace:/workspace" terminal_server_sse

    Briefly, because an old Podman waits busily for the end of what --rm would remove.
    """
    port = free_port()
    name = f"test-{port}"
    command = f'docker run --rm -p {port}:8081 -v "$PWD/workspace:/workspace" {IMAGE}'
    run = subprocess.Popen(
        command.replace("--rm", f"--rm --name {name}"),
        shell=True,
        cwd=workspace.parent,
        env=docker.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    container = Container(docker, name, port)
    try:
        assert run.stdout is not None
        while LISTENING not in (line := run.stdout.readline()):
            assert line, "it ended"

        # A file that the tool writes appears in the folder of this machine, and the other way.
        call(container.url, "write_file", {"path": "from_inside.txt", "content": "hello\n"})
        written = workspace / "from_inside.txt"
        assert written.read_text() == "hello\n"
        assert written.stat().st_uid == APP or docker.stand_in is None
        (workspace / "from_outside.txt").write_text("hello, you\n")
        cat = {"command": ["cat", "from_outside.txt"]}
        assert call(container.url, "run_command", cat) == "hello, you\n"

        with streams(container.url, 1):
            container.stop()
        assert run.wait(20) == 0
        assert "Traceback" not in run.stdout.read()
    finally:
        docker("rm", "--force", name, check=False)
        run.wait(20)
    assert name not in docker("ps", "--all").stdout  # --rm


async def three_clients(url: str) -> None:
    """Three at once on one container: each gets its own answers, from one workspace."""
    from mcp import Client
    from mcp.client.sse import sse_client
    from mcp_types import TextContent

    async with AsyncExitStack() as stack:
        three = [Client(sse_client(f"{url}/sse"), mode="legacy") for _ in range(3)]
        for one in three:
            await stack.enter_async_context(one)

        async def work(number: int) -> list[str]:
            answers = []
            for tool, arguments in (
                ("write_file", {"path": f"{number}.txt", "content": f"by {number}"}),
                ("run_command", {"command": ["sh", "-c", "true"]}),
                ("run_command", {"command": ["cat", f"{number}.txt"]}),
                ("add", {"a": number, "b": 5}),
            ):
                result = await three[number].call_tool(tool, arguments)
                (content,) = result.content
                assert isinstance(content, TextContent)
                answers.append(content.text)
            return answers

        for number, answers in enumerate(await asyncio.gather(*map(work, range(3)))):
            assert "not allowed" in answers[1]
            assert answers[2:] == [f"by {number}", f"{number + 5}.0"]
        listed = await three[0].call_tool("list_files", {})
        assert all(f"{number}.txt" in str(listed.content) for number in range(3))


@pytest.mark.long
def test_clients_of_every_kind_then_a_stop_with_streams_open_and_a_start(
    docker: Docker, workspace: Path
) -> None:
    with docker.container("-v", f"{workspace}:/workspace") as container:

        def stop() -> float:
            docker("start", container.name)  # if it has stopped
            container.wait_until_it_answers()
            with streams(container.url):
                seconds = container.stop()
            assert container.inspect(".State.ExitCode") == "0"
            return seconds

        asked = client(container.url, "add two numbers 2 and 5 using the tools")
        assert asked.stdout.splitlines()[-1] == "add(a=2, b=5): 7.0", asked
        assert 'calls add {"a": 2, "b": 5}' in asked.stderr
        asyncio.run(three_clients(container.url))

        call(container.url, "write_file", {"path": "kept.txt", "content": "kept"})
        assert takes_less_than(5, stop)
        docker("start", container.name)
        container.wait_until_it_answers()
        assert call(container.url, "read_file", {"path": "kept.txt"}) == "kept"


@pytest.mark.long
def test_the_shell_form_does_not_get_the_signal(docker: Docker, tmp_path: Path) -> None:
    """CMD without brackets: only SIGKILL ends it, after the grace period."""
    form = f"FROM {IMAGE}\nCMD python terminal_server.py --host 0.0.0.0 && echo ended\n"
    (tmp_path / "Dockerfile").write_text(form)
    docker("build", "-t", f"{IMAGE}:shell", ".", cwd=tmp_path)
    with docker.container(image=f"{IMAGE}:shell") as container:
        assert container.execute("cat", "/proc/1/comm").stdout == "sh\n"
        began = time.monotonic()
        docker("stop", "-t", "2", container.name)
        assert time.monotonic() - began >= 2
        assert container.inspect(".State.ExitCode") == "137"
        assert "Shutting down" not in container.logs()


def test_a_path_alone_is_a_path_inside(docker: Docker, workspace: Path) -> None:
    """-v "$PWD/workspace": the container gets a volume, your folder gets nothing."""
    with docker.container("-v", str(workspace)) as container:
        written = call(
            container.url, "write_file", {"path": "lost.txt", "content": "where am I?"}
        )
        assert written == "Wrote 11 bytes to lost.txt."
        assert list(workspace.iterdir()) == []
        assert container.execute("cat", "/workspace/lost.txt").stdout == "where am I?"
        (mount,) = json.loads(container.inspect("json .Mounts"))
        assert (mount["Type"], mount["Destination"]) == ("volume", str(workspace))


def test_a_port_without_an_address_is_open_to_the_network(docker: Docker) -> None:
    others = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    assert others, "an engine has a bridge, at least"

    def reached(address: str, port: int) -> bool:
        # Its Host is not an allowed name: 404 says that the server is reached, all the same.
        url = f"http://{address}:{port}/"
        return subprocess.run(["curl", "-s", "--max-time", "5", url]).returncode == 0

    everywhere = free_port()
    with docker.container() as container:  # -p 127.0.0.1:…:8081
        assert reached(HOST, container.port)
        assert not any(reached(address, container.port) for address in others)
        with docker.container("-p", f"{everywhere}:8081"):
            assert reached(others[0], everywhere)


@pytest.mark.long
def test_four_reasons_why_a_detached_container_fails(docker: Docker, tmp_path: Path) -> None:
    # 1. It listens on 127.0.0.1, which in a container is the container itself.
    command = ("python", "terminal_server.py")
    with docker.container(command=command, wait=False) as container:
        container.wait_for_log("Uvicorn running on http://127.0.0.1:8081")
        curl = subprocess.run(
            ["curl", "-sS", "-m", "10", f"{container.url}/sse"], capture_output=True
        )
        # Refused, empty or reset: that depends on what the engine forwards with.
        assert curl.returncode in (7, 52, 56), curl
        inside = "import urllib.request as u; u.urlopen('http://127.0.0.1:8081/sse')"
        assert container.execute("python", "-c", inside).returncode == 0

    # 2. The port is taken.
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        name = f"test-taken-{port}"
        run = docker(
            *("run", "--detach", "--name", name, "-p", f"{HOST}:{port}:8081", IMAGE),
            check=False,
        )
        assert run.returncode == 125
        assert re.search("address already in use|port is already allocated", run.stderr)
        assert docker("inspect", "--format", "{{.State.Running}}", name).stdout == "false\n"
        docker("rm", name)

    # 3. The folder belongs to somebody else: to root, for example, if docker made it.
    if os.geteuid() == 0:
        folder = tmp_path / "of_root"
        folder.mkdir()
        with docker.container("-v", f"{folder}:/workspace", wait=False) as container:
            docker("wait", container.name)
            assert container.inspect(".State.ExitCode") == "1"
            why = "WORKSPACE=/workspace cannot be used: Permission denied.\n"
            assert container.logs() == why

    # 4. Its command has ended, and a container ends with its command.
    for command, status, why in (
        (("bash",), "0", ""),
        (("python", "terminal_serve.py"), "2", "can't open file '/app/terminal_serve.py'"),
    ):
        with docker.container(command=command, wait=False) as container:
            docker("wait", container.name)
            assert container.inspect(".State.ExitCode") == status
            assert why in container.logs()
            assert container.name not in docker("ps").stdout
            assert container.name in docker("ps", "--all").stdout


def test_the_healthcheck(docker: Docker) -> None:
    quick = ("--health-interval", "1s", "--health-retries", "1")
    with docker.container(*quick) as container:
        assert container.healthy()
        # A server that hangs still takes connections.
        docker("kill", "--signal", "STOP", container.name)
        assert container.execute("python", "health.py", check=False).returncode == 1
        docker("kill", "--signal", "CONT", container.name)


def serves(container: Container) -> bool:
    return call(container.url, "add", {"a": 2, "b": 5}).startswith("7")


@pytest.mark.long
def test_each_limit_is_a_limit(docker: Docker, workspace: Path) -> None:
    """Each line of compose.yaml alone, and what runs into it; then the same without it."""
    with docker.container(
        *("--memory", "256m", "--memory-swap", "256m", "--pids-limit", "64", "--cpus", "0.5"),
        *("--init", "--read-only", "--tmpfs", "/tmp", "-v", f"{workspace}:/workspace"),
    ) as limited:
        greedy = limited.execute("python", "-c", "bytearray(400 << 20)", check=False)
        assert greedy.returncode == 137
        forks = limited.execute("python", "-c", FORKS).stdout
        assert re.fullmatch(r"\d\d: Resource temporarily unavailable\n", forks)
        assert int(limited.execute("python", "-c", THROTTLED).stdout) > 0
        assert "Read-only" in limited.execute("touch", "/app/x", user="0", check=False).stderr
        assert limited.execute("touch", "/tmp/x").returncode == 0
        assert serves(limited)

    hard = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64")
    with docker.container(*hard) as container:
        container.execute("touch", "/app/x", user="0")
        chown = container.execute("chown", "app", "/app/x", user="0", check=False)
        assert "Operation not permitted" in chown.stderr
        container.execute(*SETUID, user="0")
        assert "euid" not in container.execute("whoever").stdout
        # No --init here: nobody buries the dead, each of which counts, and the next command
        # has no room.
        assert "unavailable" in container.execute("python", "-c", FORKS).stdout
        full = container.execute("python", "-c", FORKS, check=False)
        assert full.returncode or int(full.stdout.split(":")[0]) < 5

    with docker.container() as free:
        assert free.execute("python", "-c", "bytearray(400 << 20)").returncode == 0
        assert free.execute("python", "-c", FORKS).stdout == "100\n"
        assert free.execute("touch", "/app/x", user="0").returncode == 0
        # Root in here has a few of root's rights, and a program can make anyone root.
        free.execute("chown", "app", "/app/x", user="0")
        free.execute(*SETUID, user="0")
        assert "euid=0(root)" in free.execute("whoever").stdout


SETUID = ("install", "-m", "4755", "/usr/bin/id", "/usr/local/bin/whoever")
# How many processes there can be, up to a hundred, and why not more.
FORKS = """
import os, signal
made = []
try:
    while len(made) < 100:
        if (child := os.fork()) == 0:
            signal.pause()
        made.append(child)
    print(len(made))
except OSError as error:
    print(f"{len(made)}: {error.strerror}")
for child in made:
    os.kill(child, signal.SIGKILL)
"""
# How often it had to pause since it started, for it had used up its share. It computes until
# it has: on a busy machine it may be a while until it gets as much as its share.
THROTTLED = """
import pathlib, re, time
places = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat")
file = next(pathlib.Path(place) for place in places if pathlib.Path(place).exists())
began = time.monotonic()
while not (paused := int(re.search(r"nr_throttled (\\d+)", file.read_text())[1])):
    if time.monotonic() > began + 30:
        break
print(paused)
"""


@pytest.mark.long
def test_compose(docker: Docker, tmp_path: Path) -> None:
    """The server behind nginx, with every limit at once."""
    require("docker-compose")
    require("nginx")  # what the stand-in makes that image of
    project = tmp_path / "11_docker"
    shutil.copytree(FOLDER, project)
    (project / "workspace").mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(project / "workspace", APP, APP)
    certificate = project / "nginx/cert"
    certificate.mkdir(exist_ok=True)
    trustme = [sys.executable, "-m", "trustme", "-q", "-d", str(certificate)]
    subprocess.run([*trustme, "-i", HOST, "localhost"], check=True)

    plain, tls = free_port(), free_port()
    file = project / "compose.yaml"
    services = yaml.safe_load(file.read_text(encoding="utf-8"))
    published = services["services"]["nginx"]["ports"]
    assert published == [f"{HOST}:8080:8080", f"{HOST}:8443:8443"]  # to nobody else
    assert "ports" not in services["services"]["server"]
    published[:] = [f"{HOST}:{plain}:8080", f"{HOST}:{tls}:8443"]
    file.write_text(yaml.safe_dump(services), encoding="utf-8")

    name = f"test{plain}"
    compose = ("docker-compose", "--project-name", name)
    server = Container(docker, f"{name}_server_1", plain)
    up = threading.Event()

    def look_after_its_health() -> None:
        while not up.wait(0.5):
            # Too early, it would count against it.
            if LISTENING in docker.command("docker", "logs", server.name, check=False).stderr:
                server.healthy()

    if docker.stand_in is not None:
        threading.Thread(target=look_after_its_health, daemon=True).start()
    try:
        docker.command(*compose, "up", "--detach", cwd=project)
        up.set()
        server.wait_until_it_answers()
        assert serves(server)
        authority = ["--cacert", str(certificate / "client.pem")]
        url = f"https://{HOST}:{tls}/sse"
        curl = ["curl", "-sN", "--max-time", "60", *authority, url]
        with subprocess.Popen(curl, stdout=subprocess.PIPE) as stream:
            assert stream.stdout is not None
            assert stream.stdout.readline() == b"event: endpoint\r\n"
            stream.kill()

        call(server.url, "write_file", {"path": "x.txt", "content": "hello"})
        assert (project / "workspace/x.txt").read_text() == "hello"
        for folder in ("/", "/app", "/usr/local/bin"):
            touch = server.execute("touch", f"{folder}/x", user="0", check=False)
            assert "Read-only file system" in touch.stderr
        chown = server.execute("chown", "1000", "/tmp", user="0", check=False)
        assert "Operation not permitted" in chown.stderr
        status = server.execute("grep", "NoNewPrivs", "/proc/1/status").stdout
        assert status.split() == ["NoNewPrivs:", "1"]

        # What a model can be talked into, and the server goes on after each.
        memory = {"command": ["python3", "-c", "bytearray(400 << 20)"]}
        assert "exit status -9" in call(server.url, "run_command", memory)
        forks = call(server.url, "run_command", {"command": ["python3", "-c", FORKS]})
        assert re.match(r"\d\d: Resource temporarily unavailable", forks)
        assert int(server.execute("python", "-c", THROTTLED).stdout) > 0
        assert server.execute("true").returncode == 0
        assert serves(server)
    finally:
        up.set()
        docker.command(*compose, "logs", cwd=project, check=False)
        down = docker.command(*compose, "down", "--timeout", "10", cwd=project, check=False)
    assert down.returncode == 0
