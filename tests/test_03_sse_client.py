"""Lesson 03's client through every fault, the broken and fixed pairs, the troubleshooting."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.hub_parts import FOLDER, PatientServer, load_lesson, running_hub
from tests.turns import takes_less_than
from workshop.running import Program, environment, free_port, running

pytestmark = pytest.mark.usefixtures("warm")

client_module = load_lesson("sse_client")
proxy_module = load_lesson("faulty_proxy")
SSEClient = client_module.SSEClient
Faults = proxy_module.Faults


@pytest.fixture(scope="module")
def hub() -> Iterator[Program]:
    with running_hub("--heartbeat", "0.3", "--history", "20000", "--queue", "20000") as (
        _,
        hub,
    ):
        yield hub


async def until(ready: Callable[[], bool], seconds: float = 10) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(seconds):
        while not ready():  # noqa: ASYNC110 - what is asked about gives no signal
            await asyncio.sleep(0.01)


class Inbox:
    """A handler that keeps what it gets, and a way to wait for more."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self._changed = asyncio.Condition()

    async def __call__(self, data: Any) -> None:
        async with self._changed:
            self.got.append(data)
            self._changed.notify_all()

    async def wait(self, ready: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(ready)


class Reports(list[str]):
    """A reporter that keeps what it hears."""

    def __call__(self, event_type: str, text: str) -> None:
        self.append(text)

    async def until(self, text: str, seconds: float = 10) -> None:
        """Wait until a report contains `text`."""
        await until(lambda: any(text in each for each in self), seconds)


@asynccontextmanager
async def through(hub: Program, **options: Any) -> AsyncIterator[tuple[Any, Any, Reports]]:
    """A client behind a proxy with these faults: client, proxy, reports."""
    seed = options.pop("seed", None)
    on_gap = options.pop("on_gap", None)
    proxy = proxy_module.FaultyProxy(("127.0.0.1", hub.port), Faults(**options), seed=seed)
    port = await proxy.start()
    reports = Reports()
    try:
        async with SSEClient(
            f"http://127.0.0.1:{port}",
            report=reports,
            on_gap=on_gap,
            first_backoff=0.02,
            longest_backoff=0.2,
        ) as client:
            yield client, proxy, reports
    finally:
        await proxy.close()


def publish(hub: Program, event_type: str, numbers: range) -> None:
    server = PatientServer(hub.url)
    for number in numbers:
        assert server.post_json(f"/events/{event_type}", {"n": number}).status == 200


async def receive(hub: Program, event_type: str, count: int, **faults: Any) -> tuple[Any, Any]:
    """Publish `count` events while a client listens through the faults: all must arrive."""
    inbox = Inbox()
    async with asyncio.timeout(30), through(hub, **faults) as (client, proxy, reports):
        await client.subscribe(event_type, inbox)
        await asyncio.to_thread(publish, hub, event_type, range(count))
        await inbox.wait(lambda: len(inbox.got) >= count)
        assert [data["n"] for data in inbox.got] == list(range(count))
    return proxy, reports


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("cut-after", {"cut_after": 3}),
        ("cut-within", {"cut_within": 400, "seed": 1}),
        ("split", {"split": True, "seed": 2}),
        ("delay", {"delay": 0.01}),
        ("buffer", {"buffer": 60}),
        ("buffer-cut", {"buffer": 60, "cut_after": 20}),
        ("split-cut", {"split": True, "cut_within": 900, "seed": 3}),
        ("error", {"status": 500, "times": 4}),
        ("stall", {"stall_after": 2, "times": 2}),
    ],
)
async def test_every_event_arrives_once_through_every_fault(
    hub: Program, name: str, faults: dict[str, Any]
) -> None:
    proxy, _ = await receive(hub, f"fault-{name}", 30, **faults)
    if name not in ("split", "delay", "buffer"):
        assert len(proxy.requests) > 1, "the fault never struck"


async def publish_in_crowds(
    hub: Program, event_type: str, count: int, *, crowd: int
) -> dict[int, int]:
    """Publish numbers from 1, a crowd of them at the same time. Returns the id of each.

    On raw connections: a client's work for ten thousand requests takes five seconds.
    """
    ids: dict[int, int] = {}

    async def publish_some(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        head = f"POST /events/{event_type} HTTP/1.1\r\nHost: {hub.url}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: "
        for number in range(first, count + 1, crowd):
            body = json.dumps({"n": number})
            writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
            answer = await reader.readuntil(b"}")
            ids[number] = json.loads(answer.partition(b"\r\n\r\n")[2])["id"]
        writer.close()

    await asyncio.gather(*(publish_some(first) for first in range(1, crowd + 1)))
    return ids


@pytest.mark.long
# Where events are lost, fewer come: there the cuts are closer together. And the publishers are
# few, so that it is not over while the reader has been away some times only.
@pytest.mark.parametrize(
    ("count", "history", "cut_within", "crowd"),
    [(10_000, 20_000, 10_000, 20), (5_000, 5, 1_000, 1)],
)
async def test_ten_thousand_events_cut_at_random_places(
    count: int, history: int, cut_within: int, crowd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each arrives once, in order, or is reported by a gap: with and without enough history."""
    # Pieces about as long as an event: that shorter ones are no matter is proved elsewhere.
    monkeypatch.setattr(proxy_module, "MOST_SPLIT_BYTES", 200)
    inbox, gaps = Inbox(), Inbox()
    flags = ("--history", str(history), "--queue", "100", "--retry", "1")
    with running_hub(*flags) as (_, hub):
        faults: dict[str, Any] = {"cut_within": cut_within, "split": True, "seed": history}
        async with through(hub, on_gap=gaps, **faults) as (client, proxy, _):
            await client.subscribe("orders", inbox)
            ids = await publish_in_crowds(hub, "orders", count, crowd=crowd)
            await inbox.wait(lambda: len(inbox.got) > 0, 60)
            async with SSEClient(hub.url) as publisher:
                end = await publisher.send_event("orders", {"n": "end"})
            await inbox.wait(lambda: inbox.got[-1] == {"n": "end"}, 120)
        assert len(proxy.requests) > 20, "too few cuts to prove anything"
        assert end["id"] == count + 1
    arrived = [data["n"] for data in inbox.got if data["n"] != "end"]
    order = [ids[number] for number in arrived]
    assert order == sorted(set(order)), "an event arrived twice, or out of order"
    # A reader cut before it had all of a replay may hear of the same loss again.
    reported = {id for gap in gaps.got for id in range(gap["after"] + 1, gap["through"] + 1)}
    if history >= count:
        assert gaps.got == []
        assert sorted(arrived) == list(range(1, count + 1))
    else:
        assert gaps.got, "the history was long enough after all"
        # There is one type only, so each id up to the last is an event of it.
        assert reported.isdisjoint(order)
        assert reported | set(order) == set(range(1, count + 1))


@pytest.mark.long
async def test_the_order_is_the_hubs_order_through_many_cuts(hub: Program) -> None:
    """The ids that arrive grow, whatever the network does."""
    inbox = Inbox()
    async with through(hub, cut_within=2_000, split=True, seed=9) as (client, proxy, _):
        await client.subscribe("ordered", inbox)
        async with SSEClient(hub.url) as publisher:
            ids = [(await publisher.send_event("ordered", {"n": n}))["id"] for n in range(500)]
        await inbox.wait(lambda: len(inbox.got) == 500, 60)
    assert [data["n"] for data in inbox.got] == list(range(500))
    assert ids == sorted(ids)
    assert len(proxy.requests) > 10


async def test_an_event_published_before_the_first_arrives_after_a_cut(hub: Program) -> None:
    """The hub's first block has an id: a reader cut before any event still resumes."""
    inbox = Inbox()
    async with through(hub) as (client, proxy, reports):
        await client.subscribe("prime", inbox)
        proxy.cut_all()
        await asyncio.to_thread(publish, hub, "prime", range(1))
        await inbox.wait(lambda: inbox.got == [{"n": 0}])
        assert "the connection was cut" in reports[0]


async def test_a_handler_that_raises_is_reported_and_the_stream_goes_on(hub: Program) -> None:
    got: list[int] = []

    def handler(data: dict[str, Any]) -> None:
        if data["n"] == 1:
            raise RuntimeError("no tea left")
        got.append(data["n"])

    async with through(hub) as (client, proxy, reports):
        await client.subscribe("raising", handler)
        await asyncio.to_thread(publish, hub, "raising", range(3))
        await until(lambda: got == [0, 2])
        assert len(proxy.requests) == 1
        (report,) = reports
        assert "no tea left" in report


class OddHub:
    """A server that answers each stream with the next of these bodies, or statuses."""

    def __init__(self, *answers: bytes | int, content_type: str = "text/event-stream") -> None:
        self.answers = list(answers)
        self.content_type = content_type
        self.heads: list[bytes] = []

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        answer = self.answers.pop(0) if self.answers else 204
        status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {self.content_type}\r\n"
            f"Connection: close\r\n\r\n".encode()
        )
        writer.write(body)
        writer.close()


async def listen_to(odd: OddHub) -> tuple[list[Any], Reports]:
    """Follow an odd hub until the stream is over for good."""
    inbox, reports = Inbox(), Reports()
    async with odd as url:
        client = SSEClient(url, report=reports, first_backoff=0.01, longest_backoff=0.05)
        try:
            await client.subscribe("t", inbox)
            await reports.until("over: ")
        finally:
            await client._close()
    return inbox.got, reports


async def test_json_that_is_none_is_reported_and_skipped() -> None:
    bodies = [b'{"n": 1}', b"{oops", b"[1]", b"[" * 9_000, b'{"n": 2}']
    body = b"id: 0\nretry: 1\n\n" + b"".join(
        b"event: t\nid: %d\ndata: %s\n\n" % (number, data) for number, data in enumerate(bodies)
    )
    got, reports = await listen_to(OddHub(body))
    assert got == [{"n": 1}, {"n": 2}]
    assert len([report for report in reports if "skipped" in report]) == 3


async def test_every_spelling_of_the_format_is_read() -> None:
    body = b'retry:1\r\n\r\n: hi\r\nevent:t\r\ndata:{"a":\r\ndata: 1}\r\n\r\n'
    got, _ = await listen_to(OddHub(body))
    assert got == [{"a": 1}]


@pytest.mark.parametrize("status", [204, 400, 401, 404, 410, 429])
async def test_204_and_4xx_end_it_for_good(status: int) -> None:
    odd = OddHub(b"id: 0\nretry: 1\n\n", status)
    _, reports = await listen_to(odd)
    assert str(status) in reports[-1]
    assert len(odd.heads) == 2


async def test_done_ends_it_for_good() -> None:
    odd = OddHub(b"id: 0\nretry: 1\n\ndata: [DONE]\n\n")
    await listen_to(odd)
    assert len(odd.heads) == 1


async def test_an_answer_that_is_no_event_stream_ends_it_for_good() -> None:
    async with OddHub(b"<html>", content_type="text/html") as url:
        client = SSEClient(url)
        with pytest.raises(client_module.SSEError, match="text/html"):
            await client.subscribe("t", print)
        await client._close()


async def test_an_event_that_was_cut_in_the_middle_is_asked_for_again() -> None:
    odd = OddHub(b"retry: 1\n\nid: 1\nevent: t\ndata: {}\n\nid: 2\nevent: t\ndata: {}\n")
    got, _ = await listen_to(odd)
    assert got == [{}]
    assert b"Last-Event-ID: 1\r\n" in odd.heads[1]


async def test_it_waits_at_least_as_long_as_the_server_asks() -> None:
    began = time.monotonic()
    await listen_to(OddHub(b"id: 0\nretry: 300\n\n", 204))
    assert time.monotonic() - began >= 0.3


def test_the_backoff_is_random_grows_and_is_bounded() -> None:
    random.seed(3)
    for failures in (0, 1, 2, 5, 20, 5_000):
        waits = [client_module.backoff(failures, 0.5, 30.0) for _ in range(300)]
        top = min(30.0, 0.5 * 2 ** min(failures, 64))
        assert all(0 <= wait <= top for wait in waits)
        assert max(waits) > 0.9 * top
        assert min(waits) < 0.1 * top


async def test_each_way_to_lose_a_connection_is_the_error_that_the_lesson_names() -> None:
    async def lost(url: str, **options: Any) -> type[BaseException] | None:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(url, **options) as response:
                    async for _ in response.content.iter_any():
                        pass
            except aiohttp.ClientError as error:
                return type(error)
        return None

    with running_hub("--heartbeat", "60") as (server, hub):
        found = []
        quick = {"timeout": aiohttp.ClientTimeout(total=None, sock_read=0.2)}
        proxies = [{"cut_after": 1}, {"cut_within": 1}, {"stall_after": 1}]
        for options, faults in zip(({}, {}, quick), proxies, strict=True):
            proxy = proxy_module.FaultyProxy(("127.0.0.1", hub.port), Faults(**faults))
            url = f"http://127.0.0.1:{await proxy.start()}/events/x?last_event_id=0"
            await asyncio.to_thread(publish, hub, "x", range(1))
            found.append(await lost(url, **options))
            await proxy.close()
        found.append(await lost(f"http://127.0.0.1:{free_port()}/"))
        server.request("DELETE", "/events/x")
        found.append(await lost(f"{hub.url}/events/x?last_event_id=0"))
    assert found == [
        aiohttp.ClientPayloadError,
        aiohttp.ServerDisconnectedError,
        aiohttp.SocketTimeoutError,
        aiohttp.ClientConnectorError,
        None,
    ]


@pytest.mark.quiet
async def test_a_silent_connection_is_given_up_and_a_quiet_one_is_not(hub: Program) -> None:
    """The heartbeat is 0.3 s; comments come through, so the second stream stays."""
    async with through(hub, stall_after=1, times=1) as (client, proxy, reports):
        await client.subscribe("silent", Inbox())
        await asyncio.to_thread(publish, hub, "silent", range(1))
        await reports.until("trying again", 5)
        await until(lambda: len(proxy.requests) == 2)
        await asyncio.sleep(1.5)  # twice as long as the read timeout
        assert len(proxy.requests) == 2


async def test_more_than_a_hundred_subscriptions_at_once(hub: Program) -> None:
    """aiohttp's default limit would let the hundred-and-first wait for ever."""
    inbox = Inbox()
    async with SSEClient(hub.url) as client, asyncio.timeout(30):
        for number in range(110):
            await client.subscribe(f"many{number}", inbox)
        for number in range(110):
            await client.send_event(f"many{number}", {"n": number})
        await inbox.wait(lambda: len(inbox.got) == 110)


async def test_unsubscribing_closes_the_stream_also_from_its_own_handler(hub: Program) -> None:
    got: list[Any] = []
    async with SSEClient(hub.url) as client:

        async def once(data: dict[str, Any]) -> None:
            got.append(data)
            await client.unsubscribe("once")

        await client.subscribe("once", once)
        with pytest.raises(ValueError, match="already subscribed"):
            await client.subscribe("once", once)
        assert (await client.send_event("once", {"n": 1}))["receivers"] == 1
        await until(lambda: "once" not in client._streams)
        await client.subscribe("once", once)
        await client.unsubscribe("once")
        await client.unsubscribe("once")
    assert got == [{"n": 1}]


async def test_a_refused_subscription_and_a_refused_event_say_why(hub: Program) -> None:
    async with SSEClient(hub.url) as client:
        with pytest.raises(client_module.SSEError, match=r"400 .*reserved"):
            await client.subscribe("error", print)
        with pytest.raises(client_module.SSEError, match=r"400 .*reserved"):
            await client.send_event("error", {})


async def test_two_streams_and_a_whole_client_leave_no_task_behind(hub: Program) -> None:
    before = asyncio.all_tasks()
    async with SSEClient(hub.url) as client:
        await client.subscribe("one", print)
        await client.subscribe("two", print)
    assert asyncio.all_tasks() == before


# --- The troubleshooting table of the lesson: each symptom, made to happen ---


async def test_trouble_connection_failed() -> None:
    client = SSEClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(client_module.SSEError, match="Is the hub running"):
        await client.connect()
    await client._close()


async def test_trouble_what_answers_is_no_hub(tmp_path: Any) -> None:
    async with OddHub(b"hello") as url:
        client = SSEClient(url)
        with pytest.raises(client_module.SSEError, match="not an event hub"):
            await client.connect()
        await client._close()


async def test_trouble_events_not_received_because_the_type_differs(hub: Program) -> None:
    async with SSEClient(hub.url) as client:
        await client.subscribe("order", Inbox())
        assert (await client.send_event("orders", {}))["receivers"] == 0


def run_pair(name: str, hub: Program, until: str) -> str:
    """Run owner_NAME.py, publish one event, and close the type; what it printed."""
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / name), "--port", str(hub.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
    )
    program = Program(process, hub.port)
    try:
        program.wait_for_output(until)
        server = PatientServer(hub.url)
        server.post_json("/events/orders", {"item": "tea"})
        server.request("DELETE", "/events/orders")
        assert process.wait(10) == 0
        program._reader.join(5)
        return program.output
    finally:
        process.kill()


def test_trouble_events_not_received_because_nobody_owns_the_stream() -> None:
    with running_hub() as (_, hub):
        printed = run_pair("owner_broken.py", hub, "The task has ended")
    assert "tea" not in printed
    assert "Connection closed" in printed
    with running_hub() as (_, hub):
        printed = run_pair("owner_fixed.py", hub, "retry: 50")
    assert '"item": "tea"' in printed
    assert "The task has ended: None" in printed


def test_trouble_events_not_received_because_they_fell_into_the_seam() -> None:
    printed = {
        name: subprocess.run(
            [sys.executable, str(FOLDER / name)], capture_output=True, text=True, timeout=10
        ).stdout.split()
        for name in ("seam_broken.py", "seam_fixed.py")
    }
    assert printed == {"seam_broken.py": ["one", "three"], "seam_fixed.py": ["one", "two"]}


async def test_trouble_connection_dropped_by_a_total_timeout(hub: Program) -> None:
    """aiohttp's default is total=300: it ends a stream although events flow. Here, 0.5 s."""
    url = f"{hub.url}/events/dropped"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        with pytest.raises(TimeoutError):
            async with session.get(url) as response:
                async for _ in response.content.iter_any():
                    pass
    assert aiohttp.client.DEFAULT_TIMEOUT.total == 300
    quiet = aiohttp.ClientTimeout(total=None, sock_read=0.75)
    async with aiohttp.ClientSession(timeout=quiet) as session, session.get(url) as response:
        beats = 0
        while beats < 4:  # 1.2 s: longer than either limit above
            beats += (await response.content.readany()).count(b": heartbeat")


async def test_trouble_events_in_bursts_behind_a_buffering_proxy(hub: Program) -> None:
    inbox = Inbox()
    async with through(hub, buffer=400) as (client, _, _):
        # The opening block is held back as well, so only enough bytes open the stream.
        await asyncio.to_thread(publish, hub, "bursts", range(1))
        subscribing = asyncio.create_task(client.subscribe("bursts", inbox))
        await asyncio.sleep(0.2)
        sizes: list[int] = []
        for number in range(1, 40):
            before = len(inbox.got)
            await asyncio.to_thread(publish, hub, "bursts", range(number, number + 1))
            await asyncio.sleep(0.01)
            sizes.append(len(inbox.got) - before)
        await subscribing
    assert sizes.count(0) > 20, "most events were held back"
    assert max(sizes) >= 4, "and came together"


# --- The programs ---


def test_the_client_as_a_program_prints_events_and_the_wire(hub: Program) -> None:
    def leave() -> float:
        process = subprocess.Popen(
            [
                *(sys.executable, str(FOLDER / "sse_client.py"), "cli-a", "cli-b"),
                *("--url", hub.url, "--debug"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        program = Program(process, hub.port)
        program.wait_for_output("Listening to cli-a, cli-b")
        publish(hub, "cli-b", range(1))
        printed = program.wait_for_output('cli-b {"n": 0}')
        assert "/events/cli-a Last-Event-ID: none" in printed
        assert "< 200 text/event-stream" in printed
        assert '< data: {"n": 0}' in printed
        took = program.stop(signal.SIGINT)
        assert process.returncode == 0
        assert "Traceback" not in program.output
        return took

    assert takes_less_than(2, leave)


def test_the_client_as_a_program_ends_when_everything_is_closed() -> None:
    with running_hub() as (server, hub):
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "sse_client.py"), "a", "--url", hub.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        program = Program(process, hub.port)
        program.wait_for_output("Listening to a")
        server.request("DELETE", "/events/a")
        assert process.wait(5) == 0
        assert "the hub has closed this type" in program.wait_for_output("over")


def test_the_client_as_a_program_says_when_there_is_no_hub() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(FOLDER / "sse_client.py"), "a"),
            *("--url", f"http://127.0.0.1:{free_port()}"),
        ],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.returncode == 1
    assert "Is the hub running?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demonstration_loses_and_doubles_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "demo.py"), "--port", str(free_port())],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "Published 8, lost 0, duplicated 0." in done.stdout
    assert done.stdout.count("the connection was cut") == 3
    assert done.stderr == ""


def test_the_demonstration_says_when_its_port_is_taken(hub: Program) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "demo.py"), "--port", str(hub.port)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "Choose another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_proxy_as_a_program(hub: Program) -> None:
    def leave() -> float:
        target = f"http://127.0.0.1:{hub.port}"
        with running(
            FOLDER / "faulty_proxy.py", "--target", target, "--cut-after", "2", "--times", "1"
        ) as proxy:
            through_it = PatientServer(proxy.url)
            assert through_it.request("GET", "/health").status == 200
            with through_it.open("/events/proxied") as stream:
                publish(hub, "proxied", range(3))
                assert stream.wait_closed(seconds=10)
                assert len(stream.events) == 2
                last_id = stream.events[-1].last_event_id
            with through_it.open(
                "/events/proxied", headers={"Last-Event-ID": last_id}
            ) as stream:
                assert stream.event(seconds=10) is not None
            assert f"Last-Event-ID: {last_id} (passed on)" in proxy.wait_for_output(
                "(passed on)"
            )
            with through_it.open("/events/proxied"):
                took = proxy.stop(signal.SIGINT)
            assert proxy.process.returncode == 0
        return took

    assert takes_less_than(2, leave)


def test_the_proxy_says_when_its_port_is_taken(hub: Program) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "faulty_proxy.py"), "--port", str(hub.port)],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Choose another port" in done.stderr
