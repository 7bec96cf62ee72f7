"""Lesson 10's server, for its tests."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.hub_parts import PatientServer
from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.raw_stream import Stream
from workshop.running import Program, running

FOLDER = ROOT / "scripts/10_observability"
OBSERVED = FOLDER / "observed_server.py"
INITIALIZE = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {}}
PATIENCE = 20.0


def endpoint_of(stream: Stream) -> str:
    """Where to POST, once the stream has had its first two events."""
    assert stream.wait(lambda stream: len(stream.events) >= 2)
    return stream.events[0].data


class Caller:
    """A client in a session of its own."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        endpoint = stream.event(lambda event: event.type == "endpoint", seconds=PATIENCE)
        assert endpoint is not None
        self.endpoint = endpoint.data
        self.ids = itertools.count(1)
        self.reply(self.send("initialize", INITIALIZE))

    @property
    def session_id(self) -> str:
        return self.endpoint.partition("session_id=")[2]

    def send(self, method: str, params: dict[str, Any]) -> int:
        number = next(self.ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        assert self.server.post_json(self.endpoint, message).status == 202
        return number

    def reply(self, number: int) -> dict[str, Any]:
        found = self.stream.event(
            lambda event: event.type == "message" and json.loads(event.data)["id"] == number,
            seconds=PATIENCE,
        )
        assert found is not None
        return json.loads(found.data)

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        return self.reply(self.send("tools/call", {"name": tool, "arguments": arguments}))


@contextmanager
def callers(program: Program, count: int) -> Iterator[list[Caller]]:
    server = PatientServer(program.url, program)
    with ExitStack() as stack:
        streams = [stack.enter_context(server.open("/sse")) for _ in range(count)]
        yield [Caller(server, stream) for stream in streams]


@contextmanager
def observed(
    settings: Mapping[str, str] | None = None, *, port: int | None = None
) -> Iterator[Program]:
    """A server with these settings in its environment."""
    environment = {"OTEL_SDK_DISABLED": "true", **(settings or {})}
    with running(OBSERVED, port=port, env=environment) as program:
        yield program


def table(program: Program) -> list[dict[str, str]]:
    """What /dashboard/events.csv holds, each row by the names in its first line."""
    answer = PatientServer(program.url).request("GET", "/dashboard/events.csv")
    assert answer.status == 200, answer.body
    return list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))


def events_of(rows: list[dict[str, str]], type: str) -> int:
    return sum(int(row["events"]) for row in rows if row["type"] == type)
