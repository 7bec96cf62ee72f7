"""Lesson 10's server, for its tests."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.hub_parts import PatientServer
from workshop.checks.mcp_session import handshake, request
from workshop.course import ROOT
from workshop.raw_client import Server
from workshop.raw_stream import Stream
from workshop.running import HOST, Program, running

FOLDER = ROOT / "scripts/10_observability"
OBSERVED = FOLDER / "observed_server.py"
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
        self.reply(self.send("initialize", handshake()))

    @property
    def session_id(self) -> str:
        return self.endpoint.partition("session_id=")[2]

    def send(self, method: str, params: dict[str, Any]) -> int:
        number = next(self.ids)
        answer = self.server.post_json(self.endpoint, request(number, method, params))
        assert answer.status == 202
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


def drop_a_reader(program: Program) -> None:
    """Open a stream, read only its beginning, and ask for more than the server keeps."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(PATIENCE)
        reader.connect((HOST, program.port))
        reader.sendall(f"GET /sse HTTP/1.1\r\nHost: {HOST}:{program.port}\r\n\r\n".encode())
        came = b""
        while not (found := re.search(rb"data: (/message\S+)\n", came)):
            piece = reader.recv(1024)
            assert piece, f"The stream ended after {came!r}"
            came += piece
        endpoint = found[1].decode()
        server = PatientServer(program.url, program)
        server.post_json(endpoint, request(0, "initialize", handshake()))
        large = {"name": "echo", "arguments": {"message": "x" * 3_000_000}}
        for number in range(1, 11):
            call = request(number, "tools/call", large)
            if server.post_json(endpoint, call).status == 404:
                return  # dropped, and its session with it
    raise AssertionError("The server keeps 30 MB for a client that reads nothing.")


def table(program: Program) -> list[dict[str, str]]:
    """What /dashboard/events.csv holds, each row by the names in its first line."""
    answer = PatientServer(program.url).request("GET", "/dashboard/events.csv")
    assert answer.status == 200, answer.body
    return list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))


def events_of(rows: list[dict[str, str]], type: str) -> int:
    return sum(int(row["events"]) for row in rows if row["type"] == type)
