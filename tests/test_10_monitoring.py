"""Lesson 10's monitoring as code: each file is valid, and each query finds what it is for.

A real Prometheus reads the metrics of the real server meanwhile.
"""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observed_parts import OBSERVED, drop_a_reader
from tests.parts import require
from workshop.checks.mcp_session import handshake, request
from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.running import HOST, Program, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/10_observability/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana/dashboard.json").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))

QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES["groups"][0]["rules"]}
# No request makes the server leak a session. rules_test.yml shows that the alert would come.
NEVER = {"SessionsLeak"}


# --- The files ----------------------------------------------------------------------------


def test_the_compose_file_is_valid() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    schema = [checker, "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml"]
    checked = subprocess.run(schema, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_nobody_else_can_reach_what_it_starts() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert sorted(ports) == ["127.0.0.1:3010:3000", "127.0.0.1:9090:9090"]
    grafana = COMPOSE["services"]["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert not [name for name in grafana if "PASSWORD" in name]


def test_each_file_that_it_mounts_is_there_and_each_is_mounted() -> None:
    mounted = {
        volume.split(":")[0].removeprefix("./")
        for service in COMPOSE["services"].values()
        for volume in service["volumes"]
    }
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert mounted == files - {"compose.yaml", "rules_test.yml"}


def test_the_dashboard_is_whole() -> None:
    """What Grafana needs to draw it: a source that there is, and a place for each panel."""
    source = yaml.safe_load((FOLDER / "grafana/datasource.yaml").read_text(encoding="utf-8"))
    [datasource] = source["datasources"]
    assert datasource["url"] == "http://prometheus:9090"  # the service's name, and its port
    assert datasource["jsonData"]["timeInterval"] == CONFIG["global"]["scrape_interval"]
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": datasource["uid"]}
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another one"
        taken |= cells
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(require("prometheus")).with_name("promtool")
    return subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True)


def test_prometheus_can_read_its_configuration() -> None:
    checked = promtool("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout


def test_each_alert_comes_when_it_should_and_only_then() -> None:
    cases = yaml.safe_load((FOLDER / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    tried = {each["alertname"] for case in cases for each in case["alert_rule_test"]}
    assert tried == set(ALERTS)
    tested = promtool("test", "rules", "rules_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


# --- With the server, and a Prometheus that reads it --------------------------------------


@dataclass(frozen=True)
class Monitored:
    """A server at work, and the Prometheus that asks it."""

    server: Program
    url: str  # of Prometheus

    def query(self, expression: str) -> list[float]:
        """The values that it has now. "Not a number" is what nothing was divided by nothing."""
        # Grafana puts in at least four times the time between two scrapes.
        expression = expression.replace("$__rate_interval", "10s")
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=5) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        values = [float(each["value"][1]) for each in said["data"]["result"]]
        return [value for value in values if not math.isnan(value)]


def until(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus with the lesson's rules and configuration, but for times and the target."""
    config = {
        **CONFIG,
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(FOLDER / "rules.yml")],
    }
    # And one where nobody listens.
    targets = [target, f"{HOST}:{free_port()}"]
    config["scrape_configs"] = [
        {**CONFIG["scrape_configs"][0], "static_configs": [{"targets": targets}]}
    ]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    url = f"http://{HOST}:{free_port()}"
    process = subprocess.Popen(
        [
            require("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=warn",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "printed").open("w"),
    )

    def is_ready() -> bool:
        assert process.poll() is None, (folder / "printed").read_text(encoding="utf-8")
        try:
            return urllib.request.urlopen(f"{url}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    try:
        until(is_ready, "Prometheus was never ready")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Client:
    """A session, and the calls of it that the test wants."""

    def __init__(self, program: Program, stack: ExitStack) -> None:
        self.server = Server(program.url, program)
        self.stream = stack.enter_context(self.server.open("/sse"))
        assert self.stream.wait(lambda stream: len(stream.events) >= 1)
        self.endpoint = self.stream.events[0].data
        self.send("initialize", handshake())

    def send(self, method: str, params: dict[str, Any]) -> None:
        answer = self.server.post_json(self.endpoint, request(1, method, params))
        assert answer.status == 202

    def call(self, tool: str, **arguments: Any) -> None:
        self.send("tools/call", {"name": tool, "arguments": arguments})


def hold_up(program: Program, seconds: float) -> None:
    """Meanwhile the server does nothing, as if a tool blocked its event loop."""
    program.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        program.process.send_signal(signal.SIGCONT)


def allowed_hosts() -> str:
    """What compose.yaml tells people to set."""
    [value] = re.findall(
        r"ALLOWED_HOSTS=(\S+) uv run", (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    )
    return value


@contextmanager
def monitored(folder: Path) -> Iterator[Monitored]:
    """Everything that there is a query for happens, again and again, while the test asks."""
    over = threading.Event()
    with running(OBSERVED, env={"HEARTBEAT_SECONDS": "0.2"}) as program, ExitStack() as stack:
        url = stack.enter_context(prometheus(folder, f"{HOST}:{program.port}"))
        found = Monitored(program, url)
        # A series has to be there before anything happens: a rate is between two scrapes.
        until(lambda: bool(found.query("up == 1")), "Prometheus never reached the server")
        stays = Client(program, stack)
        drop_a_reader(program)
        failed: list[BaseException] = []

        def work() -> None:
            try:
                while not over.wait(0.3):
                    with ExitStack() as short:
                        client = Client(program, short)
                        client.call("add", a=20, b=22)
                        stays.call("wait", seconds=1.2)
                        stays.call("fail")
                    hold_up(program, 0.4)
            except BaseException as error:
                failed.append(error)

        working = threading.Thread(target=work)
        working.start()
        try:
            yield found
        finally:
            over.set()
            working.join()
        assert not failed, failed


def test_each_query_finds_what_it_is_for(tmp_path: Path) -> None:
    """Each line of the dashboard, and each alert, with the server that does what they show."""
    wanted = QUERIES | {name: query for name, query in ALERTS.items() if name not in NEVER}
    with monitored(tmp_path) as found:
        for name, query in wanted.items():
            until(lambda query=query: found.query(query) != [], f"Nothing for {name}: {query}")
        # Asked at once, they are always as many.
        assert found.query("count(mcp_sessions) + count(mcp_streams_active)") == [2]
        assert found.query(ALERTS["SessionsLeak"]) == []


def test_the_server_has_what_is_asked_for_and_answers_by_the_name_that_containers_use() -> None:
    """Also where there is no Prometheus. In Docker, the host's name is another."""
    [target] = CONFIG["scrape_configs"][0]["static_configs"][0]["targets"]
    [extra] = COMPOSE["services"]["prometheus"]["extra_hosts"]
    assert extra == f"{target.split(':')[0]}:host-gateway"
    with (
        running(OBSERVED, env={"ALLOWED_HOSTS": allowed_hosts()}) as program,
        ExitStack() as stack,
    ):
        client = Client(program, stack)
        client.call("add", a=20, b=22)
        assert client.stream.wait(lambda stream: b'"42"' in stream.raw)
        elsewhere = client.server.request("GET", "/metrics", headers={"Host": "else:8010"})
        answer = client.server.request("GET", "/metrics", headers={"Host": target})
    assert (elsewhere.status, answer.status) == (421, 200)
    there = set(re.findall(r"^(\w+)[ {]", answer.body.decode(), re.M))
    queries = " ".join((*QUERIES.values(), *ALERTS.values()))
    assert set(re.findall(r"\b(?:mcp|http|process)_\w+", queries)) <= there
