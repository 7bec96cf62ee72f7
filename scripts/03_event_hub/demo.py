"""The whole lesson in ten seconds: publish, receive, lose the connection, lose no event.

    uv run scripts/03_event_hub/demo.py

It starts the hub, puts the faulty proxy in front of it and listens through the proxy.
Halfway through, it cuts every connection and keeps publishing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from faulty_proxy import Faults, FaultyProxy
from sse_client import Handler, SSEClient, SSEError

BEFORE: list[tuple[str, dict[str, Any]]] = [
    ("system_events", {"n": 1, "what": "startup"}),
    ("user_events", {"n": 2, "what": "login", "user": "ada"}),
    ("data_events", {"n": 3, "what": "update", "table": "orders"}),
]
WHILE_AWAY: list[tuple[str, dict[str, Any]]] = [
    ("user_events", {"n": 4, "what": "login", "user": "grace"}),
    ("data_events", {"n": 5, "what": "update", "table": "stock"}),
    ("data_events", {"n": 6, "what": "update", "table": "prices"}),
]
AFTER: list[tuple[str, dict[str, Any]]] = [
    ("user_events", {"n": 7, "what": "logout", "user": "ada"}),
    ("system_events", {"n": 8, "what": "shutdown"}),
]


class Arrivals:
    """What has arrived, and a way to wait for more."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._more = asyncio.Condition()

    def handler(self, event_type: str) -> Handler:
        """A handler that prints the event and makes a note of it."""

        async def handle(data: dict[str, Any]) -> None:
            print(f"  {event_type:<14} {data}", flush=True)
            async with self._more:
                self.numbers.append(data["n"])
                self._more.notify_all()

        return handle

    async def wait_for(self, count: int) -> None:
        """Wait until `count` events have arrived. Raises TimeoutError after 10 s."""
        async with asyncio.timeout(10), self._more:
            await self._more.wait_for(lambda: len(self.numbers) >= count)


def print_report(event_type: str, text: str) -> None:
    """What the client says about its connection, between the events."""
    print(f"  {event_type:<14} ({text})", flush=True)


@contextlib.asynccontextmanager
async def running_hub(port: int) -> AsyncIterator[None]:
    """The hub, in another process. Raises SSEError when it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("hub_server.py")),
        *("--port", str(port), "--retry", "500"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        # Its first line says that it is listening.
        if not await process.stdout.readline():
            await process.wait()
            raise SSEError("The hub did not start.")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def demonstrate(port: int) -> None:
    hub_url = f"http://127.0.0.1:{port}"
    proxy = FaultyProxy(("127.0.0.1", port), Faults())
    async with running_hub(port):
        proxy_url = f"http://127.0.0.1:{await proxy.start()}"
        try:
            async with (
                SSEClient(hub_url) as publisher,
                SSEClient(proxy_url, report=print_report) as listener,
            ):
                await show(publisher, listener, proxy)
        finally:
            await proxy.close()


async def show(publisher: SSEClient, listener: SSEClient, proxy: FaultyProxy) -> None:
    arrivals = Arrivals()
    for event_type in ("system_events", "user_events", "data_events"):
        await listener.subscribe(event_type, arrivals.handler(event_type))

    print("Three streams are open. Publishing a startup, a login and an update:")
    for event_type, data in BEFORE:
        await publisher.send_event(event_type, data)
        await arrivals.wait_for(data["n"])

    print("Cutting all connections. Publishing three more while nobody listens:")
    proxy.cut_all()
    for event_type, data in WHILE_AWAY:
        await publisher.send_event(event_type, data)
    await arrivals.wait_for(6)

    print("All are back. Publishing two more:")
    for event_type, data in AFTER:
        await publisher.send_event(event_type, data)
        await arrivals.wait_for(data["n"])

    published = {data["n"] for _, data in BEFORE + WHILE_AWAY + AFTER}
    lost = published - set(arrivals.numbers)
    doubled = len(arrivals.numbers) - len(set(arrivals.numbers))
    print(f"Published {len(published)}, lost {len(lost)}, duplicated {doubled}.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish, lose the connection, lose nothing.")
    parser.add_argument("--port", type=int, default=3000, help="the port for its own hub")
    options = parser.parse_args()

    # SIGTERM ends it as Ctrl-C does. A program started with `&` in a script ignores Ctrl-C
    # unless it says otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(demonstrate(options.port))
    except SSEError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
