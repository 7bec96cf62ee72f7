"""Lesson 03's hub over HTTP: answers, refusals, slow readers, crowds, and the end."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.hub_parts import HUB, PatientServer, running_hub
from tests.turns import takes_less_than
from workshop.raw_client import Server
from workshop.running import running

pytestmark = pytest.mark.usefixtures("warm")

CROWD = 1_000


@pytest.fixture(scope="module")
def hub() -> Iterator[Server]:
    with running_hub("--heartbeat", "0.2") as (server, _):
        yield server


def health(server: Server) -> dict[str, Any]:
    return server.request("GET", "/health", seconds=10).json()


def until(ready: Any, *, seconds: float = 10.0) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.01)


def test_a_published_event_arrives_while_the_stream_stays_open(hub: Server) -> None:
    with hub.open("/events/first") as stream:
        answer = hub.post_json("/events/first", {"item": "tea", "where": "Zürich"})
        assert answer.status == 200
        assert answer.json()["receivers"] == 1
        event = stream.event(seconds=10)
        assert event is not None
        assert event.type == "first"
        assert json.loads(event.data) == {"item": "tea", "where": "Zürich"}
        assert event.last_event_id == str(answer.json()["id"])
        assert not stream.closed
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-cache"
        assert stream.headers["X-Accel-Buffering"] == "no"


def test_one_stream_carries_several_types(hub: Server) -> None:
    with hub.open("/events?types=several-a,several-b") as stream:
        hub.post_json("/events/several-b", {"n": 1})
        hub.post_json("/events/several-c", {"n": 2})
        hub.post_json("/events/several-a", {"n": 3})
        assert stream.event(lambda event: event.type == "several-a", seconds=10) is not None
        assert [event.type for event in stream.events] == ["several-b", "several-a"]


def test_the_header_wins_over_the_id_in_the_url(hub: Server) -> None:
    """A page's URL keeps the id it began with; what it sends when it comes back is newer."""
    first = hub.post_json("/events/wins", {"n": 1}).json()["id"]
    second = hub.post_json("/events/wins", {"n": 2}).json()["id"]
    hub.post_json("/events/wins", {"n": 3})
    with hub.open(f"/events/wins?last_event_id={first}") as stream:
        assert stream.event(lambda event: event.data == '{"n": 3}', seconds=10) is not None
        assert len(stream.events) == 2
    headers = {"Last-Event-ID": str(second)}
    with hub.open(f"/events/wins?last_event_id={first}", headers=headers) as stream:
        assert stream.event(seconds=10) is not None
        assert [event.data for event in stream.events] == ['{"n": 3}']


def test_an_idle_stream_gets_comments_and_no_events(hub: Server) -> None:
    with hub.open("/events/idle") as stream:
        assert stream.wait(lambda each: each._raw.count(b": heartbeat\n\n") >= 2, seconds=10)
        assert stream.events == []


def test_closing_a_type_says_done_and_coming_back_says_204(hub: Server) -> None:
    with hub.open("/events/closing") as stream:
        hub.post_json("/events/closing", {})
        assert hub.request("DELETE", "/events/closing").json() == {"receivers": 1}
        assert stream.wait_closed(seconds=10)
        assert [event.data for event in stream.events] == ["{}", "[DONE]"]
        last_id = stream.events[0].last_event_id
    again = hub.request("GET", "/events/closing", headers={"Last-Event-ID": last_id})
    assert again.status == 204
    assert hub.post_json("/events/closing", {}).status == 410


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/events/bad name", b"{}", 400),
        ("/events/error", b"{}", 400),
        ("/events/" + "x" * 65, b"{}", 400),
        ("/events/ok", b"", 400),
        ("/events/ok", b"{", 400),
        ("/events/ok", b"[1]", 400),
        ("/events/ok", b'"text"', 400),
        ("/events/ok", b'{"a": NaN}', 400),
        ("/events/ok", b'{"a": 1e999}', 400),
        ("/events/ok", b'{"a": "\\ud800"}', 400),
        ("/events/ok", b"\xff\xfe", 400),
        ("/events/ok", b"[" * 60_000, 400),
        ("/events/ok", b'{"a":' * 10_000, 400),
        ("/events/ok", b'{"a": "' + b"x" * 65_536 + b'"}', 413),
    ],
)
def test_what_can_not_be_published_is_refused_with_a_reason(
    hub: Server, path: str, body: bytes, status: int
) -> None:
    path = path.replace(" ", "%20")
    answer = hub.request("POST", path, body, {"Content-Type": "application/json"}, seconds=10)
    assert answer.status == status
    assert len(answer.json()["detail"]) > 10


def test_an_endless_body_is_refused_while_it_arrives(hub: Server) -> None:
    pieces = [b"x" * 1_000] * 100
    headers = {"Content-Type": "application/json"}
    answer = hub.request("POST", "/events/ok", pieces, headers, seconds=5, finish=False)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/events", 400),
        ("GET", "/events?types=,", 400),
        ("GET", "/events?types=a,b%20c", 400),
        ("GET", "/events/gap", 400),
        ("DELETE", "/events/nobody-ever", 404),
        ("PUT", "/events/a", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_other_bad_requests_are_refused(
    hub: Server, method: str, path: str, status: int
) -> None:
    assert hub.request(method, path).status == status


def test_a_form_is_no_json(hub: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = hub.request("POST", "/events/ok", b'{"a": 1}', headers)
    assert answer.status == 415
    assert "application/json" in answer.json()["detail"]


def open_without_reading(server: Server, type: str) -> socket.socket:
    """A subscriber whose socket never drains."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    reader.sendall(f"GET /events/{type} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return reader


def test_a_reader_that_never_reads_is_cut_and_nobody_waits_for_it() -> None:
    def slowest_event() -> float:
        with (
            running_hub("--heartbeat", "0.2", "--queue", "20") as (server, _),
            server.open("/events/slow") as quick,
            open_without_reading(server, "slow"),
        ):
            until(lambda: health(server)["streams"] == 2)
            slowest = 0.0
            filler = "x" * 60_000
            for number in range(200):
                began = time.monotonic()
                server.post_json("/events/slow", {"n": number, "filler": filler})
                assert quick.event(after=number, seconds=10) is not None
                slowest = max(slowest, time.monotonic() - began)
            until(lambda: health(server)["streams"] == 1)
            assert len(quick.events) == 200
            assert not quick.closed
        return slowest

    assert takes_less_than(2, slowest_event)


def test_a_slow_reader_is_told_to_come_back_and_catches_up_from_history() -> None:
    with running_hub("--heartbeat", "5", "--queue", "20") as (server, _):
        with open_without_reading(server, "slow") as slow:
            until(lambda: health(server)["streams"] == 1)
            filler = "x" * 60_000
            published = 0
            while health(server)["types"]["slow"]["subscribers"]:
                published += 1
                server.post_json("/events/slow", {"n": published, "filler": filler})
                assert published < 1_000
            # It wakes up and reads what was on its way, to the end.
            slow.settimeout(10)
            raw = b""
            while piece := slow.recv(1_000_000):
                raw += piece
                if raw.endswith(b"0\r\n\r\n"):
                    break
            assert b": too slow: come back for the rest\nretry: 50\n\n" in raw
        got = [int(line[4:]) for line in raw.split(b"\n") if line.startswith(b"id: ")]
        assert got == list(range(got[-1] + 1)), "what it got is whole"
        assert got[-1] < published
        headers = {"Last-Event-ID": str(got[-1])}
        with server.open("/events/slow", headers=headers) as back:
            missing = published - got[-1]
            assert back.wait(lambda each: len(each._events) == missing, seconds=10)
            assert [int(event.last_event_id) for event in back.events] == list(
                range(got[-1] + 1, published + 1)
            )


def test_a_history_that_is_too_short_is_said_in_a_gap() -> None:
    with running_hub("--history", "3") as (server, _):
        for number in range(1, 11):
            server.post_json("/events/orders", {"n": number})
        with server.open("/events/orders", headers={"Last-Event-ID": "2"}) as stream:
            assert (
                stream.event(lambda event: event.last_event_id == "10", seconds=10) is not None
            )
            gap, *rest = stream.events
            assert gap.type == "gap"
            assert json.loads(gap.data) == {"types": ["orders"], "after": 2, "through": 7}
            assert [event.last_event_id for event in rest] == ["8", "9", "10"]


def test_a_restarted_hub_says_that_it_may_have_lost_something() -> None:
    with running(HUB) as program:
        first = PatientServer(program.url).post_json("/events/orders", {}).json()["id"]
    with running(HUB) as program:
        server = PatientServer(program.url)
        assert server.post_json("/events/orders", {}).json()["id"] > first
        with server.open("/events/orders", headers={"Last-Event-ID": str(first)}) as stream:
            assert stream.event(lambda event: event.type == "orders", seconds=10) is not None
            assert [event.type for event in stream.events] == ["gap", "orders"]


def test_counting_from_one_again_after_a_restart_loses_events_silently() -> None:
    """Why ids begin at the clock: what the lesson shows with --first-id 1."""
    with running_hub() as (server, _):
        for _ in range(3):
            server.post_json("/events/orders", {"life": 1})
    with running_hub() as (server, _):
        for _ in range(5):
            server.post_json("/events/orders", {"life": 2})
        with server.open("/events/orders", headers={"Last-Event-ID": "3"}) as stream:
            assert (
                stream.event(lambda event: event.last_event_id == "5", seconds=10) is not None
            )
            assert [event.last_event_id for event in stream.events] == ["4", "5"]


async def crowd(port: int, size: int, meanwhile: Any) -> list[bytes]:
    """`size` readers connect; once `meanwhile` is done each has read one event and leaves."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(size)]
    for _, writer in opened:
        writer.write(b"GET /events/crowd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await asyncio.to_thread(meanwhile)
    received = await asyncio.wait_for(
        asyncio.gather(*(reader.readuntil(b'"last"}\n\n') for reader, _ in opened)), 60
    )
    for _, writer in opened:
        writer.close()
    return received


def test_a_thousand_come_receive_and_leave_and_nothing_is_left_of_them() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CROWD + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} open files: raise the limit with `ulimit -Hn {wanted}`")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with running_hub() as (server, program):
        process = psutil.Process(program.process.pid)

        def publish() -> None:
            until(lambda: health(server)["streams"] == CROWD, seconds=60)
            assert server.post_json("/events/crowd", {"n": "last"}).json()["receivers"] == CROWD

        memory: list[int] = []
        files: list[int] = []
        for _ in range(3):
            received = asyncio.run(crowd(program.port, CROWD, publish))
            assert all(each.count(b"data: ") == 1 for each in received)
            until(lambda: health(server)["streams"] == 0, seconds=30)
            until(lambda: len(process.net_connections()) <= 2, seconds=30)
            memory.append(process.memory_info().rss)
            files.append(process.num_fds())
        # The first thousand make Python's allocator grow; those after it reuse the room.
        assert memory[2] - memory[0] < 3_000_000, memory
        assert files[2] <= files[0] + 2
        assert health(server)["types"]["crowd"]["subscribers"] == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_with_streams_open(how: signal.Signals) -> None:
    def leave() -> float:
        with running_hub() as (server, program):
            stuck = open_without_reading(server, "orders")
            with server.open("/events/orders") as stream, stuck:
                until(lambda: health(server)["streams"] == 2)
                took = program.stop(how)
                assert program.process.returncode == 0
                assert stream.wait_closed(seconds=10)
                assert b"retry: 50" in stream.raw.rpartition(b": the hub stops")[2]
        assert "Traceback" not in program.output
        return took

    assert takes_less_than(2, leave)


def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    def leave() -> float:
        with (
            running_hub("--queue", "1000") as (server, program),
            open_without_reading(server, "slow"),
        ):
            until(lambda: health(server)["streams"] == 1)
            for _ in range(150):
                server.post_json("/events/slow", {"filler": "x" * 60_000})
            took = program.stop()
            assert program.process.returncode == 0
        return took

    assert takes_less_than(2, leave)


def test_a_port_in_use_is_one_line_and_status_1() -> None:
    with running_hub() as (_, program):
        second = subprocess.run(
            [sys.executable, str(HUB), "--port", str(program.port)],
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert second.returncode == 1
    assert second.stderr == (
        f"Can't listen on 127.0.0.1:{program.port}: Address already in use. "
        "Choose another port: --port 3010\n"
    )


def test_publishing_goes_on_while_many_publish_at_once(hub: Server) -> None:
    """Every publisher gets an id of its own, and the stream has all of them in order."""
    found: list[int] = []

    def publish() -> None:
        for _ in range(20):
            found.append(hub.post_json("/events/many", {}).json()["id"])

    with hub.open("/events/many") as stream:
        threads = [threading.Thread(target=publish) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stream.wait(lambda each: len(each._events) == 100, seconds=10)
        got = [int(event.last_event_id) for event in stream.events]
    assert got == sorted(found)
    assert len(set(got)) == 100
