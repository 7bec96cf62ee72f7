"""Lesson 10: what clients and the environment say is in no log, no metric and no span."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.folder_modules import edited_copy
from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.raw_stream import Stream
from workshop.running import HOST, running

pytestmark = pytest.mark.usefixtures("warm")

FOLDER = ROOT / "scripts/10_observability"
INITIALIZE = {"protocolVersion": "2024-11-05", "capabilities": {}}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


# --- What is planted, and how it is found -------------------------------------------------


class Planted:
    """A secret for each place. It is made when it is first asked for."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {"tool's exception": "hunter2"}

    def __getitem__(self, place: str) -> str:
        return self.of.setdefault(place, secrets.token_hex(12))

    def seen_in(self, text: str) -> set[str]:
        """The places whose secret is there, plain or as programs write it."""
        lower = text.lower()
        return {
            place
            for place, secret in self.of.items()
            if secret.lower() in lower or any(form in text for form in encoded(secret))
        }


def encoded(secret: str) -> set[str]:
    """In base64, at each place in three bytes, in hex, and in a URL."""
    forms = {quote(secret, safe=""), secret.encode().hex()}
    for before in range(3):
        whole = base64.b64encode(b"." * before + secret.encode()).decode()
        # The first and the last characters depend on what stands beside them.
        forms.add(whole[4 if before else 0 : -4])
    return forms


@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_a_secret_is_seen_in_every_form(before: str) -> None:
    planted = Planted()
    secret = planted["place"]
    in_base64 = base64.b64encode(f"{before}{secret} and more".encode()).decode()
    for text in (secret, secret.upper(), quote(secret), secret.encode().hex(), in_base64):
        assert planted.seen_in(f"GET /{text}!") == {"place"}
    assert not planted.seen_in("GET /" + secrets.token_hex(12))


# --- Where spans go -----------------------------------------------------------------------


@dataclass
class Collector:
    """An OTLP receiver: it keeps what comes."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(str(request) for request in self.requests)


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            collector.headers.append(dict(self.headers.items()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    receiver = ThreadingHTTPServer((HOST, 0), Handler)
    collector = Collector(f"http://{HOST}:{receiver.server_port}")
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


# --- A client that says secrets everywhere -------------------------------------------------


def say(server: Server, head: str, body: str = "", headers: str = "", host: str = "") -> bytes:
    """Send a request as it is written here, and read the whole answer."""
    port = int(server.url.rpartition(":")[2])
    length = f"Content-Length: {len(body.encode())}\r\n" if body else ""
    kind = "Content-Type: application/json\r\n" if body else ""
    request = (
        f"{head} HTTP/1.1\r\nHost: {host or f'{HOST}:{port}'}\r\nConnection: close\r\n"
        f"{kind}{length}{headers}\r\n{body}"
    )
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def speak(server: Server, planted: Planted) -> None:
    """Everything that a client can say, and a server might repeat."""
    for name in (
        "Authorization",
        "Cookie",
        "X-Api-Key",
        "User-Agent",
        "traceparent",
        "baggage",
    ):
        say(server, "GET /health", headers=f"{name}: Bearer {planted[f'header {name}']}\r\n")
    say(server, "GET /health", host=planted["Host"])
    say(server, "GET /health", headers=f"Origin: http://{planted['Origin']}\r\n")
    say(server, f"GET /{planted['path']}/sse")
    say(server, f"GET /health?token={planted['query']}")
    say(server, f"{planted['HTTP method'].upper()} /health")
    say(server, f"GET {planted['broken request']} \x01 /")
    say(server, f"POST /message?session_id={planted['unknown session']}", "{}")
    with server.open(f"/sse?token={planted['query of the stream']}") as stream:
        assert stream.wait(lambda stream: len(stream.events) == 2)
        endpoint = stream.events[0].data
        planted.of["session id"] = endpoint.partition("=")[2]
        expected = 0
        for expected, message in enumerate(messages(planted), start=1):
            post(server, endpoint, message)
            wait_for_replies(stream, expected)
        say(server, f"POST {endpoint}", f'{{"token": "{planted["malformed body"]}"')
        post(server, endpoint, {"method": planted["notification"]})
        post(server, endpoint, {"id": 1, "result": planted["response"]})


def post(server: Server, endpoint: str, message: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0"} | message)
    say(server, f"POST {endpoint}", body)


def wait_for_replies(stream: Stream, count: int) -> None:
    assert stream.wait(lambda stream: len(stream.events) == count + 2)


def messages(planted: Planted) -> Iterator[dict[str, Any]]:
    """Requests: each gets a reply."""

    def call(name: str, arguments: Any, number: object = 1, **meta: Any) -> dict[str, Any]:
        params = {"name": name, "arguments": arguments, "_meta": meta}
        return {"id": number, "method": "tools/call", "params": params}

    client = {"name": planted["client's name"]}
    yield {"id": 1, "method": "initialize", "params": INITIALIZE | {"clientInfo": client}}
    yield {"id": 1, "method": planted["method"]}
    yield {"id": planted["request id"], "method": "ping"}
    yield call(planted["tool's name"], {})
    yield call("echo", {"message": planted["argument"]})
    yield call("echo", {planted["argument's name"]: 1})
    yield call("add", {"a": planted["argument of another type"], "b": 1})
    yield call("fail", {})
    yield call("echo", {"message": ""}, traceparent=planted["broken traceparent"])
    yield call("echo", {"message": ""}, traceparent={"a": planted["traceparent, an object"]})
    state = f"vendor={planted['tracestate']}"
    baggage = f"user={planted['baggage']}"
    yield call(
        "echo", {"message": ""}, traceparent=TRACEPARENT, tracestate=state, baggage=baggage
    )


@dataclass
class Found:
    """What could be read after all that was said, and which secrets are in it."""

    output: str
    metrics: str
    spans: str
    planted: Planted

    @property
    def leaks(self) -> set[str]:
        return self.planted.seen_in(self.output + self.metrics + self.spans)


def what_is_found(folder: Path, *, collector: bool) -> Found:
    planted = Planted()
    env = {"TRACES_PER_SECOND": "1000", "LOG_LEVEL": "debug", "SLOW_SECONDS": "0"}
    with collecting() as otlp:
        if collector:
            env |= {
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
                # The first is right. The other cannot be read, and a library says so.
                "OTEL_EXPORTER_OTLP_HEADERS": (
                    f"api-key={planted['collector key']},{planted['unreadable collector key']}"
                ),
            }
        with running(folder / "observed_server.py", env=env) as program:
            server = Server(program.url, program)
            speak(server, planted)
            metrics = server.request("GET", "/metrics").body.decode()
            program.stop()
    assert program.process.returncode == 0
    assert "Traceback" not in program.output, program.output
    if collector:
        assert otlp.headers[0]["api-key"] == planted["collector key"]
    return Found(program.output, metrics, otlp.text, planted)


# --- The proofs ---------------------------------------------------------------------------


@pytest.mark.parametrize("collector", [False, True], ids=["console", "collector"])
def test_no_secret_is_in_any_log_metric_or_span(collector: bool) -> None:
    found = what_is_found(FOLDER, collector=collector)
    assert len(found.planted.of) >= 27
    assert found.leaks == set()
    # And it was not silent: what happened is there, without what was in it.
    for event in ("stream opened", "call failed", "slow call", "stream closed"):
        assert f'"event": "{event}"' in found.output
    assert 'mcp_tool_seconds_count{outcome="-32602",tool="unknown"} 1.0' in found.metrics
    assert 'path="other",status="404"' in found.metrics
    spans = found.spans if collector else found.output
    assert "tools/call fail" in spans
    in_clients_trace = "\\n\\367e\\031\\026\\315C\\335\\204H\\353!\\034\\2001\\234"
    assert (in_clients_trace if collector else TRACEPARENT.split("-")[1]) in spans


# Each cure, what stands there without it, and what is then seen.
CURES = (
    ("sessions.py", "self.name = short_hash(self.id)", "self.name = self.id", "session id"),
    ("calls.py", 'name in TOOLS else "unknown"', 'name else "unknown"', "tool's name"),
    ("calls.py", 'message["method"] in METHODS else', 'message["method"] else', "method"),
    ("observe.py", "path if path in PATHS else", "path if path else", "path"),
    (
        "log.py",
        'event["error"] = type(error).__name__',
        'event["error"] = repr(error)',
        "tool's exception",
    ),
    (
        "log.py",
        'event["event"] = str(record.msg).partition("\\n")[0]',
        "pass",
        "unreadable collector key",
    ),
    (
        "tracing.py",
        'isinstance(message["id"], int) and abs(message["id"]) < LARGEST_ID',
        'message["id"]',
        "request id",
    ),
    ("observed_server.py", '"tracing": False', '"tracing": True', "query"),
    (
        "log.py",
        'setLevel(logging.WARNING)\n    logging.getLogger("asyncio")',
        'setLevel(logging.INFO)\n    logging.getLogger("asyncio")',
        None,  # the next cure is for the same lines
    ),
    (
        "log.py",
        're.sub(r"\\?\\S+", "?…", str(event["event"]))',
        'event["event"]',
        "unknown session",
    ),
)


def test_without_the_cures_each_secret_is_seen(tmp_path: Path) -> None:
    edits = [(name, old, new) for name, old, new, _ in CURES]
    folder = edited_copy(FOLDER, edits, tmp_path)
    seen = what_is_found(folder, collector=True).leaks
    assert {place for *_, place in CURES if place} <= seen
