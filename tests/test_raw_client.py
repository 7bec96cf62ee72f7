"""Requests and streams as bytes with times, and events with their places."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from workshop.failed import Failed
from workshop.raw_client import Server, read_json
from workshop.raw_stream import Stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
Handler = Callable[[socket.socket, bytes], None]


@contextmanager
def serving(handler: Handler) -> Iterator[Server]:
    """A server that reads a request's head and leaves everything else to `handler`."""

    def answer(connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
                head += piece
            if head:
                handler(connection, head)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}/base/sse")
        # Closing a listening socket does not wake a thread that waits in accept.
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


class Held:
    """A stream that sends a piece only when the test lets it."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.opened = threading.Event()
        self.over = threading.Event()

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        self.connection = connection
        connection.sendall(HEAD)
        self.opened.set()
        self.over.wait(10)

    def send(self, piece: bytes) -> None:
        assert self.opened.wait(5)
        assert self.connection is not None
        self.connection.sendall(piece)

    def end(self) -> None:
        self.over.set()


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def stream(held: Held) -> Iterator[Stream]:
    with serving(held) as server, server.open("") as opened:
        yield opened
        held.end()


# --- A stream -----------------------------------------------------------------------------


def test_a_piece_is_there_before_the_next_one_is_sent(held: Held, stream: Stream) -> None:
    held.send(b"data: one\n\n")
    first = stream.event()
    assert first is not None
    assert [event.data for event in stream.events] == ["one"]
    held.send(b"data: two\n\n")
    second = stream.event(after=1)
    assert second is not None
    assert [event.data for event in stream.events] == ["one", "two"]
    times = [seconds for seconds, _ in stream.pieces]
    assert 0 < times[0] <= times[1]
    assert (first.seconds, second.seconds) == (times[0], times[-1])
    assert b"".join(piece for _, piece in stream.pieces) == stream.raw


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_each_event_knows_its_bytes_however_they_were_cut(
    held: Held, stream: Stream, end: bytes, size: int
) -> None:
    first = end.join([b": note", b"event: a", "data: é世".encode(), b"", b""])
    second = end.join([b"data: x", b"data:", b"id: 7", b"", b""])
    sent = first + second + b"data: unfinished"
    for start in range(0, len(sent), size):
        held.send(sent[start : start + size])
        # One piece after the other, as the network may well deliver them.
        wanted = min(start + size, len(sent))
        assert stream.wait(lambda stream, wanted=wanted: len(stream.raw) >= wanted)
    a, message = stream.events
    assert (a.type, a.data, a.last_event_id) == ("a", "é世", "")
    assert (message.type, message.data, message.last_event_id) == ("message", "x\n", "7")
    # The line feed of a CRLF comes after the event that the CR has ended.
    assert stream.raw[a.start : a.end].rstrip(b"\r\n") == first.rstrip(b"\r\n")
    assert stream.raw[message.start : message.end].rstrip(b"\r\n") == second.rstrip(b"\r\n")
    assert (a.start, message.start) == (0, len(first))


def test_waiting_has_a_limit(stream: Stream) -> None:
    began = time.monotonic()
    assert stream.event(seconds=0.05) is None
    assert not stream.wait(lambda stream: bool(stream.raw), seconds=0.05)
    assert not stream.wait_closed(seconds=0.05)
    assert not stream.closed
    assert time.monotonic() - began >= 0.15


def test_the_servers_end_ends_the_waiting(held: Held, stream: Stream) -> None:
    held.send(b"data: last\n\n")
    held.end()
    assert stream.wait_closed()
    assert stream.closed
    # What came before the end is there, and nothing more is waited for.
    began = time.monotonic()
    assert stream.event(lambda event: event.data == "last") is not None
    assert stream.event(lambda event: event.data == "never", seconds=30) is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("last", "broke_off"), [(b"0\r\n\r\n", False), (b"", True)])
def test_a_response_that_breaks_off_has_no_end(last: bytes, broke_off: bool) -> None:
    def handler(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"5\r\n: hi\n\r\n" + last)

    with serving(handler) as server, server.open("") as opened:
        assert opened.wait_closed()
        assert opened.broke_off == broke_off


def test_closing_is_seen_by_the_server() -> None:
    left = threading.Event()

    def until_it_leaves(connection: socket.socket, head: bytes) -> None:
        connection.sendall(HEAD)
        while connection.recv(1):
            pass
        left.set()

    with serving(until_it_leaves) as server:
        with server.open("") as stream:
            assert not left.is_set()
        assert left.wait(5)
        assert stream.closed
        stream.close()  # once more does no harm


def test_an_answer_that_is_no_stream_can_be_looked_at() -> None:
    def refuse(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nGone")

    with serving(refuse) as server, server.open("") as stream:
        assert stream.status == 404
        assert stream.wait_closed()
        assert stream.raw == b"Gone"


# --- A request ----------------------------------------------------------------------------


def echo_head(connection: socket.socket, head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head), head))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", "GET /base/sse HTTP/1.1"),
        ("message?id=1", "GET /base/message?id=1 HTTP/1.1"),
        ("/message?id=1&b=%20", "GET /message?id=1&b=%20 HTTP/1.1"),
        ("/a b?c=é", "GET /a%20b?c=%C3%A9 HTTP/1.1"),
    ],
)
def test_paths_are_joined_and_escaped_as_a_browser_does_it(path: str, line: str) -> None:
    with serving(echo_head) as server:
        answer = server.request("GET", path)
    assert answer.status == 200
    assert answer.body.decode().splitlines()[0] == line


def test_a_request_is_shown_as_it_was_sent() -> None:
    with serving(echo_head) as server:
        answer = server.post_json("/message", {"a": "é"}, {"Host": "elsewhere", "X": "y"})
    assert answer.request == (
        'POST /message\nContent-Type: application/json\nHost: elsewhere\nX: y\n\n{"a":"é"}'
    )
    assert answer.body.count(b"Host: ") == 1
    assert b"Host: elsewhere\r\n" in answer.body


def test_an_answer_is_there_while_the_body_is_still_open() -> None:
    def answer_early(connection: socket.socket, head: bytes) -> None:
        assert b"Transfer-Encoding: chunked" in head
        came = head.partition(b"\r\n\r\n")[2]
        while not came.endswith(b"3\r\ndef\r\n"):
            came += connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n" % len(came))
        connection.sendall(came)

    with serving(answer_early) as server:
        answer = server.request("POST", "", [b"abc", b"def"], finish=False)
    assert answer.status == 413
    assert answer.body == b"3\r\nabc\r\n3\r\ndef\r\n"


def test_no_answer_and_no_connection_are_findings() -> None:
    over = threading.Event()

    def say_nothing(connection: socket.socket, head: bytes) -> None:
        over.wait(10)

    with serving(say_nothing) as server:
        for ask in (lambda: server.request("GET", "/a", seconds=0.1), server_open(server)):
            with pytest.raises(Failed) as found:
                ask()
            assert found.value.hint == "no-answer"
            assert found.value.sent.startswith(b"GET /a")
        over.set()
    # Nobody listens there any more.
    with pytest.raises(Failed) as found:
        server.request("GET", "/a")
    assert found.value.hint == "no-connection"
    with serving(lambda connection, head: None) as server:
        with pytest.raises(Failed) as found:
            server.request("GET", "/a")
        assert found.value.hint == "no-connection"


def server_open(server: Server) -> Callable[[], object]:
    return lambda: server.open("/a", seconds=0.1)


def drip(connection: socket.socket, first: bytes, piece: bytes) -> None:
    """Send `first`, then `piece` again and again until the client has left."""
    with contextlib.suppress(OSError):
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"HTTP/1.1 ", b"2"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_head_without_end_is_no_answer(first: bytes, piece: bytes) -> None:
    """Each byte comes in time, and the whole never does."""
    with serving(lambda connection, _: drip(connection, first, piece)) as server:
        for ask in (lambda: server.request("GET", "/a", seconds=0.2), server_open(server)):
            began = time.monotonic()
            with pytest.raises(Failed) as found:
                ask()
            assert found.value.hint == "no-answer"
            assert time.monotonic() - began < 2


def test_a_body_without_end_is_no_answer() -> None:
    with (
        serving(lambda connection, _: drip(connection, HEAD, b"x")) as server,
        pytest.raises(Failed) as found,
    ):
        server.request("GET", "/a", seconds=0.2)
    assert found.value.hint == "no-answer"


def test_a_server_that_takes_no_body_gives_no_answer() -> None:
    pieces = iter(lambda: b"x" * 65_536, b"")
    with (
        serving(lambda connection, _: drip(connection, b"", b"")) as server,
        pytest.raises(Failed) as found,
    ):
        server.request("POST", "/a", pieces, seconds=0.2)
    assert found.value.hint == "no-answer"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 50_000 + "]" * 50_000, "1" * 5_000])
def test_json_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)
