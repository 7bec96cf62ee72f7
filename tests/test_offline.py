"""`workshop doctor --offline`, where there is no network: a ready machine, and an empty one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import mini_course
from tests.parts import require
from workshop.course import ROOT, Course
from workshop.offline import NODE_CLIENT, inspector, node_client, python_packages

CLOSED = "http://127.0.0.1:9"  # nobody listens on the port for what is thrown away


def without_network(command: list[str]) -> list[str]:
    """The command in a network namespace with nothing in it, where that is allowed."""
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and not subprocess.run(
                [*unshare, "true"], capture_output=True, check=False
            ).returncode
        ):
            return [*unshare, *command]
    return command


def doctor(**env: str) -> subprocess.CompletedProcess[str]:
    """`workshop doctor --offline` without a network: no interface, or at least no way out."""
    proxies = {name: CLOSED for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    return subprocess.run(
        without_network([sys.executable, "-m", "workshop.cli", "doctor", "--offline"]),
        cwd=ROOT,
        env={**os.environ, **proxies, "npm_config_registry": CLOSED, **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture
def tmp_course(tmp_path: Path) -> Course:
    """A course with lesson 06 and the real pyproject.toml, where nothing is installed."""
    root = tmp_path / "course"
    mini_course.build(root)
    manifest = root / "lessons" / "lessons.toml"
    sixth = mini_course.MANIFEST.partition("[[lesson]]")[2].partition("[[lesson]]")[0]
    sixth = sixth.replace("01_greeting", "06_sdk_server")
    manifest.write_text(f"{mini_course.MANIFEST}\n[[lesson]]{sixth}", encoding="utf-8")
    shutil.copy(ROOT / "lessons" / "06_sdk_server.md", root / "lessons")
    shutil.copy(ROOT / "pyproject.toml", root)
    return Course.load(root)


def test_a_ready_machine_is_ready_without_a_network() -> None:
    require("npm")
    run = doctor()
    assert run.returncode == 0, run.stdout + run.stderr
    assert " packages installed" in run.stdout
    assert "Ready without the network" in run.stdout


def test_an_empty_machine_is_told_what_to_fetch(tmp_path: Path) -> None:
    require("npm")
    run = doctor(
        UV_PROJECT_ENVIRONMENT=str(tmp_path / "venv"),
        UV_CACHE_DIR=str(tmp_path / "uv"),
        npm_config_cache=str(tmp_path / "npm"),
    )
    assert run.returncode == 1, run.stdout
    assert "packages are missing." in run.stdout and "uv sync" in run.stdout
    assert "npx -y -p @modelcontextprotocol/inspector@" in run.stdout
    assert run.stdout.endswith("Not ready: Python.\n")


def test_without_uv_lock_uv_would_ask_the_network(tmp_course: Course) -> None:
    finding = python_packages(tmp_course)
    assert finding.state == "wrong" and "no uv.lock" in finding.said
    # A pyproject.toml that has changed since, as after `git pull`.
    (tmp_course.root / "uv.lock").write_text('version = 1\nrequires-python = ">=3.11"\n')
    assert python_packages(tmp_course).state == "wrong"


def test_without_uv_or_npm(
    tmp_course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert python_packages(tmp_course).get == (("anywhere", "pip install uv"),)
    for finding in (node_client(tmp_course), inspector(tmp_course)):
        assert finding.state == "missing" and "npm was not found" in finding.said


def test_the_node_client_is_there_when_npm_finds_its_packages(
    tmp_course: Course, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require("npm")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    folder = tmp_course.root / NODE_CLIENT
    folder.mkdir(parents=True)
    shutil.copy(ROOT / NODE_CLIENT / "package.json", folder)
    finding = node_client(tmp_course)
    assert finding.state == "missing"
    assert finding.get[-1][1] == f"npm install --prefix {NODE_CLIENT}"
    ((name, wanted),) = json.loads((folder / "package.json").read_text())[
        "dependencies"
    ].items()
    installed = folder / "node_modules" / name
    installed.mkdir(parents=True)
    package = {"name": name, "version": wanted.lstrip("^")}
    (installed / "package.json").write_text(json.dumps(package), encoding="utf-8")
    assert node_client(tmp_course).state == "there"
    package["version"] = "0.0.1"
    (installed / "package.json").write_text(json.dumps(package), encoding="utf-8")
    assert node_client(tmp_course).state == "missing", "too old"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine with one package: a little Inspector. Its URL."""
    npm = require("npm")
    version = inspector(Course.load()).get[0][1].split("@")[-1].split()[0]
    name = "@modelcontextprotocol/inspector"
    source = tmp_path / "inspector"
    source.mkdir()
    package: dict[str, object] = {"name": name, "version": version, "bin": "cli.js"}
    (source / "package.json").write_text(json.dumps(package), encoding="utf-8")
    (source / "cli.js").write_text("#!/usr/bin/env node\n", encoding="utf-8")
    packed = subprocess.run(
        [npm, "pack", "--silent"], cwd=source, capture_output=True, text=True, check=True
    )
    tarball = (source / packed.stdout.strip()).read_bytes()
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".tgz"):
                body = tarball
            else:
                url = f"http://127.0.0.1:{server.server_port}/inspector.tgz"
                one = {**package, "dist": {"tarball": url, "integrity": f"sha512-{digest}"}}
                body = json.dumps(
                    {"name": name, "dist-tags": {"latest": version}, "versions": {version: one}}
                ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_inspector_is_there_after_the_command_that_is_said(
    tmp_course: Course, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_registry", registry)
    # Even where the registry could be asked, the doctor does not.
    before = inspector(tmp_course)
    assert before.state == "missing"
    subprocess.run(shlex.split(before.get[0][1]), check=True, capture_output=True)
    assert inspector(tmp_course).state == "there"
    run = doctor(npm_config_cache=str(tmp_path / "npm"), npm_config_registry=registry)
    assert "Inspector       downloaded, for lesson 06" in run.stdout, run.stdout
