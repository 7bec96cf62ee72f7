"""Lesson 11's cloud in a box: every published limit cuts, and what beats it."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import importlib
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from tests.folder_modules import modules_in
from workshop.course import ROOT
from workshop.running import HOST, free_port, running

FOLDER = ROOT / "scripts/11_docker/cloud"
BOX = FOLDER / "cloud_box.py"

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
GET = b"GET /sse?session_id=SECRET HTTP/1.1\r\nHost: box\r\nConnection: keep-alive\r\n\r\n"
EVENT = b"9\r\ndata: x\n\n\r\n"
SOON = 10.0  # seconds


limits, cloud_box = modules_in(FOLDER, ("cloud_limits", "cloud_box")).values()
PROFILES: dict[str, Any] = limits.load_profiles()

# (platform, kind of limit) -> seconds, as the issue and the notes have them.
PUBLISHED = {
    ("heroku", "first_byte"): 30,
    ("heroku", "idle"): 55,
    ("fly", "idle"): 60,
    ("railway", "idle"): 300,
    ("railway", "duration"): 900,
    ("cloudrun", "duration"): 300,
    ("alb", "idle"): 60,
    ("cloudflare", "idle"): 120,
    ("vercel", "duration"): 300,
}
# What comes when a server never answers: how the platform says it.
NO_ANSWER = {
    "heroku": 503,
    "fly": 504,
    "railway": 504,
    "cloudrun": 504,
    "alb": 504,
    "cloudflare": 524,
    "vercel": 504,
}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Place:
    """A box in front of an origin: the box's port, and what it has reported."""

    port: int
    cuts: list[Any]

    async def ask(
        self, request: bytes = GET
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(request)
        return reader, writer


@asynccontextmanager
async def origin(handler: Handler) -> AsyncIterator[int]:
    """A server that reads the head of a request and leaves the rest to `handler`: its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def boxed(profile: Any, handler: Handler, *, speed: float) -> AsyncIterator[Place]:
    cuts: list[Any] = []
    async with origin(handler) as port:
        box = cloud_box.CloudBox(profile, [(HOST, port)], speed, cuts.append)
        yield Place(await box.start(), cuts)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One event, and nothing more."""
    writer.write(HEAD + EVENT)
    await asyncio.Event().wait()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No answer at all."""
    await asyncio.Event().wait()


async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An event every 20 ms."""
    writer.write(HEAD)
    while True:
        writer.write(EVENT)
        await writer.drain()
        await asyncio.sleep(0.02)


async def read_to_end(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """All that comes, and how it ended: "reset" or "close"."""
    got = b""
    async with asyncio.timeout(SOON):
        while True:
            try:
                chunk = await reader.read(65_536)
            except ConnectionResetError:
                return got, "reset"
            if not chunk:
                return got, "close"
            got += chunk


# --- The profiles ---------------------------------------------------------------------------


def complaints(profiles: Any) -> list[str]:
    from jsonschema import Draft202012Validator, FormatChecker

    schema = json.loads((FOLDER / "profiles.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(profiles)]


def test_the_profiles_are_valid_and_say_what_is_published() -> None:
    read = json.loads((FOLDER / "profiles.json").read_text("utf-8"))
    assert complaints(read) == []
    found = {
        (name, limit.kind): limit.seconds
        for name, profile in PROFILES.items()
        for limit in profile.limits
    }
    assert found == PUBLISHED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source", "devcenter.heroku.com"),
        ("read", "yesterday"),
        ("kind", "mood"),
        ("counts", None),
        ("end", "explode"),
        ("seconds", 0),
        ("seconds", None),
        ("status", 200),
        ("by", None),
    ],
)
def test_the_schema_refuses_what_makes_no_sense(path: str, value: Any) -> None:
    broken = copy.deepcopy(json.loads((FOLDER / "profiles.json").read_text("utf-8")))
    limit = broken["profiles"]["heroku"]["limits"][1]
    if value is None:
        del limit[path]
    else:
        limit[path] = value
    assert complaints(broken)


# --- Every limit cuts -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), PUBLISHED)
async def test_each_limit_cuts_when_it_is_due_and_not_before(name: str, kind: str) -> None:
    due = 0.4  # seconds here, for each of them
    speed = PUBLISHED[name, kind] / due
    limit = next(limit for limit in PROFILES[name].limits if limit.kind == kind)
    handler = {"first_byte": never, "idle": silent, "duration": chatty}[kind]
    async with boxed(PROFILES[name], handler, speed=speed) as place:
        began = time.monotonic()
        reader, writer = await place.ask()
        got, how = await read_to_end(reader)
        took = time.monotonic() - began
        writer.close()

    (cut,) = place.cuts
    assert cut.limit == limit
    assert due <= took < due + 5
    assert due <= cut.seconds <= took
    if kind == "first_byte":
        assert got.startswith(f"HTTP/1.1 {limit.status} ".encode())
    else:
        assert got.startswith(HEAD + EVENT)
        # Only an end in the middle: a client can tell that there was more to come.
        assert not got.endswith(b"0\r\n\r\n")
        assert how == limit.end


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_server_that_never_answers_is_given_up_as_the_platform_says(
    method: str,
) -> None:
    request = f"{method} /message HTTP/1.1\r\nHost: box\r\nContent-Length: 2\r\n\r\n{{}}"

    async def give_up(name: str) -> int:
        async with boxed(PROFILES[name], never, speed=600) as place:
            reader, writer = await place.ask(request.encode())
            got, _ = await read_to_end(reader)
            writer.close()
            assert [cut.answered for cut in place.cuts] == [False]
            return int(got.split()[1])

    statuses = await asyncio.gather(*map(give_up, NO_ANSWER))
    assert dict(zip(NO_ANSWER, statuses, strict=True)) == NO_ANSWER


@pytest.mark.parametrize(("name", "is_cut"), [("heroku", False), ("cloudflare", True)])
async def test_whose_bytes_start_an_idle_limit_again(name: str, is_cut: bool) -> None:
    async def answers_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + EVENT)
        await reader.readexactly(1_000_000)

    due = 0.5
    seconds = next(limit.seconds for limit in PROFILES[name].limits if limit.kind == "idle")
    async with boxed(PROFILES[name], answers_early, speed=seconds / due) as place:
        _, writer = await place.ask(
            b"POST /upload HTTP/1.1\r\nHost: box\r\nContent-Length: 1000000\r\n\r\n"
        )
        began = time.monotonic()
        while not place.cuts and time.monotonic() < began + 3 * due:
            writer.write(b"x")
            await asyncio.sleep(due / 20)
        writer.close()
        assert bool(place.cuts) == is_cut


async def test_a_reader_that_takes_nothing_is_cut_as_well() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    async with boxed(PROFILES["vercel"], flood, speed=600) as place:
        # Nobody reads: what asyncio holds for a reader is soon full.
        _, writer = await place.ask()
        async with asyncio.timeout(SOON):
            while not place.cuts or held(place.port):  # noqa: ASYNC110 - it gives no signal
                await asyncio.sleep(0.01)
        writer.close()


def held(port: int) -> int:
    """How many connections this process has as a server on that port."""
    import psutil

    connections = psutil.Process().net_connections("tcp")
    return sum(each.laddr.port == port and bool(each.raddr) for each in connections)


# --- What passes ----------------------------------------------------------------------------


async def test_each_byte_passes_before_the_next_is_made() -> None:
    arrived = asyncio.Queue[None]()

    async def one_by_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for byte in EVENT:
            writer.write(bytes([byte]))
            await arrived.get()
        writer.write(b"0\r\n\r\n")

    async with boxed(PROFILES["alb"], one_by_one, speed=0.1) as place:
        reader, writer = await place.ask()
        async with asyncio.timeout(SOON):
            assert await reader.readexactly(len(HEAD)) == HEAD
            for byte in EVENT:
                assert await reader.readexactly(1) == bytes([byte])
                arrived.put_nowait(None)
            assert await reader.read() == b"0\r\n\r\n"
        writer.close()
    assert not place.cuts


async def test_a_client_that_leaves_takes_its_stream_with_it() -> None:
    gone = asyncio.Event()

    async def until_it_is_gone(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(HEAD + EVENT)
        try:
            await reader.read()
        finally:
            gone.set()

    async with boxed(PROFILES["alb"], until_it_is_gone, speed=0.1) as place:
        reader, writer = await place.ask()
        await reader.readexactly(len(HEAD + EVENT))
        writer.close()
        async with asyncio.timeout(SOON):
            await gone.wait()


async def test_an_answer_passes_while_the_body_is_still_coming() -> None:
    refusal = b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # As lesson 05's door does it: answer first, and read on for a moment.
        writer.write(refusal)
        await reader.readexactly(500_000)

    async with boxed(PROFILES["alb"], refuse, speed=0.1) as place:
        reader, writer = await place.ask(
            b"POST /message HTTP/1.1\r\nHost: box\r\nContent-Length: 99999999\r\n\r\n"
        )
        writer.write(b"x" * 500_000)
        async with asyncio.timeout(SOON):
            assert await reader.readexactly(len(refusal)) == refusal
        writer.close()


async def test_fifty_streams_at_once_get_everything_and_are_all_cut() -> None:
    open_now = 0
    all_open = asyncio.Event()

    async def when_all_are_open(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal open_now
        writer.write(HEAD)
        open_now += 1
        if open_now == 50:
            all_open.set()
        await all_open.wait()
        writer.write(EVENT)
        await asyncio.Event().wait()

    # A minute's limit takes two seconds: opening fifty must not take that long.
    async with boxed(PROFILES["alb"], when_all_are_open, speed=30) as place:
        asked = [await place.ask() for _ in range(50)]
        ends = await asyncio.gather(*(read_to_end(reader) for reader, _ in asked))
        for _, writer in asked:
            writer.close()
    assert ends == [(HEAD + EVENT, "close")] * 50
    assert len(place.cuts) == 50


async def test_a_heartbeat_beats_an_idle_limit_and_no_other() -> None:
    """Heartbeats at a quarter of the limit, for three times the limit."""
    due = 1.0

    async def beating(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _ in range(12):
            writer.write(b"3\r\n:\n\n\r\n")
            await asyncio.sleep(due / 4)
        writer.write(b"0\r\n\r\n")

    async def reached_its_end(name: str, kind: str) -> bool:
        only = [limit for limit in PROFILES[name].limits if limit.kind == kind]
        profile = replace(PROFILES[name], limits=tuple(only))
        async with boxed(profile, beating, speed=only[0].seconds / due) as place:
            reader, writer = await place.ask()
            got, _ = await read_to_end(reader)
            writer.close()
            return got.endswith(b"0\r\n\r\n")

    timed = [case for case in PUBLISHED if case[1] != "first_byte"]
    ends = await asyncio.gather(*(reached_its_end(*case) for case in timed))
    assert dict(zip(timed, ends, strict=True)) == {case: case[1] == "idle" for case in timed}


# --- The program ----------------------------------------------------------------------------


def run(*arguments: str, program: Path = BOX) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=150,  # the lab on a busy machine
        check=False,
    )


def test_what_makes_no_sense_is_refused_with_a_reason() -> None:
    unknown = run("--profile", "skynet", "--target", "http://127.0.0.1:1")
    assert unknown.returncode == 2
    assert all(name in unknown.stderr for name in PROFILES)
    no_url = run("--profile", "alb", "--target", "127.0.0.1:8000")
    assert "--target must be a URL, such as http://127.0.0.1:8000" in no_url.stderr
    slow = run("--profile", "alb", "--target", "http://127.0.0.1:1", "--speed", "0")
    assert "--speed must be a number above 0" in slow.stderr


async def test_the_program_prints_a_line_for_each_cut_and_says_what_is_wrong() -> None:
    async with origin(silent) as one, origin(never) as two:
        targets = [f"http://{HOST}:{port}" for port in (one, two, free_port())]
        arguments = [word for target in targets for word in ("--target", target)]
        with running(BOX, "--profile", "fly", "--speed", "120", *arguments) as box:
            place = Place(box.port, [])
            reader, _ = await place.ask()
            assert await read_to_end(reader) == (HEAD + EVENT, "reset")
            reader, _ = await place.ask()
            got, _ = await read_to_end(reader)
            assert got.startswith(b"HTTP/1.1 504 ")
            reader, _ = await place.ask()
            got, _ = await read_to_end(reader)
            assert got.startswith(b"HTTP/1.1 502 ")
            assert targets[2].encode() in got
            reader, _ = await place.ask(b"hello\r\n\r\n")
            got, _ = await read_to_end(reader)
            assert got.startswith(b"HTTP/1.1 400 ")
            again = run("--profile", "fly", "--target", targets[0], "--port", str(box.port))
            output = box.output
    assert f"Can't listen on {HOST}:{box.port}" in again.stderr
    assert "--port 8112" in again.stderr
    cuts = re.findall(r"GET /sse: cut after (\S+) s \((\S+) s here\), idle 60 s: (.*)", output)
    assert [did for _, _, did in cuts] == ["connection reset", "504"]
    for there, here, _ in cuts:
        assert float(there) >= 60
        assert float(there) == pytest.approx(120 * float(here), abs=1)
    assert "SECRET" not in output


# --- The lab --------------------------------------------------------------------------------


@pytest.mark.long
def test_a_heartbeat_beats_idle_limits_and_coming_back_beats_them_all() -> None:
    """The lesson's table, from the real servers of lessons 03 and 05."""
    lab = run(program=FOLDER / "cloud_lab.py")
    assert lab.returncode == 0, lab.stderr
    lines = lab.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines[2:9]}
    assert set(rows) == set(PROFILES)
    for name, row in rows.items():
        found = re.fullmatch(
            r"\w+ +cut at (\d+) s, POST 404 +(open, POST 202|cut at (\d+) s, POST 404)"
            r" +cut (\d+)×, 0 of (\d+) lost",
            row,
        )
        assert found, row
        of_kind = {limit.kind: limit.seconds for limit in PROFILES[name].limits}
        first = min(of_kind[kind] for kind in ("idle", "duration") if kind in of_kind)
        assert first <= int(found[1]) < 3 * first
        # A heartbeat leaves only the limit on duration, where there is one.
        assert (found[3] is not None) == ("duration" in of_kind), row
        if found[3] is not None:
            assert of_kind["duration"] <= int(found[3])
        assert int(found[4]) >= 1
        assert int(found[5]) == int(found[4]) + 6  # one for each cut, and the regular ones
    alone, two = lines[-2:]
    assert re.fullmatch(r"1 +200 +202 Accepted", alone)
    assert re.fullmatch(r"2 +200 +404 No such session: open GET /sse again", two)


def test_the_lab_says_what_it_needs(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "11_docker/cloud")
    lab = run(program=tmp_path / "11_docker/cloud/cloud_lab.py")
    assert lab.returncode == 1
    assert "The lab needs the folders of lessons 03 and 05." in lab.stderr


# --- The manifests --------------------------------------------------------------------------
# Railway's and Fly's own schemas are on their sites only; Cloud Run's is its API's. Ours in
# tests/schemas are written from their documentation. For Kubernetes, `lightkube-models` has
# the classes made from Kubernetes' published OpenAPI schema.


def against(schema: str, value: Any) -> list[str]:
    from jsonschema import Draft202012Validator

    text = (ROOT / "tests/schemas" / schema).read_text("utf-8")
    return [
        error.message for error in Draft202012Validator(json.loads(text)).iter_errors(value)
    ]


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name).read_text("utf-8"))


def yaml_documents(name: str) -> list[Any]:
    import yaml

    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def kubernetes_model(group: str, kind: str) -> Any:
    """A class of Kubernetes' schema, such as apps_v1.Deployment."""
    # The package expects its client library, of which it needs no more than this.
    needs = ModuleType("lightkube.core.schema")
    vars(needs).update(
        dataclass=dataclasses.dataclass, field=dataclasses.field, DictMixin=object
    )
    sys.modules.setdefault("lightkube.core.schema", needs)
    return getattr(importlib.import_module(f"lightkube.models.{group}"), kind)


def wrong(value: Any, kind: Any, where: str) -> list[str]:
    """What is not as Kubernetes' schema has it: unknown and missing names, other types."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            return [f"{where}: not an object"]
        hints = get_type_hints(kind)
        fields = {field.metadata.get("json", field.name): field for field in fields_of(kind)}
        problems = [f"{where}: unknown {name}" for name in value if name not in fields]
        for name, field in fields.items():
            if name in value:
                problems += wrong(value[name], hints[field.name], f"{where}.{name}")
            elif field.default is field.default_factory is dataclasses.MISSING:
                problems.append(f"{where}: no {name}")
        return problems
    kinds = [each for each in get_args(kind) if each is not NoneType]
    if get_origin(kind) is Union:
        each_way = [wrong(value, each, where) for each in kinds]
        return min(each_way, key=len)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [
            w for i, each in enumerate(value) for w in wrong(each, kinds[0], f"{where}[{i}]")
        ]
    if kind is dict:  # of strings, wherever we use one
        strings = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        return [] if strings else [f"{where}: not an object of strings"]
    return [] if type(value) is kind else [f"{where}: not {kind}"]


MODELS = {
    "Deployment": ("apps_v1", "apps/v1"),
    "Service": ("core_v1", "v1"),
    "Ingress": ("networking_v1", "networking.k8s.io/v1"),
}


def kubernetes_complaints(document: Any) -> list[str]:
    group, version = MODELS[document["kind"]]
    model = kubernetes_model(group, document["kind"])
    said = [] if document["apiVersion"] == version else [f"apiVersion is {version}"]
    return said + wrong(document, model, document["kind"])


def test_the_manifests_are_valid() -> None:
    assert against("railway.json", toml("railway.toml")) == []
    assert against("fly.json", toml("fly.toml")) == []
    (service,) = yaml_documents("service.yaml")
    assert against("cloudrun.json", service) == []
    container = kubernetes_model("core_v1", "Container")
    for each in service["spec"]["template"]["spec"]["containers"]:
        # There, the platform gives a container without a name one.
        assert wrong({"name": "server", **each}, container, "container") == []
    documents = yaml_documents("kubernetes.yaml")
    assert [document["kind"] for document in documents] == list(MODELS)
    assert [kubernetes_complaints(document) for document in documents] == [[], [], []]


def test_these_validations_can_fail() -> None:
    railway, fly = toml("railway.toml"), toml("fly.toml")
    railway["deploy"]["drainSeconds"] = 10
    fly["http_service"]["http_options"]["idle_timeout"] = "10m"
    assert len(against("railway.json", railway)) == 1
    assert len(against("fly.json", fly)) == 1
    (service,) = yaml_documents("service.yaml")
    service["spec"]["template"]["spec"]["timeoutSeconds"] = 7200
    assert len(against("cloudrun.json", service)) == 1

    deployment, _, ingress = yaml_documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")
    pod["containers"][0]["ports"][0]["containerPort"] = "8081"
    del deployment["spec"]["selector"]
    ingress["metadata"]["annotations"]["nginx.org/proxy-read-timeout"] = 3600
    assert sorted(kubernetes_complaints(deployment)) == [
        "Deployment.spec.template.spec.containers[0].ports[0].containerPort: not <class 'int'>",
        "Deployment.spec.template.spec: unknown terminationGracePeriod",
        "Deployment.spec: no selector",
    ]
    assert kubernetes_complaints(ingress) == [
        "Ingress.metadata.annotations: not an object of strings"
    ]


def test_the_manifests_fit_the_image_and_each_other() -> None:
    """Its port, its user, its workspace, one instance, and the names that it must know."""
    fly = toml("fly.toml")
    assert fly["http_service"]["internal_port"] == fly["checks"]["listens"]["port"] == 8081
    assert fly["env"]["ALLOWED_HOSTS"] == f"{fly['app']}.fly.dev"
    (cloudrun,) = yaml_documents("service.yaml")
    template = cloudrun["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/maxScale"] == "1"
    assert template["spec"]["containers"][0]["ports"] == [{"containerPort": 8081}]

    deployment, service, ingress = yaml_documents("kubernetes.yaml")
    assert deployment["spec"]["replicas"] == 1
    pod = deployment["spec"]["template"]
    (server,) = pod["spec"]["containers"]
    assert pod["metadata"]["labels"] == service["spec"]["selector"]
    assert pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert server["ports"] == [{"name": "http", "containerPort": 8081}]
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert {mount["mountPath"] for mount in server["volumeMounts"]} == {"/workspace", "/tmp"}
    assert {mount["name"] for mount in server["volumeMounts"]} == {
        volume["name"] for volume in pod["spec"]["volumes"]
    }
    (rule,) = ingress["spec"]["rules"]
    assert server["env"] == [{"name": "ALLOWED_HOSTS", "value": rule["host"]}]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": service["metadata"]["name"], "port": {"name": "http"}}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("railway.toml", "drainingSeconds = 10"),
        ("fly.toml", "idle_timeout = 600"),
        ("service.yaml", "timeoutSeconds: 3600"),
        ("kubernetes.yaml", "nginx.org/proxy-read-timeout: 1h"),
    ],
)
def test_each_manifest_says_which_line_is_for_streams(name: str, line: str) -> None:
    lines = [each.strip() for each in (FOLDER / name).read_text("utf-8").splitlines()]
    (marked,) = (i for i, each in enumerate(lines) if "line for streams" in each)
    following = next(each for each in lines[marked:] if not each.startswith("#"))
    assert following == line
