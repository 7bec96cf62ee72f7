"""Every platform side by side: which streams it cuts, when, and what is lost with them.

    uv run scripts/11_docker/cloud/cloud_lab.py

Behind each platform's box of `cloud_box.py` are lesson 05's server without heartbeats, the same
with one every 15 s, and lesson 03's hub without heartbeats, which that lesson's client listens
to. 16 minutes of the platforms' time pass in 16 seconds. A second table has two instances.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from cloud_box import CloudBox
from cloud_limits import Cut, load_profiles
from programs import PATIENCE, free_port, program, starts_to_listen

# All in seconds of the platforms' time.
WATCH = 960.0  # longer than the longest limit, Railway's
HEARTBEAT = 15.0  # the same as lesson 05's server
NEVER = 1_000_000.0  # a heartbeat that never comes
SILENCE = 150.0  # between two events of the hub: longer than most idle limits
RETRY = 2.0  # what the hub asks its clients to wait before they come back

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
LESSONS = Path(__file__).parents[2]
SERVER = LESSONS / "05_sse_server/sse_server.py"
HUB = LESSONS / "03_event_hub/hub_server.py"
CLIENT = LESSONS / "03_event_hub/sse_client.py"


# --- Lesson 05's server --------------------------------------------------------------------


async def watch_stream(http: aiohttp.ClientSession, box: str, speed: float) -> str:
    """Hold one stream open for as long as it lasts; then send a message in its session."""
    began = time.monotonic()
    async with http.get(f"{box}/sse") as response:
        if response.status >= 500:  # a busy machine, too slow for the first byte
            return await watch_stream(http, box, speed)
        endpoint = await read_endpoint(response)
        end = "ended"
        try:
            async with asyncio.timeout(WATCH / speed):
                while await response.content.readany():
                    pass
        except TimeoutError:
            end = "open"
        except (aiohttp.ClientError, OSError):
            end = f"cut at {(time.monotonic() - began) * speed:.0f} s"
        # Inside the block: an open stream must stay open meanwhile.
        status, _ = await send_message(http, box + endpoint)
        return f"{end}, POST {status}"


async def send_message(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """POST a ping: the status, and what the answer says."""
    async with http.post(url, json=PING) as answer:
        if answer.status >= 500:  # as above
            return await send_message(http, url)
        return answer.status, (await answer.text()).strip() or str(answer.reason)


async def read_endpoint(response: aiohttp.ClientResponse) -> str:
    """Where the session's messages go: the data of the stream's first event."""
    while not (line := await response.content.readline()).startswith(b"data: "):
        if not line:
            raise ConnectionError("The stream ended before its first event.")
    return line.removeprefix(b"data: ").decode().strip()


# --- Lesson 03's hub and its client --------------------------------------------------------


@dataclass
class HubTest:
    """Publishes numbers for one platform's client, and records those that the client got."""

    type: str  # of its events: the platform's name
    hub: str  # the hub's own URL: what is published does not go through the box
    http: aiohttp.ClientSession
    published: int = 0
    cuts: int = 0
    got: list[int] = field(default_factory=list[int])
    over: bool = False
    publishing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    listens: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self) -> None:
        self.published += 1
        url = f"{self.hub}/events/{self.type}"
        async with self.http.post(url, json={"n": self.published}) as answer:
            answer.raise_for_status()
        self.changed.set()

    def was_cut(self, cut: Cut) -> None:
        """Publish at once, while the client is away: this is what could be lost."""
        listening = self.listens.is_set() and not self.over
        if listening and cut.request.startswith("GET /events"):
            self.cuts += 1
            task = asyncio.create_task(self.publish())
            self.publishing.add(task)
            task.add_done_callback(self.publishing.discard)

    async def listen(self, box: str) -> None:
        """Run the client. It gives up if a box cuts its first request; then start it again."""
        while True:
            arguments = (self.type, "--url", box)
            async with program(CLIENT, *arguments, heard=self.heard) as process:
                await process.wait()

    def heard(self, line: bytes) -> None:
        """A line from the client: it is listening, or it got an event."""
        if line.startswith(b"Listening"):
            self.listens.set()
        elif line.startswith(f"{self.type} ".encode()):
            self.got.append(json.loads(line.partition(b" ")[2])["n"])
            self.changed.set()

    async def watch(self, speed: float) -> str:
        for _ in range(int(WATCH / SILENCE)):
            await self.publish()
            await asyncio.sleep(SILENCE / speed)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(self.got) < self.published:
                    self.changed.clear()
                    await self.changed.wait()
        self.over = True
        await asyncio.gather(*self.publishing)
        lost = self.published - len(set(self.got))
        mixed_up = "" if self.got == sorted(set(self.got)) else ", mixed up"
        return f"cut {self.cuts}×, {lost} of {self.published} lost{mixed_up}"


# --- Two instances -------------------------------------------------------------------------


async def use_session(http: aiohttp.ClientSession, box: str) -> list[str]:
    """Open a stream and send a message in its session: the answer to each."""
    async with http.get(f"{box}/sse") as response:
        status, said = await send_message(http, box + await read_endpoint(response))
        return [str(response.status), f"{status} {said}"]


# --- The tables ----------------------------------------------------------------------------


async def run(speed: float) -> None:
    profiles = load_profiles()
    print(f"{WATCH / 60:g} minutes on every platform, {speed:g} times faster …", flush=True)
    silent, beating, hub = free_port(), free_port(), free_port()

    async def box(name: str, *ports: int, test: HubTest | None = None) -> str:
        targets = [("127.0.0.1", port) for port in ports]
        report = test.was_cut if test else lambda cut: None
        port = await CloudBox(profiles[name], targets, speed, report).start()
        return f"127.0.0.1:{port}"

    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None),
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
            )
        )
        tests = [HubTest(name, f"http://127.0.0.1:{hub}", http) for name in profiles]
        hubs = [await box(test.type, hub, test=test) for test in tests]
        boxes = [await box(name, port) for name in profiles for port in (silent, beating)]
        clusters = [await box("cloudrun", silent), await box("cloudrun", silent, beating)]

        # The box passes Host on, and lesson 05's server accepts only names that it knows.
        hosts = [word for host in (*boxes, *clusters) for word in ("--allow-host", host)]
        retry = math.ceil(RETRY / speed * 1_000)
        printed: list[bytes] = []
        for path, port, heartbeat, *more in (
            (SERVER, silent, NEVER, *hosts),
            (SERVER, beating, HEARTBEAT, *hosts),
            (HUB, hub, NEVER, "--retry", str(retry)),
        ):
            options = ["--port", str(port), "--heartbeat", str(heartbeat / speed), *more]
            await stack.enter_async_context(program(path, *options, heard=printed.append))
        for port in (silent, beating, hub):
            if not await starts_to_listen(port):
                sys.exit(f"A server did not start:\n{b''.join(printed).decode()}")
        for test, host in zip(tests, hubs, strict=True):
            client = asyncio.create_task(test.listen(f"http://{host}"))
            stack.push_async_callback(asyncio.wait, [client])
            stack.callback(client.cancel)
        # Not before every client is listening: programs that are starting need the processor.
        try:
            async with asyncio.timeout(PATIENCE):
                for test in tests:
                    await test.listens.wait()
        except TimeoutError:
            sys.exit("Not every client got through to the hub: is this machine very busy?")

        streams = [watch_stream(http, f"http://{host}", speed) for host in boxes]
        seen = await asyncio.gather(*streams, *(test.watch(speed) for test in tests))
        rows = [
            [test.type, *seen[2 * i : 2 * i + 2], seen[len(boxes) + i]]
            for i, test in enumerate(tests)
        ]
        show((11, 23, 23, 21), "platform|no heartbeat|heartbeat 15 s|hub and its client", rows)

        print(f"\nTwo instances without shared state, as on {profiles['cloudrun'].title}:")
        rows = [
            [str(count), *await use_session(http, f"http://{host}")]
            for count, host in enumerate(clusters, 1)
        ]
        show((11, 23, 40), "instances|GET /sse|POST in its session", rows)


def show(widths: tuple[int, ...], head: str, rows: list[list[str]]) -> None:
    for row in (head.split("|"), *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("".join(cells).rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each platform does to a stream.")
    parser.add_argument("--speed", type=float, default=60.0, help="how much faster; default 60")
    options = parser.parse_args()
    if not 0 < options.speed < math.inf:
        parser.error("--speed must be a number above 0")
    for path in (SERVER, HUB, CLIENT):
        if not path.is_file():
            sys.exit(f"There is no {path}. The lab needs the folders of lessons 03 and 05.")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options.speed))


if __name__ == "__main__":
    main()
