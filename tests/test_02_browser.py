"""Chromium's EventSource and lesson 02's parser read the same bytes the same way."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Browser

from tests.test_02_event_stream import PIECES, TRICKY, EventStreamParser, Found, parse

# Opens one EventSource for each number below `count`, six at a time, notes what it
# dispatches until the connection ends, and resolves to the lists of events.
LISTEN = """
async ({count, types}) => {
  const listen = (number) => new Promise((done) => {
    const found = [];
    const source = new EventSource(`/stream/${number}`);
    for (const type of types)
      source.addEventListener(type, (event) => {
        if (event instanceof MessageEvent)
          found.push([event.type, event.data, event.lastEventId]);
      });
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent) return;  // the stream's own event of type "error"
      source.close();
      done(found);
    });
  });
  const all = [];
  let next = 0;
  const work = async () => {
    while (next < count) {
      const number = next++;
      all[number] = await listen(number);
    }
  };
  await Promise.all(Array.from({length: 6}, work));
  return all;
}
"""

RECONNECT = """
() => new Promise((done) => {
  const found = [];
  const source = new EventSource("/reconnect");
  source.onmessage = (event) => {
    found.push([event.type, event.data, event.lastEventId]);
    if (event.data === "last") { source.close(); done(found); }
  };
})
"""


class Streams(ThreadingHTTPServer):
    """Serves `/stream/N` from a list, and `/reconnect`: a list of answers, one a connection."""

    daemon_threads = True

    def __init__(self, streams: list[bytes], answers: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.streams = streams
        self.answers = answers
        self.last_event_ids: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Streams)
        self.send_response(200)
        if self.path.startswith(("/stream/", "/reconnect")):
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            if self.path == "/reconnect":
                self.server.last_event_ids.append(self.headers["Last-Event-ID"])
                self.wfile.write(self.server.answers.pop(0))
            else:
                self.wfile.write(self.server.streams[int(self.path.rpartition("/")[2])])
        else:
            self.send_header("Content-Type", "text/html")
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(streams: list[bytes], answers: list[bytes]) -> Iterator[Streams]:
    with Streams(streams, answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def run_in_page(chromium: Browser, server: Streams, script: str, argument: Any = None) -> Any:
    page = chromium.new_page()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        return page.evaluate(script, argument)
    finally:
        page.close()


def chromium_reads(chromium: Browser, streams: list[bytes]) -> list[list[Found]]:
    # Only what is listened to is seen: every type that any of the streams could have,
    # also if one of the two readers got its bounds wrong.
    ours = [event for stream in streams for event in parse(EventStreamParser(), [stream])]
    types = sorted(
        {type for type, _, _ in ours} | {"message", "add", "a", "b", " add", "x", "7"}
    )
    with serving(streams, []) as server:
        argument = {"count": len(streams), "types": types}
        found = run_in_page(chromium, server, LISTEN, argument)
    return [[tuple(event) for event in events] for events in found]


def test_chromium_reads_the_tricky_streams_as_we_do(chromium: Browser) -> None:
    streams = [stream for stream, _ in TRICKY.values()]
    found = chromium_reads(chromium, streams)
    assert dict(zip(TRICKY, found, strict=True)) == {
        name: wanted for name, (_, wanted) in TRICKY.items()
    }


def test_chromium_reads_arbitrary_streams_as_we_do(chromium: Browser) -> None:
    source = random.Random(922)
    streams = [
        b"".join(source.choices(PIECES, k=source.randrange(4, 40))) + b"\ndata: end\n\n"
        for _ in range(400)
    ]
    for stream, found in zip(streams, chromium_reads(chromium, streams), strict=True):
        assert found == parse(EventStreamParser(), [stream]), stream


def test_chromium_decodes_arbitrary_bytes_as_we_do(chromium: Browser) -> None:
    source = random.Random(926)
    # Bytes that begin, go on with or break a character: ASCII, continuations, leads.
    some = [0x41, *range(0x80, 0x100, 5), 0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4]
    streams = [
        b"data: " + bytes(source.choices(some, k=source.randrange(1, 12))) + b"\n\n"
        for _ in range(400)
    ]
    for stream, found in zip(streams, chromium_reads(chromium, streams), strict=True):
        assert found == parse(EventStreamParser(), [stream]), stream


def test_chromium_reconnects_with_the_last_event_id_that_we_have(chromium: Browser) -> None:
    answers = [
        b"retry: 1\ndata: a\nid: 7\n\n",  # an id with its event
        b"data: b\n\n",  # no id: the one from the connection before stays
        b"id: 8\n\n",  # an id without an event counts
        b"id: 9\ndata: c\n",  # an unfinished event's id does not
        b"id\n\n",  # an empty id resets
        b"data: last\n\n",
    ]
    ours: list[str] = []
    events: list[Found] = []
    wait = None
    for answer in answers:
        parser = EventStreamParser(last_event_id=ours[-1] if ours else "")
        events += parse(parser, [answer])
        ours.append(parser.last_event_id)
        wait = parser.reconnection_time or wait
    with serving([], list(answers)) as server:
        found = run_in_page(chromium, server, RECONNECT)
        asked = server.last_event_ids
    # The header of each connection is what the one before left; "" is sent as no header.
    assert asked == [None, *(last or None for last in ours[:-1])]
    assert asked == [None, "7", "7", "8", "8", None]
    assert [tuple(event) for event in found] == events
    assert wait == 1
