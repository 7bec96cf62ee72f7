"""Lesson 10's dashboard in Chromium, and the stream that feeds it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.folder_modules import modules_in
from tests.hub_parts import PatientServer
from tests.observed_parts import (
    FOLDER,
    PATIENCE,
    callers,
    drop_a_reader,
    events_of,
    observed,
    table,
)
from tests.page_parts import complaints, open_page
from tests.turns import takes_less_than
from workshop.raw_stream import ReceivedEvent
from workshop.running import HOST, Program

pytestmark = pytest.mark.usefixtures("warm")

# The machine may be busy.
expect.set_options(timeout=20_000)

NAMES = ("event_stream", "hub", "log", "analytics", "feed")
MODULES = modules_in(FOLDER, NAMES)
FEED = MODULES["feed"]


@pytest.fixture(scope="module")
def server() -> Iterator[Program]:
    with observed() as program:
        yield program


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with open_page(chromium, width=1280, height=800) as page:
        yield page


def is_live(page: Page) -> None:
    expect(page.locator("#state")).to_have_text(re.compile(r"live, \d\d:\d\d:\d\d"))
    expect(page.locator("#trouble")).to_be_hidden()


def in_row(page: Page, type: str, place: int) -> str:
    """A number of the table: 1 events, 2 listeners, 3 waiting, 4 dropped."""
    return page.locator(f"tr[data-type='{type}'] td").nth(place).inner_text()


def metric(program: Program, name: str) -> float:
    """The sum of a metric's samples, of which there must be one."""
    text = PatientServer(program.url).request("GET", "/metrics").body.decode()
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    assert found, name
    return sum(map(float, found))


# --- The page -------------------------------------------------------------------------------


def test_the_numbers_change_with_what_happens(server: Program, page: Page) -> None:
    page.goto(f"{server.url}/dashboard")
    is_live(page)
    expect(page.locator("#streams")).to_have_text("0")
    expect(page.locator("#p95")).to_have_text("–")
    before = events_of(table(server), "call")
    with callers(server, 3) as clients:
        expect(page.locator("#streams")).to_have_text("3")
        for client in clients:
            client.call("add", a=1, b=2)
            client.call("wait", seconds=0.2)
        # Half of the calls took a moment, and the others 200 ms.
        expect(page.locator("#p95")).to_have_text(re.compile(r"^(19\d|[2-9]\d\d)ms$"))
        expect(page.locator("#p50")).to_have_text(re.compile(r"^\d?\d(\.\d+)?ms$"))
        most = page.locator("figure[data-lines=calls] .most")
        expect(most).to_have_text(re.compile(r"^most: [1-6]$"))
        expect(page.locator("tr[data-type=call] small")).to_contain_text("wait ok: 3")
        expect(page.locator("#calls")).to_have_text("0")
    expect(page.locator("#streams")).to_have_text("0")
    expect(page.locator("tr[data-type='stream.closed']")).to_contain_text("client left: 3")
    # Three answers: the same.
    assert in_row(page, "call", 1) == str(before + 6)
    assert events_of(table(server), "call") == before + 6
    assert metric(server, "mcp_tool_seconds_count") == before + 6
    for type in ("sample", "summary"):
        expect(page.locator(f"tr[data-type='{type}'] td").nth(2)).to_have_text("1")
    # The line has its height where the number was 3.
    line = page.locator("svg path.streams:not(.area)").get_attribute("d") or ""
    heights = {float(point.split()[1]) for point in re.split("[ML]", line) if point}
    assert {100.0, 5.0} <= heights


def test_a_page_that_opens_late_has_the_last_two_minutes(server: Program, page: Page) -> None:
    """The hub replays its samples: the line does not begin with the page."""
    with PatientServer(server.url).open("/dashboard/events?types=sample") as stream:
        assert stream.wait(lambda stream: len(stream.events) >= 2, seconds=PATIENCE)
    page.goto(f"{server.url}/dashboard")
    is_live(page)
    line = page.locator("svg path.streams:not(.area)").get_attribute("d") or ""
    assert line.count("L") >= 1  # at once more than one sample


def test_a_server_that_goes_and_comes_back(page: Page) -> None:
    with observed() as first:
        page.goto(f"{first.url}/dashboard")
        is_live(page)
        expect(page.locator("body")).not_to_have_class("stale")
    expect(page.locator("#state")).to_have_text("the server is gone")
    expect(page.locator("#trouble")).to_have_text(
        re.compile(r"does not answer\. Trying again\. Last heard from at \d\d:\d\d:\d\d\.")
    )
    expect(page.locator("body")).to_have_class("stale")
    assert complaints(page) == []
    with observed(port=first.port) as again:
        is_live(page)
        expect(page.locator("body")).not_to_have_class("stale")
        with callers(again, 2):
            expect(page.locator("#streams")).to_have_text("2")
        # An answer that is not a stream ends an EventSource. The page opens another one.
        page.route("**/dashboard/events?*", lambda route: route.fulfill(status=502))
        page.reload()
        expect(page.locator("#state")).to_have_text("the server is gone")
        page.unroute("**/dashboard/events?*")
        is_live(page)


def test_a_server_that_says_nothing(page: Page) -> None:
    """Its connections stay open, and nothing comes, as with a blocked event loop."""
    with observed({"HEARTBEAT_SECONDS": "0.5"}) as program, callers(program, 1):
        page.goto(f"{program.url}/dashboard")
        is_live(page)
        expect(page.locator("#streams")).to_have_text("1")
        os.kill(program.process.pid, signal.SIGSTOP)
        try:
            expect(page.locator("#state")).to_have_text("silent")
            expect(page.locator("#trouble")).to_contain_text("is the event loop blocked?")
        finally:
            os.kill(program.process.pid, signal.SIGCONT)
        is_live(page)
        # And it says itself how late it was: more than two seconds.
        expect(page.locator(".alarm #late")).not_to_have_text("0")
        expect(page.locator("#worst")).to_have_text(
            re.compile(r"The worst was late by ([2-9]|\d\d)\.\d+ s\.")
        )


def test_it_fits_and_can_be_read(server: Program, page: Page) -> None:
    page.goto(f"{server.url}/dashboard")
    is_live(page)
    with callers(server, 1) as [client]:
        client.call("add", a=1, b=2)
        expect(page.locator("tr[data-type=call] small")).to_contain_text("add ok")
        assert complaints(page) == []
        size = page.locator("#streams").evaluate(
            "b => parseFloat(getComputedStyle(b).fontSize)"
        )
        assert size >= 48
        page.set_viewport_size({"width": 1920, "height": 1080})
        assert page.evaluate("document.documentElement.scrollHeight") <= 1080
        if folder := os.environ.get("WORKSHOP_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/lesson_10.png")


def test_it_works_behind_a_proxy_that_strips_a_prefix(
    server: Program, chromium: Browser
) -> None:
    context = chromium.new_context()

    def strip(route: Route) -> None:
        assert "/my%20tools/" in route.request.url
        route.continue_(url=route.request.url.replace("/my%20tools", ""))

    context.route("**/*", strip)
    page = context.new_page()
    page.goto(f"{server.url}/my tools/dashboard")
    is_live(page)
    link = page.get_by_role("link", name="All as CSV").evaluate("link => link.href")
    assert link == f"{server.url}/my%20tools/dashboard/events.csv"
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).borderRadius")
    context.close()
    # With a slash at its end, its files would be elsewhere.
    answer = PatientServer(server.url).request("GET", "/dashboard/")
    assert (answer.status, answer.headers["location"]) == (307, "../dashboard")


# --- The stream -----------------------------------------------------------------------------


def test_its_own_stream_is_in_no_metric(server: Program) -> None:
    client = PatientServer(server.url)
    opened = metric(server, "mcp_streams_opened_total")
    counts = {name: metric(server, f"http_request_seconds_{name}") for name in ("count", "sum")}
    with client.open("/dashboard/events") as stream:
        assert stream.wait(lambda stream: len(stream.events) >= 2, seconds=PATIENCE)
        assert metric(server, "mcp_streams_active") == 0
    with client.open("/dashboard/events") as stream:
        # One listener: the first one is gone, and has been through all that counts.
        assert stream.event(alone_in_summary, seconds=PATIENCE)
    assert metric(server, "mcp_streams_opened_total") == opened
    # Only the readings of /metrics themselves have been added, and no seconds of a stream.
    assert metric(server, "http_request_seconds_count") == counts["count"] + 4
    assert metric(server, "http_request_seconds_sum") < counts["sum"] + 0.9


def alone_in_summary(event: ReceivedEvent) -> bool:
    if event.type != "summary":
        return False
    types = {type["type"]: type for type in json.loads(event.data)["types"]}
    return types["summary"]["listeners"] == 1


def test_it_is_guarded_as_the_rest(server: Program) -> None:
    client = PatientServer(server.url)
    for path in ("", "/events", "/events.csv", "/page.css"):
        evil = client.request("GET", f"/dashboard{path}", headers={"Host": "evil.example"})
        assert evil.status == 421
        evil = client.request(
            "GET", f"/dashboard{path}", headers={"Origin": "http://evil.example"}
        )
        assert evil.status == 403
    assert client.request("GET", "/dashboard/feed.py").status == 404
    assert client.request("GET", "/dashboard/..%2Ffeed.py").status == 404
    policy = client.request("GET", "/dashboard").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")


@contextmanager
def framing(framed: str) -> Iterator[int]:
    """The port of a server of this machine. Its page has the other in a frame."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<iframe src={framed}></iframe>".encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_notebook_shows_it_in_a_frame(server: Program, page: Page, host: str) -> None:
    with framing(f"{server.url}/dashboard") as port:
        page.goto(f"http://{host}:{port}")
        state = page.frame_locator("iframe").locator("#state")
        expect(state).to_have_text(re.compile("^live, "))


def test_no_page_from_elsewhere_shows_it_in_a_frame(server: Program, page: Page) -> None:
    with framing(f"{server.url}/dashboard") as port:
        with page.expect_event("requestfailed") as refused:
            page.goto(f"http://elsewhere.localhost:{port}")
        assert refused.value.failure == "net::ERR_BLOCKED_BY_RESPONSE"


def test_types_are_those_that_there_are(server: Program) -> None:
    client = PatientServer(server.url)
    answer = client.request("GET", "/dashboard/events?types=call,nothing")
    assert answer.status == 400
    assert answer.body.startswith(b"No type 'nothing'. There are: stream.opened, ")
    with (
        client.open("/dashboard/events?types=call,stream.opened") as stream,
        callers(server, 1) as [caller],
    ):
        caller.call("add", a=1, b=1)
        caller.call("no such tool")
        assert stream.wait(lambda stream: len(stream.events) == 3, seconds=PATIENCE)
        found = [(event.type, json.loads(event.data)) for event in stream.events]
        assert [type for type, _ in found] == ["stream.opened", "call", "call"]
        words = [(data.get("tool"), data.get("outcome")) for _, data in found]
        assert words == [(None, None), ("add", "ok"), ("unknown", "-32602")]


def test_there_is_room_for_fifty_readers(server: Program) -> None:
    client = PatientServer(server.url)
    streams = []
    try:
        for _ in range(51):
            streams.append(client.open("/dashboard/events?types=call"))
        # A page of an earlier test may not have left yet.
        assert {stream.status for stream in streams[:40]} == {200}
        assert streams[-1].status == 503
    finally:
        for stream in streams:
            stream.close()

    # When they have left, there is room again.
    def room() -> bool:
        with client.open("/dashboard/events?types=call") as stream:
            return stream.status == 200

    end = time.monotonic() + PATIENCE
    while not room():
        assert time.monotonic() < end


def test_nothing_may_follow_it_on_its_connection(server: Program) -> None:
    """uvicorn would not tell the stream that its reader left."""
    head = f"GET /dashboard/events HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n\r\n".encode()
    with socket.create_connection((HOST, server.port), timeout=PATIENCE) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.sendall(head)
        end = time.monotonic() + PATIENCE
        while connection.recv(65_536):  # until the server closes it
            assert time.monotonic() < end


def test_it_leaves_in_time_with_the_page_open(page: Page) -> None:
    def leave() -> float:
        with (
            observed() as program,
            PatientServer(program.url).open("/dashboard/events") as stream,
        ):
            page.goto(f"{program.url}/dashboard")
            is_live(page)
            took = program.stop(signal.SIGINT)
            # uvicorn would cut it off after a second. It ends, and says when to come back.
            assert stream.wait_closed(seconds=PATIENCE)
            assert b": the hub stops\nretry: 1000\n\n" in stream.raw
            assert not stream.broke_off
            assert program.process.returncode == 0
            assert "Traceback" not in program.output
        return took

    assert takes_less_than(2, leave)


# --- What it is made of ---------------------------------------------------------------------


@pytest.mark.parametrize("milliseconds", [0.2, 1.0, 17.0, 950.0])
def test_latencies_are_right_to_five_percent(milliseconds: float) -> None:
    latencies = FEED.Latencies()
    for _ in range(94):
        latencies.add(milliseconds / 1000)
    for _ in range(6):
        latencies.add(10 * milliseconds / 1000)
    assert latencies.milliseconds(0.50) == pytest.approx(milliseconds, rel=0.05)
    assert latencies.milliseconds(0.95) == pytest.approx(10 * milliseconds, rel=0.05)
    # What was ten seconds ago says nothing about now.
    for _ in range(FEED.WINDOW_SECONDS):
        latencies.next_second()
    assert latencies.milliseconds(0.50) is None


def test_a_slow_reader_lags_and_is_cut_off_and_counted() -> None:
    hub = FEED.CountingHub()
    hub.queue = 3
    subscriber = hub.subscribe(["call"])
    for number in range(3):
        assert hub.waiting("call") == number + 1  # and what it began with
        hub.publish("call", {})
    assert (hub.listeners("call"), hub.dropped) == (1, Counter())
    hub.publish("call", {})
    assert subscriber.ended
    assert (hub.listeners("call"), hub.waiting("call")) == (0, 0)
    assert hub.dropped == {"call": 1}


def test_calls_that_nobody_listens_to_are_not_encoded_but_a_reader_is_told() -> None:
    hub = FEED.CountingHub()
    first = hub.subscribe(["call"])
    seen, received = hub.publish("call", {"tool": "add"})
    assert received == 1
    hub.leave(first)
    lost, received = hub.publish("call", {"tool": "echo"})
    assert received == 0
    again = hub.subscribe(["call"], str(seen))
    told = b"".join(again._waiting)
    assert b"event: gap" in told
    assert f'"after": {seen}, "through": {lost}'.encode() in told
    assert b"echo" not in told
    # One that has heard of it missed nothing.
    assert b"gap" not in b"".join(hub.subscribe(["call"], str(lost))._waiting)


def test_times_are_utc_wherever_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-13")
    time.tzset()
    try:
        assert time.localtime(1).tm_hour == 13
        assert FEED.second(1) == "1970-01-01T00:00:01Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_late_heartbeat_is_an_event() -> None:
    feed = FEED.Feed()
    feed.heartbeat(0.05)
    feed.heartbeat(0.3)
    assert (feed.late, feed.worst) == (1, 0.3)
    [kind] = feed.analytics.waiting
    assert kind.type == "heartbeat.late"


def test_a_reader_that_was_dropped_shows(page: Page) -> None:
    """A client that never reads, and calls until its queue is full."""
    with observed() as program:
        page.goto(f"{program.url}/dashboard")
        is_live(page)
        expect(page.locator("#dropped")).to_have_text("0")
        drop_a_reader(program)
        expect(page.locator("#dropped")).to_have_text("1")
        expect(page.locator(".card.alarm")).to_contain_text("Readers dropped")
        expect(page.locator("tr[data-type='stream.closed']")).to_contain_text("dropped: 1")
